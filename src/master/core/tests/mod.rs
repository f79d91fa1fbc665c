//! The core against the behaviours of `scheduler_tests`, `partition_tests`, `reconciliation_tests` and the recordings.

mod agents;
mod frameworks;
mod lives;
mod offers;
mod property;
mod updates;

use std::time::Duration;

use serde_json::{Value, json};

use super::model::Registry;
use super::{Action, Event, Master, Settings};
use crate::agent::protocol::{AgentTask, FromAgent, Register, RegisterAgent, ToAgent};
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{self as wire, *};

/// A master and the time, with everything that it has said so far.
pub(super) struct World {
    pub master: Master,
    pub now: Millis,
    pub said: Vec<Action>,
    pub slow_registry: bool,
    streams: u32,
}

pub(super) fn settings() -> Settings {
    Settings { ping_interval: Duration::from_secs(1), pings_max: 2, ..Settings::default() }
}

impl World {
    pub fn new() -> Self {
        Self::with(settings(), Registry::default())
    }

    pub fn with(settings: Settings, registry: Registry) -> Self {
        let info = MasterInfo::announce("m", std::net::Ipv4Addr::LOCALHOST, 5050, "localhost");
        let now = Millis(1_000);
        let master = Master::new(settings, info, registry, now, 1_000_000);
        Self { master, now, said: Vec::new(), slow_registry: false, streams: 0 }
    }

    /// Hands over an event; registries are durable at once, unless `slow_registry`.
    pub fn on(&mut self, event: Event) {
        let mut actions = self.master.on(self.now, event);
        while !self.slow_registry && actions.iter().any(|action| matches!(action, Action::SaveRegistry(_))) {
            self.said.append(&mut actions);
            actions = self.master.on(self.now, Event::RegistrySaved);
        }
        self.said.extend(actions);
    }

    /// Lets time pass in ticks.
    pub fn pass(&mut self, ms: u64) {
        let until = Millis(self.now.0 + ms);
        while self.now < until {
            self.now = Millis(self.now.0 + 100);
            self.on(Event::Tick);
        }
    }

    /// Lets time pass while these agents answer every ping.
    pub fn pass_alive(&mut self, ms: u64, agents: &[&str]) {
        for _ in 0..ms / 100 {
            self.pass(100);
            for agent in agents {
                let stream = (*agent).to_owned();
                self.on(Event::FromAgent { stream, message: FromAgent::Pong });
            }
        }
    }

    pub fn next_stream(&mut self, prefix: &str) -> String {
        self.streams += 1;
        format!("{prefix}{}", self.streams)
    }

    /// Subscribes; returns the stream.
    pub fn subscribe(&mut self, framework_info: FrameworkInfo) -> String {
        let stream = self.next_stream("f");
        let subscribe = Box::new(Subscribe { framework_info, suppressed_roles: vec![] });
        self.on(Event::Subscribe { stream: stream.clone(), subscribe });
        stream
    }

    /// Registers an agent; returns the stream.
    pub fn register(&mut self, id: Option<&str>, port: u16, tasks: Vec<AgentTask>) -> String {
        let stream = self.next_stream("a");
        let frameworks =
            tasks.iter().map(|task| FrameworkInfo { id: Some(task.framework_id.clone()), ..info() }).collect();
        let resources = Resources::parse("cpus:2;mem:1024;ports:[31000-31100]").unwrap();
        let agent_info = RegisterAgent {
            id: id.map(AgentId::from),
            hostname: "h1".into(),
            ip: std::net::Ipv4Addr::LOCALHOST,
            port,
            resources: resources.to_wire(None),
            attributes: vec![],
            version: MESOS_VERSION.into(),
        };
        let register = Box::new(Register { agent_info, tasks, frameworks });
        self.on(Event::RegisterAgent { stream: stream.clone(), register });
        stream
    }

    pub fn call(&mut self, call: Call) {
        let framework_id = call.framework_id.clone().unwrap();
        self.on(Event::Call { framework_id, call: Box::new(call) });
    }

    /// Launches tasks on an offer of framework m-0000, refusing the rest for no time.
    pub fn launch(&mut self, offer: &str, tasks: Vec<TaskInfo>) {
        let filters = Some(Filters { refuse_seconds: Some(0.0) });
        self.call(Call::launch("m-0000".into(), vec![offer.into()], tasks, filters));
    }

    /// A status update of a task of framework m-0000.
    pub fn update(&mut self, stream: &str, task: &str, state: TaskState, uuid: &str) {
        let mut status = TaskStatus::new(task.into(), state);
        status.uuid = Some(uuid.into());
        let message =
            FromAgent::StatusUpdate { framework_id: "m-0000".into(), status: Box::new(status), latest_state: state };
        self.on(Event::FromAgent { stream: stream.into(), message });
    }

    /// Takes the events that a scheduler was sent, in short.
    pub fn heard(&mut self, stream: &str) -> Vec<String> {
        let mut heard = Vec::new();
        self.said.retain(|action| match action {
            Action::ToScheduler(to, event) if to == stream => {
                heard.push(short(event));
                false
            }
            Action::CloseScheduler(to) if to == stream => {
                heard.push("end".into());
                false
            }
            _ => true,
        });
        heard
    }

    /// Takes the messages that an agent was sent, in short.
    pub fn told(&mut self, stream: &str) -> Vec<String> {
        let mut told = Vec::new();
        self.said.retain(|action| match action {
            Action::ToAgent(to, message) if to == stream => {
                told.push(short_message(message));
                false
            }
            Action::CloseAgent(to) if to == stream => {
                told.push("end".into());
                false
            }
            _ => true,
        });
        told
    }

    /// One framework, one agent, one running task `t` whose updates are acknowledged; returns both streams.
    pub fn running(info: FrameworkInfo) -> (Self, String, String) {
        let mut world = Self::new();
        let agent = world.register(None, 5051, vec![]);
        let scheduler = world.subscribe(info);
        world.launch("m-O0", vec![task("t", "m-S0", "cpus:0.1;mem:32")]);
        world.update(&agent, "t", TaskState::Running, "u1");
        world.acknowledge("t", "u1");
        world.heard(&scheduler);
        world.told(&agent);
        world.said.clear();
        (world, scheduler, agent)
    }

    pub fn acknowledge(&mut self, task: &str, uuid: &str) {
        self.call(Call::acknowledge("m-0000".into(), "m-S0".into(), task.into(), uuid.into()));
    }

    pub fn reconcile(&mut self, asked: &[(&str, Option<&str>)]) {
        let tasks = asked
            .iter()
            .map(|(task, agent)| ReconcileTask { task_id: (*task).into(), agent_id: agent.map(AgentId::from) });
        self.call(Call::reconcile("m-0000".into(), tasks.collect()));
    }
}

/// The registry of a predecessor that knew this agent.
pub(super) fn admitted(id: &str) -> Registry {
    serde_json::from_value(json!({"admitted": {id: {"hostname": "h1"}}})).unwrap()
}

pub(super) fn info() -> FrameworkInfo {
    let capability = |kind| Capability { kind };
    FrameworkInfo {
        user: "root".into(),
        name: "test".into(),
        failover_timeout: 60.0,
        checkpoint: true,
        roles: vec!["demo".into()],
        capabilities: [
            FrameworkCapability::MultiRole,
            FrameworkCapability::ReservationRefinement,
            FrameworkCapability::PartitionAware,
            FrameworkCapability::TaskKillingState,
        ]
        .map(capability)
        .to_vec(),
        ..FrameworkInfo::default()
    }
}

pub(super) fn again(id: &str) -> FrameworkInfo {
    FrameworkInfo { id: Some(id.into()), ..info() }
}

pub(super) fn task(id: &str, agent: &str, resources: &str) -> TaskInfo {
    let resources = Resources::parse(resources).unwrap().to_wire(Some("demo"));
    task_with(id, agent, json!({ "resources": resources }))
}

/// A DOCKER task with other or more members.
pub(super) fn task_with(id: &str, agent: &str, members: Value) -> TaskInfo {
    let mut task = json!({
        "name": id, "task_id": {"value": id}, "agent_id": {"value": agent},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
        "command": {"value": "sleep 1"},
        "container": {"type": "DOCKER", "docker": {"image": "i"}},
    });
    for (name, value) in members.as_object().unwrap() {
        task[name] = value.clone();
    }
    strip_nulls(&mut task);
    serde_json::from_value(task).unwrap()
}

pub(super) fn reported(task: TaskInfo, state: TaskState) -> AgentTask {
    AgentTask {
        framework_id: "m-0000".into(),
        info: task,
        latest_state: state,
        status_update_state: Some(state),
        status_update_uuid: Some("u".into()),
        statuses: vec![],
    }
}

fn short(event: &wire::Event) -> String {
    match event {
        wire::Event::Subscribed(body) => format!("SUBSCRIBED {}", body.framework_id),
        wire::Event::Offers(offers) => {
            let one = |offer: &Offer| {
                let cpus = Resources::of(&offer.resources).unwrap().scalar("cpus");
                format!("{} {} {cpus}", offer.id, offer.agent_id)
            };
            format!("OFFERS {}", offers.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        wire::Event::Rescind(offer) => format!("RESCIND {offer}"),
        wire::Event::Update(status) => {
            let reason = status.reason.as_deref().unwrap_or("-");
            let reason = reason.strip_prefix("REASON_").unwrap_or(reason);
            let uuid = status.uuid.as_deref().map(|u| format!(" {u}")).unwrap_or_default();
            format!("{} {} {reason}{uuid}", status.state, status.task_id)
        }
        wire::Event::UpdateOperationStatus(status) => {
            format!("{} {}", status.state, status.operation_id.as_ref().unwrap())
        }
        wire::Event::Failure(failure) => format!("FAILURE {}", failure.agent_id.as_ref().unwrap()),
        wire::Event::Error(message) => format!("ERROR {message}"),
        wire::Event::Heartbeat => "HEARTBEAT".into(),
        wire::Event::Other(kind) => kind.clone(),
    }
}

fn short_message(message: &ToAgent) -> String {
    match message {
        ToAgent::Registered { agent_id, reconcile, .. } => {
            let tasks: Vec<_> = reconcile.iter().map(|task| task.task_id.value.clone()).collect();
            format!("registered {agent_id} [{}]", tasks.join(","))
        }
        ToAgent::Ping => "ping".into(),
        ToAgent::RunTask { task, .. } => format!("run {}", task.task_id),
        ToAgent::KillTask { task_id, .. } => format!("kill {task_id}"),
        ToAgent::AckUpdate { task_id, uuid, .. } => format!("ack {task_id} {uuid}"),
        ToAgent::ShutdownFramework { framework_id } => format!("shutdown {framework_id}"),
        ToAgent::UpdateFramework { .. } => "framework".into(),
        ToAgent::Shutdown { .. } => "shutdown".into(),
    }
}

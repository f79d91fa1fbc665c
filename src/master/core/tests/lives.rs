//! The life of every task, seen from outside, over masters that fail over and agents that are cut off, are gone or end:
//! whatever happens in whatever order, a task has at most one end, and exactly one once everything is reachable again; and
//! what an agent's tasks use is what the master believes them to use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const FRAMEWORK: &str = "f-0000";
/// Longer than any course of events here.
const FAILOVER_S: f64 = 1e6;

/// One thing that may happen; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Subscribe,
    CloseScheduler,
    Launch {
        offer: usize,
        tasks: u32,
    },
    Kill {
        task: usize,
    },
    Acknowledge {
        update: usize,
    },
    Reconcile {
        explicit: bool,
    },
    /// An agent reads what the master sent it.
    Read {
        agent: usize,
    },
    /// An agent's task takes a step.
    Progress {
        agent: usize,
        task: usize,
        state: usize,
    },
    /// An agent sends the first unacknowledged update of each task (again).
    Send {
        agent: usize,
    },
    Cut {
        agent: usize,
    },
    Register {
        agent: usize,
    },
    Unregister {
        agent: usize,
    },
    Gone {
        agent: usize,
    },
    /// What the registry was told becomes durable.
    Saved,
    /// The master dies; another one leads, with what is durable.
    Failover,
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0usize..3;
    prop_oneof![
        3 => Just(Step::Subscribe),
        1 => Just(Step::CloseScheduler),
        6 => (0usize..4, 1u32..3).prop_map(|(offer, tasks)| Step::Launch { offer, tasks }),
        1 => (0usize..8).prop_map(|task| Step::Kill { task }),
        4 => (0usize..8).prop_map(|update| Step::Acknowledge { update }),
        1 => any::<bool>().prop_map(|explicit| Step::Reconcile { explicit }),
        6 => agent.clone().prop_map(|agent| Step::Read { agent }),
        5 => (agent.clone(), 0usize..4, 0usize..4).prop_map(|(agent, task, state)| Step::Progress { agent, task, state }),
        6 => agent.clone().prop_map(|agent| Step::Send { agent }),
        2 => agent.clone().prop_map(|agent| Step::Cut { agent }),
        4 => agent.clone().prop_map(|agent| Step::Register { agent }),
        1 => agent.clone().prop_map(|agent| Step::Unregister { agent }),
        1 => agent.prop_map(|agent| Step::Gone { agent }),
        6 => Just(Step::Saved),
        1 => Just(Step::Failover),
        3 => prop_oneof![Just(100u64), Just(1_100), Just(3_300)].prop_map(|ms| Step::Pass { ms }),
    ]
}

/// A task as its agent has it.
#[derive(Debug)]
struct OnAgent {
    info: Option<TaskInfo>,
    state: TaskState,
    unacknowledged: VecDeque<TaskStatus>,
}

#[derive(Debug, Default)]
struct Machine {
    id: Option<AgentId>,
    stream: Option<String>,
    registered: bool,
    /// Sent by the master and not read yet; lost with the stream.
    inbox: VecDeque<ToAgent>,
    tasks: BTreeMap<TaskId, OnAgent>,
    /// Ended for good.
    ended: bool,
}

/// What the scheduler has heard of a task.
#[derive(Debug)]
struct Heard {
    agent: AgentId,
    last: TaskState,
    ends: BTreeSet<TaskState>,
}

struct Course {
    world: World,
    masters: u32,
    saved: Registry,
    saving: Option<Registry>,
    machines: Vec<Machine>,
    scheduler: Option<String>,
    heard: BTreeMap<TaskId, Heard>,
    pending: Vec<(AgentId, TaskId, String)>,
    count: u32,
}

fn impatient() -> Settings {
    Settings { reregister_timeout: Duration::from_secs(20), ..settings() }
}

impl Course {
    fn new() -> Self {
        let mut world = World::with(impatient(), Registry::default());
        world.slow_registry = true;
        Self {
            world,
            masters: 1,
            saved: Registry::default(),
            saving: None,
            machines: std::iter::repeat_with(Machine::default).take(3).collect(),
            scheduler: None,
            heard: BTreeMap::new(),
            pending: Vec::new(),
            count: 0,
        }
    }

    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// Distributes what the master said.
    fn listen(&mut self) {
        for action in std::mem::take(&mut self.world.said) {
            match action {
                Action::ToScheduler(stream, event) if self.scheduler.as_ref() == Some(&stream) => self.hear(*event),
                Action::CloseScheduler(stream) => _ = self.scheduler.take_if(|current| *current == stream),
                Action::ToAgent(stream, message) => {
                    if let Some(machine) = self.machines.iter_mut().find(|m| m.stream.as_ref() == Some(&stream)) {
                        machine.inbox.push_back(*message);
                    }
                }
                // The end of the stream comes after what was sent on it, so that is read first.
                Action::CloseAgent(stream) => {
                    let machine = self.machines.iter().position(|m| m.stream.as_ref() == Some(&stream));
                    if let Some(machine) = machine {
                        self.read(machine);
                        self.machines[machine].stream = None;
                        self.machines[machine].registered = false;
                    }
                }
                Action::SaveRegistry(registry) => {
                    assert!(self.saving.replace(registry).is_none(), "two writes of the registry at a time");
                }
                Action::ToScheduler(..) => {}
            }
        }
    }

    fn hear(&mut self, event: wire::Event) {
        let wire::Event::Update(status) = event else {
            return;
        };
        let Some(heard) = self.heard.get_mut(&status.task_id) else {
            panic!("an update for a task that nobody launched: {status:?}");
        };
        heard.last = status.state;
        if status.state.is_terminal() {
            // A task that never reached its agent: the agent says DROPPED, and a master that is asked before that is heard says GONE,
            // because the agent is back without it. One end in two words, as in Mesos.
            let end = if status.state == TaskState::Gone { TaskState::Dropped } else { status.state };
            heard.ends.insert(end);
        }
        assert!(heard.ends.len() < 2, "{} ended more than once: {:?}", status.task_id, heard.ends);
        if let Some(uuid) = status.uuid {
            self.pending.push((heard.agent.clone(), status.task_id, uuid));
        }
    }

    fn call(&mut self, call: Call) {
        if self.scheduler.is_some() {
            self.world.call(call);
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Subscribe => {
                let info = FrameworkInfo { failover_timeout: FAILOVER_S, ..again(FRAMEWORK) };
                let stream = self.world.next_stream("f");
                self.scheduler = Some(stream.clone());
                let subscribe = Box::new(Subscribe { framework_info: info, suppressed_roles: vec![] });
                self.world.on(Event::Subscribe { stream, subscribe });
            }
            Step::CloseScheduler => {
                if let Some(stream) = self.scheduler.take() {
                    self.world.on(Event::SchedulerClosed { stream });
                }
            }
            Step::Launch { offer, tasks } => self.launch(offer, tasks),
            Step::Kill { task } => {
                if let Some(task) = self.heard.keys().nth(task).cloned() {
                    self.call(Call::kill(FRAMEWORK.into(), task, None, None));
                }
            }
            Step::Acknowledge { update } => {
                if update < self.pending.len() && self.scheduler.is_some() {
                    let (agent, task, uuid) = self.pending.remove(update);
                    self.call(Call::acknowledge(FRAMEWORK.into(), agent, task, uuid));
                }
            }
            Step::Reconcile { explicit } => self.reconcile(explicit),
            Step::Read { agent } => self.read(agent),
            Step::Progress { agent, task, state } => self.progress(agent, task, state),
            Step::Send { agent } => self.send(agent),
            Step::Cut { agent } => self.cut(agent),
            Step::Register { agent } => self.register(agent),
            Step::Unregister { agent } => {
                let machine = &mut self.machines[agent];
                if let Some(stream) = machine.stream.clone().filter(|_| machine.registered) {
                    machine.end();
                    self.world.on(Event::FromAgent { stream, message: FromAgent::Unregister });
                }
            }
            Step::Gone { agent } => {
                if let Some(id) = self.machines[agent].id.clone() {
                    self.world.on(Event::MarkAgentGone(id));
                }
            }
            Step::Saved => {
                if let Some(registry) = self.saving.take() {
                    self.saved = registry;
                    self.world.on(Event::RegistrySaved);
                }
            }
            Step::Failover => self.fail_over(),
            Step::Pass { ms } => self.pass(ms),
        }
        self.listen();
    }

    fn launch(&mut self, offer: usize, tasks: u32) {
        let offers: Vec<_> = self.world.master.offers.iter().map(|(id, o)| (id.clone(), o.agent_id.clone())).collect();
        let Some((offer, agent)) = offers.into_iter().nth(offer).filter(|_| self.scheduler.is_some()) else {
            return;
        };
        let infos: Vec<_> =
            (0..tasks).map(|_| task(&format!("t{:03}", self.next()), agent.as_str(), "cpus:0.7;mem:32")).collect();
        for info in &infos {
            let heard = Heard { agent: agent.clone(), last: TaskState::Staging, ends: BTreeSet::new() };
            self.heard.insert(info.task_id.clone(), heard);
        }
        let filters = Some(Filters { refuse_seconds: Some(0.0) });
        self.call(Call::launch(FRAMEWORK.into(), vec![offer], infos, filters));
    }

    /// Asks about all tasks, or about those whose end wasn't heard.
    fn reconcile(&mut self, explicit: bool) {
        let open = self.heard.iter().filter(|(_, heard)| explicit && heard.ends.is_empty());
        let open: Vec<_> = open
            .map(|(id, heard)| ReconcileTask { task_id: id.clone(), agent_id: Some(heard.agent.clone()) })
            .collect();
        if !(explicit && open.is_empty()) {
            self.call(Call::reconcile(FRAMEWORK.into(), open));
        }
    }

    fn read(&mut self, agent: usize) {
        while let Some(message) = self.machines[agent].inbox.pop_front() {
            let uuid = format!("u{}", self.next());
            self.machines[agent].take(message, &uuid);
        }
    }

    fn progress(&mut self, agent: usize, task: usize, state: usize) {
        let uuid = format!("u{}", self.next());
        let states = [TaskState::Running, TaskState::Running, TaskState::Finished, TaskState::Failed];
        let machine = &mut self.machines[agent];
        let live = machine.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
        if let Some(task) = live.map(|(id, _)| id.clone()).nth(task) {
            machine.update(&task, states[state], &uuid);
        }
    }

    fn send(&mut self, agent: usize) {
        let machine = &self.machines[agent];
        let Some(stream) = machine.stream.clone().filter(|_| machine.registered) else {
            return;
        };
        let updates: Vec<_> = machine
            .tasks
            .values()
            .filter_map(|task| Some((task.unacknowledged.front()?.clone(), task.state)))
            .collect();
        self.world.on(Event::FromAgent { stream: stream.clone(), message: FromAgent::Pong });
        for (status, latest_state) in updates {
            let message =
                FromAgent::StatusUpdate { framework_id: FRAMEWORK.into(), status: Box::new(status), latest_state };
            self.world.on(Event::FromAgent { stream: stream.clone(), message });
        }
    }

    fn cut(&mut self, agent: usize) {
        let machine = &mut self.machines[agent];
        machine.inbox.clear();
        machine.registered = false;
        if let Some(stream) = machine.stream.take() {
            self.world.on(Event::AgentClosed { stream });
        }
    }

    fn register(&mut self, agent: usize) {
        if self.machines[agent].ended {
            return;
        }
        self.cut(agent);
        let stream = self.world.next_stream("a");
        let machine = &mut self.machines[agent];
        machine.stream = Some(stream.clone());
        let port = 5051 + u16::try_from(agent).unwrap();
        let register = machine.registration(port);
        self.world.on(Event::RegisterAgent { stream, register: Box::new(register) });
    }

    fn fail_over(&mut self) {
        self.masters += 1;
        self.scheduler = None;
        self.saving = None;
        for machine in &mut self.machines {
            machine.inbox.clear();
            machine.registered = false;
            machine.stream = None;
        }
        let info =
            MasterInfo::announce(&format!("m{}", self.masters), std::net::Ipv4Addr::LOCALHOST, 5050, "localhost");
        self.world.master = Master::new(impatient(), info, self.saved.clone(), self.world.now, 1_000_000);
        self.world.said.clear();
    }

    /// Time passes while agents answer pings that they can read.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.world.pass(100);
            self.listen();
            for agent in 0..self.machines.len() {
                let pinged = self.machines[agent].inbox.iter().any(|message| *message == ToAgent::Ping);
                if let Some(stream) = self.machines[agent].stream.clone().filter(|_| pinged) {
                    self.world.on(Event::FromAgent { stream, message: FromAgent::Pong });
                }
            }
        }
    }

    /// Everything works again, for long enough.
    fn heal(&mut self) {
        self.apply(Step::Subscribe);
        for agent in 0..self.machines.len() {
            if !self.machines[agent].registered {
                self.apply(Step::Register { agent });
            }
        }
        self.settle();
        self.check_conservation();
        // The agents that won't come back are given up.
        self.apply(Step::Pass { ms: 21_000 });
        for agent in 0..self.machines.len() {
            for _ in 0..self.machines[agent].tasks.len() {
                self.apply(Step::Progress { agent, task: 0, state: 2 });
            }
        }
        self.settle();
        self.apply(Step::Reconcile { explicit: true });
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..8 {
            self.apply(Step::Saved);
            for agent in 0..self.machines.len() {
                self.apply(Step::Read { agent });
                self.apply(Step::Send { agent });
            }
            while !self.pending.is_empty() {
                self.apply(Step::Acknowledge { update: 0 });
            }
        }
    }

    /// What the master believes to be used is what the agents' live tasks use.
    fn check_conservation(&self) {
        let master = &self.world.master;
        for machine in self.machines.iter().filter(|machine| !machine.ended) {
            let id = machine.id.as_ref().expect("registered, as nothing is in its way");
            let mut used = Resources::new();
            for info in machine.tasks.values().filter(|task| !task.state.is_terminal()).filter_map(|t| t.info.as_ref())
            {
                used.add(&Resources::of(&info.resources).unwrap());
            }
            assert_eq!(master.used(|_, task| task.info.agent_id == *id), used, "what tasks use on {id}");
        }
        self.check_resources();
    }

    fn check_resources(&self) {
        let master = &self.world.master;
        for (id, agent) in &master.agents {
            let mut sum = master.used(|_, task| task.info.agent_id == *id);
            sum.add(&master.offered(|offered| offered.agent_id == *id));
            assert!(agent.total.contains(&sum), "{id} is given beyond what it has");
            if agent.stream.is_some() {
                sum.add(&master.free(id));
                assert_eq!(sum, agent.total, "used + offered + free is the total of {id}");
            }
        }
    }

    fn check_ends(&self) {
        let living: BTreeSet<_> = self.machines.iter().filter(|m| !m.ended).filter_map(|m| m.id.clone()).collect();
        for (task, heard) in &self.heard {
            let lost = [TaskState::Unknown, TaskState::Unreachable];
            let settled = !heard.ends.is_empty() || !living.contains(&heard.agent) && lost.contains(&heard.last);
            assert!(settled, "{task} on {} never ended: {:?}", heard.agent, heard.last);
        }
        let held = self.world.master.frameworks.values().flat_map(|framework| framework.tasks.values());
        let held: Vec<_> = held.filter(|task| living.contains(&task.info.agent_id)).collect();
        assert!(held.is_empty(), "ended and acknowledged, yet held: {held:?}");
    }
}

impl Machine {
    /// Ends; what it ran is gone.
    fn end(&mut self) {
        self.ended = true;
        self.tasks.clear();
        self.inbox.clear();
    }

    fn take(&mut self, message: ToAgent, uuid: &str) {
        match message {
            ToAgent::Registered { agent_id, reconcile, .. } => {
                self.registered = true;
                self.id = Some(agent_id);
                for (n, unknown) in reconcile.into_iter().enumerate() {
                    if !self.tasks.contains_key(&unknown.task_id) {
                        self.update(&unknown.task_id, TaskState::Dropped, &format!("{uuid}.{n}"));
                    }
                }
            }
            ToAgent::RunTask { task, .. } => {
                let id = task.task_id.clone();
                let on_agent =
                    OnAgent { info: Some(*task), state: TaskState::Staging, unacknowledged: VecDeque::new() };
                let older = self.tasks.insert(id.clone(), on_agent);
                assert!(older.is_none(), "{id} runs twice");
                self.update(&id, TaskState::Starting, uuid);
            }
            ToAgent::KillTask { task_id, .. }
                if self.tasks.get(&task_id).is_some_and(|task| !task.state.is_terminal()) =>
            {
                self.update(&task_id, TaskState::Killed, uuid);
            }
            ToAgent::AckUpdate { task_id, uuid, .. } => {
                let Some(task) = self.tasks.get_mut(&task_id) else {
                    return;
                };
                if task.unacknowledged.front().is_some_and(|head| head.uuid.as_ref() == Some(&uuid)) {
                    task.unacknowledged.pop_front();
                }
                if task.state.is_terminal() && task.unacknowledged.is_empty() {
                    self.tasks.remove(&task_id);
                }
            }
            ToAgent::Shutdown { .. } => self.end(),
            ToAgent::ShutdownFramework { .. } => panic!("the framework never ends"),
            _ => {}
        }
    }

    fn update(&mut self, id: &TaskId, state: TaskState, uuid: &str) {
        let task = self.tasks.entry(id.clone()).or_insert_with(|| OnAgent {
            info: None,
            state,
            unacknowledged: VecDeque::new(),
        });
        task.state = state;
        let mut status = TaskStatus::new(id.clone(), state);
        status.uuid = Some(uuid.to_owned());
        status.agent_id.clone_from(&self.id);
        task.unacknowledged.push_back(status);
    }

    fn registration(&self, port: u16) -> Register {
        let resources = Resources::parse("cpus:2;mem:1024").unwrap();
        let agent_info = RegisterAgent {
            id: self.id.clone(),
            hostname: "h".into(),
            ip: std::net::Ipv4Addr::LOCALHOST,
            port,
            resources: resources.to_wire(None),
            attributes: vec![],
            version: MESOS_VERSION.into(),
        };
        let tasks = self.tasks.values().filter_map(|task| {
            let head = task.unacknowledged.front();
            Some(AgentTask {
                framework_id: FRAMEWORK.into(),
                info: task.info.clone()?,
                latest_state: task.state,
                status_update_state: head.map(|status| status.state),
                status_update_uuid: head.and_then(|status| status.uuid.clone()),
                statuses: vec![],
            })
        });
        let frameworks = vec![FrameworkInfo { failover_timeout: FAILOVER_S, ..again(FRAMEWORK) }];
        Register { agent_info, tasks: tasks.collect(), frameworks }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_once_and_resources_are_conserved(steps in prop::collection::vec(step(), 1..90)) {
        let mut course = Course::new();
        for step in [Step::Subscribe, Step::Register { agent: 0 }, Step::Saved, Step::Read { agent: 0 }] {
            course.apply(step);
        }
        for step in steps {
            course.apply(step);
            course.check_resources();
        }
        course.heal();
        course.check_ends();
    }
}

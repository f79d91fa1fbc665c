//! Every decision of a leading master, as a pure state machine.
//!
//! ```text
//! scheduler ── Subscribe, Call, SchedulerClosed ──►┐        ┌──► ToScheduler, CloseScheduler
//! agent ────── RegisterAgent, FromAgent, AgentClosed ► Master ──► ToAgent, CloseAgent
//! time ─────── Tick ──────────────────────────────►│        └──► SaveRegistry
//! registry ─── RegistrySaved ─────────────────────►┘
//! ```
//! * [`model`]: what it holds; `subscriptions`: frameworks come and go; `agents`: agents come and go; `registrar`: what
//!   the registry has to know first; `allocate`: who is offered what; `sorter`: who comes first; `accept`: from offers to
//!   tasks; `validate`: what is refused; `updates`: statuses and their acknowledgements; `reconcile`: what is known of a
//!   task, and kills.
//!
//! Left out, as in "answered as Mesos would, without effect": task groups, reservations and volumes, inverse offers,
//! quota, weights, maintenance, operation feedback, messages to executors.

mod accept;
mod agents;
mod allocate;
pub mod drain;
pub mod model;
mod reconcile;
mod registrar;
mod sorter;
mod subscriptions;
#[cfg(test)]
mod tests;
mod updates;
mod validate;

pub(in crate::master) use subscriptions::COMPLETED_FRAMEWORKS_MAX;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::agent::protocol::{FromAgent, Register, ToAgent};
use crate::clock::Millis;
use crate::mesos::types::{
    self as wire, AgentId, Call, CallType, FrameworkId, MasterInfo, OfferId, StatusSource, Subscribe, TaskId,
    TaskState, TaskStatus,
};
use drain::Drain;
use model::{Agent, Framework, Offered, Registry};
use registrar::{Change, Registrar};

/// Times of a master; defaults are Mesos's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Between pings of an agent.
    pub ping_interval: Duration,
    /// Missed pings after which an agent is unreachable.
    pub pings_max: u32,
    /// How long a new leader waits for its predecessor's agents.
    pub reregister_timeout: Duration,
    /// Between batch allocations; also the shortest filter.
    pub allocation_interval: Duration,
    /// Between HEARTBEATs.
    pub heartbeat_interval: Duration,
    /// Offers are rescinded after this; never when absent.
    pub offer_timeout: Option<Duration>,
    /// The only roles that frameworks may subscribe to; any when absent.
    pub roles: Option<Vec<String>>,
    /// Whether frameworks may run as root.
    pub root_submissions: bool,
    /// ZooKeeper session timeout; only shown.
    pub zk_session_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            pings_max: 5,
            reregister_timeout: Duration::from_secs(600),
            allocation_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(15),
            offer_timeout: None,
            roles: None,
            root_submissions: true,
            zk_session_timeout: Duration::from_secs(10),
        }
    }
}

/// What happens to a master. Streams are named by their ids, which are never reused.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A scheduler subscribes on a new stream.
    Subscribe {
        /// The stream.
        stream: String,
        /// Who and how.
        subscribe: Box<Subscribe>,
    },
    /// Any other call, admitted by [`Master::admit`].
    Call {
        /// The caller.
        framework_id: FrameworkId,
        /// The call.
        call: Box<Call>,
    },
    /// A scheduler's stream is closed.
    SchedulerClosed {
        /// The stream.
        stream: String,
    },
    /// An agent registers on a new stream.
    RegisterAgent {
        /// The stream.
        stream: String,
        /// Who, and with what.
        register: Box<Register>,
    },
    /// An agent's call, admitted by [`Master::agent_of`].
    FromAgent {
        /// The agent's stream.
        stream: String,
        /// The message.
        message: FromAgent,
    },
    /// An agent's stream is closed.
    AgentClosed {
        /// The stream.
        stream: String,
    },
    /// The operator ends a framework.
    Teardown(FrameworkId),
    /// The operator declares an agent gone for ever.
    MarkAgentGone(AgentId),
    /// The registry of the latest [`Action::SaveRegistry`] is durable.
    RegistrySaved,
    /// The operator takes an agent out of use, perhaps with its tasks.
    DeactivateAgent(AgentId, Option<Drain>),
    /// The operator wants it back in use.
    ReactivateAgent(AgentId),
    /// Time has passed; often enough for the shortest of the [`Settings`].
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an event.
    ToScheduler(String, Box<wire::Event>),
    /// End a stream, after what was sent on it.
    CloseScheduler(String),
    /// Send a message.
    ToAgent(String, Box<ToAgent>),
    /// End a stream, after what was sent on it.
    CloseAgent(String),
    /// Make the registry durable and say so with [`Event::RegistrySaved`]; there is no other one before that.
    SaveRegistry(Registry),
}

/// Why a call isn't let in: the status and the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Refusal {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// A leading master.
#[derive(Debug)]
pub struct Master {
    pub(super) settings: Settings,
    pub(super) info: MasterInfo,
    /// Wall clock at zero of the monotonic one, milliseconds since 1970.
    wall_at_zero_ms: u64,
    pub(super) elected: Millis,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) completed: VecDeque<Framework>,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) offers: BTreeMap<OfferId, Offered>,
    pub(super) registry: Registry,
    registrar: Registrar,
    /// Agents of the predecessor that haven't come back yet.
    pub(super) recovered: BTreeSet<AgentId>,
    /// How many offers each role has had.
    role_turns: BTreeMap<String, u64>,
    /// Counters for the operator.
    pub(super) counters: BTreeMap<&'static str, u64>,
    framework_count: u64,
    offer_count: u64,
    agent_count: u64,
    next_allocation: Millis,
    /// Allocate at the end of this event, without waiting for the batch.
    allocate_now: bool,
    actions: Vec<Action>,
}

impl Master {
    /// A master that has just been elected and has read the registry.
    #[must_use]
    pub fn new(settings: Settings, info: MasterInfo, registry: Registry, now: Millis, wall_at_zero_ms: u64) -> Self {
        let recovered = registry.admitted.keys().cloned().map(AgentId::from);
        Self {
            recovered: recovered.collect(),
            settings,
            info,
            wall_at_zero_ms,
            elected: now,
            frameworks: BTreeMap::new(),
            completed: VecDeque::new(),
            agents: BTreeMap::new(),
            offers: BTreeMap::new(),
            registry,
            registrar: Registrar::default(),
            role_turns: BTreeMap::new(),
            counters: BTreeMap::new(),
            framework_count: 0,
            offer_count: 0,
            agent_count: 0,
            next_allocation: now,
            allocate_now: false,
            actions: Vec::new(),
        }
    }

    /// Takes an event; returns what is to be done, in order.
    pub fn on(&mut self, now: Millis, event: Event) -> Vec<Action> {
        match event {
            Event::Subscribe { stream, subscribe } => self.subscribe(now, stream, *subscribe),
            Event::Call { framework_id, call } => self.call(now, &framework_id, *call),
            Event::SchedulerClosed { stream } => self.scheduler_closed(now, &stream),
            Event::RegisterAgent { stream, register } => self.register_agent(now, stream, *register),
            Event::FromAgent { stream, message } => self.agent_says(now, &stream, message),
            Event::AgentClosed { stream } => self.agent_closed(now, &stream),
            Event::Teardown(framework_id) => self.remove_framework(now, &framework_id),
            Event::MarkAgentGone(agent_id) => self.mark_gone(now, agent_id),
            Event::RegistrySaved => self.registry_saved(now),
            Event::DeactivateAgent(agent_id, drain) => self.deactivate(now, agent_id, drain),
            Event::ReactivateAgent(agent_id) => self.decide(now, Change::Reactivate(agent_id)),
            Event::Tick => self.tick(now),
        }
        if std::mem::take(&mut self.allocate_now) {
            self.allocate(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether a call other than SUBSCRIBE may come in; checks in Mesos's order.
    ///
    /// # Errors
    /// With the answer to give, if not.
    pub fn admit(&self, framework_id: &FrameworkId, stream: Option<&str>) -> Result<(), Refusal> {
        let framework =
            self.frameworks.get(framework_id).ok_or_else(|| Refusal::new(400, "Framework cannot be found"))?;
        let current = framework.stream.as_deref().ok_or_else(|| Refusal::new(403, "Framework is not subscribed"))?;
        let given = stream
            .ok_or_else(|| Refusal::new(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"))?;
        if given == current {
            return Ok(());
        }
        Err(Refusal::new(
            400,
            format!(
                "The stream ID '{given}' included in this request didn't match the stream ID \
                 currently associated with framework ID {framework_id}"
            ),
        ))
    }

    /// The agent whose current stream this is.
    #[must_use]
    pub fn agent_of(&self, stream: &str) -> Option<&AgentId> {
        self.agents.iter().find(|(_, agent)| agent.stream.as_deref() == Some(stream)).map(|(id, _)| id)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn wall_s(&self, now: Millis) -> f64 {
        Duration::from_millis(self.wall_at_zero_ms.saturating_add(now.0)).as_secs_f64()
    }

    /// Nanoseconds since 1970.
    fn wall_ns(&self, now: Millis) -> i64 {
        let ms = self.wall_at_zero_ms.saturating_add(now.0);
        i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }

    fn call(&mut self, now: Millis, framework: &FrameworkId, call: Call) {
        self.count(message_counter(call.kind));
        match call.kind {
            CallType::Teardown => self.remove_framework(now, framework),
            CallType::Accept => self.accept(now, framework, call.accept.unwrap_or_default()),
            CallType::Decline => self.decline(now, call.decline.unwrap_or_default()),
            CallType::Revive => self.revive(framework, call.revive.unwrap_or_default().roles),
            CallType::Suppress => self.suppress(framework, call.suppress.unwrap_or_default().roles),
            CallType::Kill => {
                if let Some(kill) = call.kill {
                    self.kill(now, framework, kill);
                }
            }
            CallType::Acknowledge => {
                if let Some(acknowledge) = call.acknowledge {
                    self.acknowledge(framework, acknowledge);
                }
            }
            CallType::Reconcile => {
                self.reconcile(now, framework, &call.reconcile.unwrap_or_default().tasks);
            }
            CallType::UpdateFramework => {
                if let Some(update) = call.update_framework {
                    self.update_framework(framework, update);
                }
            }
            CallType::Shutdown => {
                if let Some(shutdown) = call.shutdown {
                    self.shutdown(framework, shutdown);
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Millis) {
        self.ping(now);
        self.give_up_recovered(now);
        self.end_drains(now);
        self.heartbeat(now);
        self.end_overdue_frameworks(now);
        self.rescind_overdue_offers(now);
        if now >= self.next_allocation {
            // The rhythm is kept, however late this tick is; rounds that were slept through aren't made up for.
            let interval = self.settings.allocation_interval;
            self.next_allocation =
                Some(self.next_allocation + interval).filter(|next| *next > now).unwrap_or(now + interval);
            self.allocate_now = true;
        }
    }

    fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    /// Sends to a framework's scheduler, if it is connected.
    fn send(&mut self, framework: &FrameworkId, event: wire::Event) {
        let stream = self.frameworks.get(framework).and_then(|f| f.stream.clone());
        if let Some(stream) = stream {
            self.actions.push(Action::ToScheduler(stream, Box::new(event)));
        }
    }

    /// Sends to an agent, if it is connected.
    fn tell(&mut self, agent: &AgentId, message: ToAgent) {
        let stream = self.agents.get(agent).and_then(|a| a.stream.clone());
        if let Some(stream) = stream {
            self.actions.push(Action::ToAgent(stream, Box::new(message)));
        }
    }

    /// A status made by this master: no uuid, nothing to acknowledge.
    fn status(
        &self,
        now: Millis,
        task: &TaskId,
        state: TaskState,
        agent: Option<&AgentId>,
        (reason, message): (&str, &str),
    ) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.source = Some(StatusSource::Master);
        status.reason = Some(reason.to_owned());
        status.message = Some(message.to_owned());
        status.agent_id = agent.cloned();
        status.timestamp = Some(self.wall_s(now));
        status
    }
}

/// The name under which calls of a kind are counted.
fn message_counter(kind: CallType) -> &'static str {
    match kind {
        CallType::Teardown => "messages_unregister_framework",
        CallType::Accept => "messages_launch_tasks",
        CallType::Decline => "messages_decline_offers",
        CallType::Revive => "messages_revive_offers",
        CallType::Suppress => "messages_suppress_offers",
        CallType::Kill => "messages_kill_task",
        CallType::Acknowledge => "messages_status_update_acknowledgement",
        CallType::Reconcile => "messages_reconcile_tasks",
        _ => "messages_other",
    }
}

//! What the master holds in memory. Nothing of it survives the process but the [`Registry`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::drain::Deactivation;
use crate::agent::protocol::{AgentTask, RegisterAgent};
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    AgentId, AgentInfo, FrameworkCapability, FrameworkId, FrameworkInfo, KillPolicy, OfferId, TaskId, TaskInfo,
    TaskState, TaskStatus,
};

/// Ended tasks that a framework keeps for its operators (Mesos's default).
const COMPLETED_TASKS_MAX: usize = 1000;
/// Lost agents that the registry remembers, so that it fits a znode; Mesos forgets them after two weeks.
const LOST_AGENTS_MAX: usize = 1000;

/// A framework, whether its scheduler is connected or not.
#[derive(Debug, Clone)]
pub struct Framework {
    /// Its info, with id.
    pub info: FrameworkInfo,
    /// The id of its scheduler's stream; none while it isn't connected.
    pub stream: Option<String>,
    /// Known only from agents since this master leads.
    pub recovered: bool,
    /// Wall clock, seconds since 1970; zero while it is recovered.
    pub registered_s: f64,
    /// Of the latest subscription with an id.
    pub reregistered_s: Option<f64>,
    /// Of its end.
    pub unregistered_s: f64,
    /// When it is removed unless its scheduler comes back.
    pub remove_at: Option<Millis>,
    /// When the next HEARTBEAT is due.
    pub next_heartbeat: Millis,
    /// Roles for which it wants no offers.
    pub suppressed: BTreeSet<String>,
    /// What it doesn't want to be offered for some time.
    pub filters: Vec<Filter>,
    /// How many offers it has had, by role: among equal shares, who has had fewer comes first.
    pub turns: BTreeMap<String, u64>,
    /// Its tasks: from launch to the acknowledgement of the end.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Tasks on agents that can't be reached.
    pub unreachable: BTreeMap<TaskId, Task>,
    /// Tasks that have ended, oldest first.
    pub completed: VecDeque<Task>,
}

impl Framework {
    /// A framework without a stream.
    pub(super) fn new(info: FrameworkInfo, registered_s: f64) -> Self {
        Self {
            info,
            stream: None,
            recovered: false,
            registered_s,
            reregistered_s: None,
            unregistered_s: 0.0,
            remove_at: None,
            next_heartbeat: Millis::default(),
            suppressed: BTreeSet::new(),
            filters: Vec::new(),
            turns: BTreeMap::new(),
            tasks: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    /// A framework that only its agents know of so far.
    pub(super) fn recovered(info: FrameworkInfo) -> Self {
        Self { recovered: true, ..Self::new(info, 0.0) }
    }

    pub(super) fn is_partition_aware(&self) -> bool {
        self.info.can(FrameworkCapability::PartitionAware)
    }

    /// The state as this framework may be told.
    pub(super) fn tellable(&self, state: TaskState) -> TaskState {
        if self.is_partition_aware() { state } else { state.without_partition_awareness() }
    }

    pub(super) fn complete(&mut self, task: Task) {
        if self.completed.len() == COMPLETED_TASKS_MAX {
            self.completed.pop_front();
        }
        self.completed.push_back(task);
    }
}

/// Resources of an agent that a framework has refused for a role.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The agent.
    pub agent_id: AgentId,
    /// The role.
    pub role: String,
    /// Offers within these are withheld; more passes.
    pub refused: Resources,
    /// Until then.
    pub until: Millis,
}

/// A registered agent, connected or not.
#[derive(Debug, Clone)]
pub struct Agent {
    /// As it registered.
    pub info: RegisterAgent,
    /// All that it has.
    pub total: Resources,
    /// The id of its stream; none while it isn't connected.
    pub stream: Option<String>,
    /// Wall clock, seconds since 1970.
    pub registered_s: f64,
    /// Of the latest registration with an id.
    pub reregistered_s: Option<f64>,
    /// When the next ping is due.
    pub next_ping: Millis,
    /// Whether the latest ping was answered.
    pub ponged: bool,
    /// Pings in a row that weren't.
    pub missed_pings: u32,
}

impl Agent {
    /// `slave(1)@ip:port`.
    #[must_use]
    pub fn pid(&self) -> String {
        format!("slave(1)@{}:{}", self.info.ip, self.info.port)
    }
}

/// A task that the master knows.
#[derive(Debug, Clone)]
pub struct Task {
    /// As it was launched.
    pub info: TaskInfo,
    /// The latest state that the master has heard of; frees the resources when terminal.
    pub state: TaskState,
    /// State and uuid of the latest update that was forwarded, or was to be.
    pub update: Option<(TaskState, String)>,
    /// The statuses so far, one for each state; without `data`, unless an agent has brought them.
    pub statuses: Vec<TaskStatus>,
    /// What it takes.
    pub resources: Resources,
    /// A KILL that the agent may not have heard of.
    pub kill: Option<Option<KillPolicy>>,
}

impl Task {
    /// A task that is on its way to its agent.
    pub(super) fn staging(info: TaskInfo, resources: Resources) -> Self {
        Self { info, state: TaskState::Staging, update: None, statuses: Vec::new(), resources, kill: None }
    }

    /// A task as its agent reports it.
    pub(super) fn reported(task: AgentTask) -> Self {
        Self {
            resources: Resources::of(&task.info.resources).unwrap_or_default(),
            info: task.info,
            state: task.latest_state,
            update: task.status_update_state.zip(task.status_update_uuid),
            statuses: task.statuses,
            kill: None,
        }
    }

    /// Remembers a status; a state that repeats replaces the one before.
    pub(super) fn remember(&mut self, mut status: TaskStatus) {
        status.data = None;
        if self.statuses.last().is_some_and(|last| last.state == status.state) {
            self.statuses.pop();
        }
        self.statuses.push(status);
    }

    /// When the first status of it was made; for one without, later than all others.
    pub(super) fn first_heard_s(&self) -> f64 {
        self.statuses.first().and_then(|status| status.timestamp).unwrap_or(f64::INFINITY)
    }

    /// The state that reconciliation tells: of the latest update, so that updates aren't overtaken.
    pub(super) fn told_state(&self) -> TaskState {
        self.update.as_ref().map_or(self.state, |(state, _)| *state)
    }

    /// The role that its resources are allocated to.
    #[must_use]
    pub fn role(&self) -> &str {
        let allocated =
            self.info.resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref());
        allocated.unwrap_or("*")
    }
}

/// Resources that were offered and not yet used, declined or rescinded.
#[derive(Debug, Clone)]
pub struct Offered {
    /// To whom.
    pub framework_id: FrameworkId,
    /// Of which agent.
    pub agent_id: AgentId,
    /// For which role.
    pub role: String,
    /// What.
    pub resources: Resources,
    /// When.
    pub since: Millis,
}

/// The agents that the masters, this one and those before and after, know of. Kept in ZooKeeper.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Registry {
    /// Agents that are registered, by id.
    #[serde(default)]
    pub admitted: BTreeMap<String, AgentInfo>,
    /// Agents that can't be reached: id and since when (nanoseconds since 1970).
    #[serde(default)]
    pub unreachable: BTreeMap<String, i64>,
    /// Agents that never come back: id and since when (nanoseconds since 1970).
    #[serde(default)]
    pub gone: BTreeMap<String, i64>,
    /// Agents that the operator has taken out of use, and why.
    #[serde(default)]
    pub deactivated: BTreeMap<String, Deactivation>,
}

impl Registry {
    /// Whether an agent is registered, or can come back.
    pub(in crate::master) fn knows(&self, agent: &AgentId) -> bool {
        self.admitted.contains_key(agent.as_str()) || self.unreachable.contains_key(agent.as_str())
    }

    pub(super) fn mark_unreachable(&mut self, agent: &AgentId, since_ns: i64) {
        self.admitted.remove(agent.as_str());
        insert_bounded(&mut self.unreachable, agent, since_ns);
    }

    pub(super) fn mark_gone(&mut self, agent: &AgentId, since_ns: i64) {
        self.admitted.remove(agent.as_str());
        self.unreachable.remove(agent.as_str());
        self.deactivated.remove(agent.as_str());
        insert_bounded(&mut self.gone, agent, since_ns);
    }
}

/// Inserts; beyond the bound the oldest goes.
fn insert_bounded(lost: &mut BTreeMap<String, i64>, agent: &AgentId, since_ns: i64) {
    lost.insert(agent.value.clone(), since_ns);
    if lost.len() > LOST_AGENTS_MAX {
        let oldest = lost.iter().min_by_key(|(_, since)| **since);
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            lost.remove(&oldest);
        }
    }
}

/// An offer's id and content on their way out.
pub(super) type NamedOffer = (OfferId, Offered);

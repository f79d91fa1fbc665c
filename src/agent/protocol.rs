//! The private protocol between the embedded agent and the embedded master.
//!
//! Apache Mesos speaks libprocess protobuf here, which no framework ever sees; so this pair has its own, smaller protocol:
//!
//! ```text
//! agent ── POST /agent/v1/subscribe   Register (JSON) ──────────────► leading master
//!       ◄─ 200, chunked RecordIO: Registered, Ping, RunTask, … ──────  (header STREAM_ID_HEADER)
//! agent ── POST /agent/v1/call        FromAgent (JSON), same header ─► 202
//! ```
//!
//! * A master that doesn't lead answers 307 (with the leader's `Location`) or 503, as for the scheduler API.
//! * A call whose stream id isn't the agent's current one is answered 400: the agent must subscribe again.
//! * The end of the stream is the loss of the connection, for both sides. A newer subscription of the same agent replaces the older.
//! * The agent id is given by the master at the first registration and kept in the agent's checkpoint. A master that knows the id
//!   as gone says [`ToAgent::Shutdown`] instead of [`ToAgent::Registered`].
//! * Not here: executors' messages, operations on resources, maintenance, drain.

use serde::{Deserialize, Serialize};

use crate::mesos::types::{
    AgentId, Attribute, FrameworkId, FrameworkInfo, KillPolicy, Resource, TaskId, TaskInfo, TaskState, TaskStatus,
};

/// Where an agent subscribes (POST, JSON body [`Register`], answer RecordIO of [`ToAgent`]).
pub const SUBSCRIBE_PATH: &str = "/agent/v1/subscribe";
/// Where an agent sends everything else (POST, JSON body [`FromAgent`], answer 202).
pub const CALL_PATH: &str = "/agent/v1/call";
/// Names the subscription: set by the master in the answer to a subscription, repeated by the agent in every call.
pub const STREAM_ID_HEADER: &str = "Stormbed-Agent-Stream-Id";

/// Who registers, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterAgent {
    /// The id from an earlier registration; none registers a new agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<AgentId>,
    /// Name in offers.
    pub hostname: String,
    /// Address of the agent's HTTP endpoints.
    pub ip: std::net::Ipv4Addr,
    /// Port of the agent's HTTP endpoints.
    pub port: u16,
    /// Everything the agent has, unreserved, without allocation.
    pub resources: Vec<Resource>,
    /// Attributes for offers.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    /// Version the agent reports, in Mesos's form (`1.11.0`).
    pub version: String,
}

/// A task that the agent still knows: running, or ended with an update that isn't acknowledged yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentTask {
    /// The framework it belongs to.
    pub framework_id: FrameworkId,
    /// The task as it was launched.
    pub info: TaskInfo,
    /// The state the task really is in; frees its resources when terminal.
    pub latest_state: TaskState,
    /// State of the update at the head of the task's queue (the last one when all are acknowledged); none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_state: Option<TaskState>,
    /// Uuid (base64) of that update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_uuid: Option<String>,
    /// One status for each state so far, oldest first. With their `data`: a master that learns of a task from its agent shows it; one
    /// that has seen the updates doesn't.
    #[serde(default)]
    pub statuses: Vec<TaskStatus>,
}

/// The body of a subscription: all that a master, new or old, has to know of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The agent.
    pub agent_info: RegisterAgent,
    /// Its tasks; empty when the agent is new.
    #[serde(default)]
    pub tasks: Vec<AgentTask>,
    /// The frameworks of these tasks: a new master recovers them from here.
    #[serde(default)]
    pub frameworks: Vec<FrameworkInfo>,
}

/// Names a task across frameworks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// The framework.
    pub framework_id: FrameworkId,
    /// The task, unique within it.
    pub task_id: TaskId,
}

/// Master → agent, one RecordIO record each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ToAgent {
    /// First record of every accepted subscription.
    Registered {
        /// The agent's id: a new one, or the one it came with.
        agent_id: AgentId,
        /// `MasterInfo.id` of the master.
        master_id: String,
        /// `MasterInfo.hostname` of the master.
        master_hostname: String,
        /// Without any record for this long (ping interval × allowed misses), the agent takes the connection for lost.
        ping_timeout_ms: u64,
        /// Tasks that the master has on this agent and that the registration didn't name: the agent answers each that it doesn't
        /// know with TASK_DROPPED (TASK_LOST for frameworks without PARTITION_AWARE), reason REASON_RECONCILIATION.
        #[serde(default)]
        reconcile: Vec<TaskRef>,
        /// Frameworks of the tasks in `reconcile`, for their capabilities.
        #[serde(default)]
        reconcile_frameworks: Vec<FrameworkInfo>,
    },
    /// Are you there? Answered by [`FromAgent::Pong`].
    Ping,
    /// Launch a task; its resources are the master's to check.
    RunTask {
        /// The task's framework (with its id).
        framework: Box<FrameworkInfo>,
        /// The task.
        task: Box<TaskInfo>,
    },
    /// Kill a task; may be repeated, a later policy wins.
    KillTask {
        /// The framework.
        framework_id: FrameworkId,
        /// The task.
        task_id: TaskId,
        /// Grace from the KILL call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kill_policy: Option<KillPolicy>,
        /// Because the agent is being drained: the task's updates say so.
        #[serde(default)]
        draining: bool,
    },
    /// The framework has acknowledged a status update.
    AckUpdate {
        /// The framework.
        framework_id: FrameworkId,
        /// The task.
        task_id: TaskId,
        /// The update's uuid, base64 as in the status.
        uuid: String,
    },
    /// The framework is removed: kill its tasks and forget its updates.
    ShutdownFramework {
        /// The framework.
        framework_id: FrameworkId,
    },
    /// The framework has subscribed again (perhaps changed): keep the info, send its pending updates now.
    UpdateFramework {
        /// The framework (with its id).
        framework: Box<FrameworkInfo>,
    },
    /// The agent is gone for ever: kill everything and end. It keeps its id, and so hears this again at every later start.
    Shutdown {
        /// Why.
        message: String,
    },
}

/// Agent → master, one POST each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FromAgent {
    /// Answer to [`ToAgent::Ping`].
    Pong,
    /// A status update, with uuid; sent again until [`ToAgent::AckUpdate`] comes.
    StatusUpdate {
        /// The framework it is for.
        framework_id: FrameworkId,
        /// The update.
        status: Box<TaskStatus>,
        /// The state the task is in by now; may be later than `status.state`.
        latest_state: TaskState,
    },
    /// The agent ends on purpose: its tasks are lost, its id is done with.
    Unregister,
}

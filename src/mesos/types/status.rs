//! How tasks are, and what is said about them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{loose, loose_option, wire_enum};
use super::{AgentId, ContainerId, ExecutorId, Labels, NetworkInfo, TaskId};

wire_enum! {
    /// The state of a task.
    TaskState {
        Staging = "TASK_STAGING",
        Starting = "TASK_STARTING",
        Running = "TASK_RUNNING",
        Killing = "TASK_KILLING",
        Finished = "TASK_FINISHED",
        Failed = "TASK_FAILED",
        Killed = "TASK_KILLED",
        Error = "TASK_ERROR",
        Lost = "TASK_LOST",
        Dropped = "TASK_DROPPED",
        Unreachable = "TASK_UNREACHABLE",
        Gone = "TASK_GONE",
        GoneByOperator = "TASK_GONE_BY_OPERATOR",
        Unknown = "TASK_UNKNOWN",
    }
}

impl TaskState {
    /// Whether the task can't run any more. `TASK_UNREACHABLE` and `TASK_UNKNOWN` aren't terminal.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Error
                | Self::Lost
                | Self::Dropped
                | Self::Gone
                | Self::GoneByOperator
        )
    }

    /// The state that a framework without `PARTITION_AWARE` is told.
    #[must_use]
    pub fn without_partition_awareness(self) -> Self {
        match self {
            Self::Unreachable | Self::Dropped | Self::Gone | Self::GoneByOperator | Self::Unknown => Self::Lost,
            other => other,
        }
    }
}

wire_enum! {
    /// Who made a status.
    StatusSource {
        Master = "SOURCE_MASTER",
        Agent = "SOURCE_AGENT",
        Executor = "SOURCE_EXECUTOR",
    }
}

/// Reasons in statuses; kept as text so that unknown ones pass through.
pub mod reason {
    /// Answer to RECONCILE, or an agent's answer to a master that knew more tasks than it.
    pub const RECONCILIATION: &str = "REASON_RECONCILIATION";
    /// The task's group can't be launched as it is.
    pub const TASK_GROUP_INVALID: &str = "REASON_TASK_GROUP_INVALID";
    /// The task can't be launched as it is.
    pub const TASK_INVALID: &str = "REASON_TASK_INVALID";
    /// The offers of the ACCEPT weren't valid.
    pub const INVALID_OFFERS: &str = "REASON_INVALID_OFFERS";
    /// The agent is gone, or unreachable.
    pub const AGENT_REMOVED: &str = "REASON_AGENT_REMOVED";
    /// The operator marked the agent gone.
    pub const AGENT_REMOVED_BY_OPERATOR: &str = "REASON_AGENT_REMOVED_BY_OPERATOR";
    /// The agent's connection broke.
    pub const AGENT_DISCONNECTED: &str = "REASON_AGENT_DISCONNECTED";
    /// An unreachable agent is back.
    pub const AGENT_REREGISTERED: &str = "REASON_AGENT_REREGISTERED";
    /// The agent was restarted before the task ran.
    pub const AGENT_RESTARTED: &str = "REASON_AGENT_RESTARTED";
    /// The container could not be started.
    pub const CONTAINER_LAUNCH_FAILED: &str = "REASON_CONTAINER_LAUNCH_FAILED";
    /// The executor ended abnormally.
    pub const EXECUTOR_TERMINATED: &str = "REASON_EXECUTOR_TERMINATED";
    /// The executor didn't subscribe in time.
    pub const EXECUTOR_REGISTRATION_TIMEOUT: &str = "REASON_EXECUTOR_REGISTRATION_TIMEOUT";
    /// The executor didn't come back after an agent's restart.
    pub const EXECUTOR_REREGISTRATION_TIMEOUT: &str = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT";
    /// Killed before it ran.
    pub const TASK_KILLED_DURING_LAUNCH: &str = "REASON_TASK_KILLED_DURING_LAUNCH";
    /// Its `max_completion_time` is over.
    pub const MAX_COMPLETION_TIME_REACHED: &str = "REASON_MAX_COMPLETION_TIME_REACHED";
    /// Its agent is being drained.
    pub const AGENT_DRAINING: &str = "REASON_AGENT_DRAINING";
    /// The framework is gone.
    pub const FRAMEWORK_REMOVED: &str = "REASON_FRAMEWORK_REMOVED";
}

/// A statement about a task. It wants an acknowledgement if and only if it has a `uuid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Which task.
    pub task_id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StatusSource>,
    /// Why; see [`reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Base64; for DOCKER tasks that run the `docker inspect` document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Its executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorId>,
    /// Seconds since 1970.
    #[serde(default, deserialize_with = "loose_option", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<f64>,
    /// Base64 of 16 bytes; must be acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Result of the health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatus>,
    /// Since when the agent can't be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_time: Option<TimeInfo>,
    /// Result of a general check; carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_status: Option<Value>,
}

impl TaskStatus {
    /// A status with nothing but task and state.
    #[must_use]
    pub fn new(task_id: TaskId, state: TaskState) -> Self {
        Self {
            task_id,
            state,
            message: None,
            source: None,
            reason: None,
            data: None,
            agent_id: None,
            executor_id: None,
            timestamp: None,
            uuid: None,
            healthy: None,
            labels: None,
            container_status: None,
            unreachable_time: None,
            check_status: None,
        }
    }
}

/// A task's container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its id; the Docker container is called `mesos-<id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<ContainerId>,
    /// Its addresses; only in TASK_RUNNING are they the container's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_infos: Vec<NetworkInfo>,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeInfo {
    /// Nanoseconds since 1970.
    #[serde(deserialize_with = "loose")]
    pub nanoseconds: i64,
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationInfo {
    /// Nanoseconds.
    #[serde(deserialize_with = "loose")]
    pub nanoseconds: i64,
}

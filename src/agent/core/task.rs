//! One task on this agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mesos::types::{KillPolicy, TaskInfo, TaskState, TaskStatus};

/// How far the task's container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its image is being looked for; nothing was said about it yet.
    Preparing,
    /// It is being made and started.
    Starting,
    /// It runs.
    Running,
    /// It ended, or never came to be.
    Ended,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// As it was launched.
    pub info: TaskInfo,
    /// Its container's id; the container is called `mesos-<id>`.
    pub container: String,
    /// How far its container is.
    pub stage: Stage,
    /// True once somebody wanted it killed.
    pub killed: bool,
    /// Grace of the latest kill.
    #[serde(default)]
    pub grace: Duration,
    /// Its framework is gone: nothing is said about it any more.
    pub forgotten: bool,
    /// The state it is in.
    pub state: TaskState,
    /// One status per state so far, oldest first, without data.
    pub statuses: Vec<TaskStatus>,
}

impl Task {
    /// A task that was just launched.
    #[must_use]
    pub fn new(info: TaskInfo, container: String) -> Self {
        Self {
            info,
            container,
            stage: Stage::Preparing,
            killed: false,
            grace: Duration::ZERO,
            forgotten: false,
            state: TaskState::Staging,
            statuses: Vec::new(),
        }
    }

    /// Grace of a kill: its own policy, else the task's, else the agent's.
    #[must_use]
    pub fn grace_of(&self, policy: Option<KillPolicy>, default: Duration) -> Duration {
        policy
            .and_then(|policy| policy.grace_period)
            .or_else(|| self.info.kill_policy?.grace_period)
            .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
            .map_or(default, Duration::from_nanos)
    }

    /// Remembers a status that is on its way.
    pub fn note(&mut self, status: &TaskStatus) {
        self.state = status.state;
        self.statuses.retain(|old| old.state != status.state);
        self.statuses.push(TaskStatus { data: None, ..status.clone() });
    }
}

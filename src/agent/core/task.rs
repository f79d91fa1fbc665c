//! One task on this agent.

use serde::{Deserialize, Serialize};

use crate::mesos::types::{KillPolicy, TaskInfo, TaskState, TaskStatus};

/// How far the task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its image is being looked for; nothing was said about it yet.
    Preparing,
    /// Its executor is started and hasn't got it yet.
    Registering,
    /// Its executor has it.
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
    /// How far it is.
    pub stage: Stage,
    /// How many updates of its executor are kept.
    pub heard: u64,
    /// The latest kill, with its policy.
    pub killed: Option<Option<KillPolicy>>,
    /// True once somebody wanted the agent drained.
    pub draining: bool,
    /// Its framework is gone: nothing is said about it any more.
    pub forgotten: bool,
    /// The state it is in.
    pub state: TaskState,
    /// One status per state so far, oldest first.
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
            heard: 0,
            killed: None,
            draining: false,
            forgotten: false,
            state: TaskState::Staging,
            statuses: Vec::new(),
        }
    }

    /// Remembers a status that is on its way.
    pub fn note(&mut self, status: &TaskStatus) {
        self.state = status.state;
        self.statuses.retain(|old| old.state != status.state);
        self.statuses.push(status.clone());
    }
}

//! What the agent writes down, and how it finds its tasks again after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::link::Link;
use super::queue::Queue;
use super::task::{Stage, Task};
use super::{Action, Agent, Fresh, Settings, lost_as};
use crate::agent::protocol::{RegisterAgent, TaskRef};
use crate::mesos::types::{FrameworkInfo, StatusSource, TaskState, TaskStatus, reason};

/// Everything that outlives the agent's process: of frameworks with `checkpoint`, as in Mesos.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The agent as it registered, with its id; none before the first registration.
    pub agent: Option<RegisterAgent>,
    /// Frameworks of the tasks.
    pub frameworks: Vec<FrameworkInfo>,
    /// The tasks.
    pub tasks: Vec<(TaskRef, Task)>,
    /// Updates not yet acknowledged.
    pub queues: Vec<(TaskRef, Queue)>,
}

impl Agent {
    /// An agent as its checkpoint left it. [`Event::Recovered`](super::Event::Recovered) must be its first event.
    ///
    /// # Errors
    /// If the checkpoint is of an agent with another name, address or other resources: the master and the frameworks hold it to those.
    pub fn restore(settings: Settings, checkpoint: Checkpoint) -> Result<Self, String> {
        let id = match checkpoint.agent {
            None => None,
            Some(before) => {
                let mut now = settings.agent.clone();
                now.id.clone_from(&before.id);
                if now != before {
                    return Err(format!(
                        "incompatible agent info: the checkpoint is of {before:?}, the configuration says {now:?}; \
                         go back to the former configuration, or remove the work directory (which loses the tasks)"
                    ));
                }
                before.id
            }
        };
        let frameworks = checkpoint.frameworks.into_iter();
        Ok(Self {
            settings,
            id,
            link: Link::Leaderless,
            attempt: 0,
            frameworks: frameworks.filter_map(|f| Some((f.id.clone()?, f))).collect(),
            tasks: checkpoint.tasks.into_iter().collect(),
            queues: checkpoint.queues.into_iter().collect(),
            shutdown_at: None,
            dirty: false,
        })
    }

    /// What [`Action::Persist`] writes.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let kept = |key: &TaskRef| {
            // An update about a task that never was has no framework here; losing it would lose the framework's answer.
            self.frameworks.get(&key.framework_id).is_none_or(|f| f.checkpoint)
        };
        let pairs = |key: &TaskRef| kept(key).then(|| key.clone());
        Checkpoint {
            agent: self.id.clone().map(|id| RegisterAgent { id: Some(id), ..self.settings.agent.clone() }),
            frameworks: self.frameworks.values().filter(|f| f.checkpoint).cloned().collect(),
            tasks: self.tasks.iter().filter_map(|(k, t)| Some((pairs(k)?, t.clone()))).collect(),
            queues: self.queues.iter().filter_map(|(k, q)| Some((pairs(k)?, q.clone()))).collect(),
        }
    }

    /// Compares the tasks with the containers that exist: id → runs.
    pub(super) fn recovered(&mut self, containers: &BTreeMap<String, bool>, fresh: &mut dyn Fresh) -> Vec<Action> {
        let mut actions = Vec::new();
        let keys: Vec<TaskRef> = self.tasks.keys().cloned().collect();
        for key in keys {
            let Some(task) = self.tasks.get(&key) else {
                continue;
            };
            let exists = containers.contains_key(&task.container);
            match task.stage {
                Stage::Ended => {}
                Stage::Starting | Stage::Running if exists => actions.push(Action::Watch(key)),
                _ => self.lost_task(&key, fresh),
            }
        }
        let known = |id: &String| self.tasks.values().any(|task| task.container == *id);
        actions.extend(containers.keys().filter(|id| !known(id)).map(|id| Action::RemoveOrphan(id.clone())));
        actions
    }

    /// A task without a container: it never got one, or it was removed.
    fn lost_task(&mut self, key: &TaskRef, fresh: &mut dyn Fresh) {
        let Some((task, framework)) = self.task(key) else {
            return;
        };
        let (state, reason, message) = match task.stage {
            Stage::Preparing | Stage::Starting => {
                (TaskState::Dropped, reason::AGENT_RESTARTED, "The agent was restarted before the task was launched")
            }
            Stage::Running | Stage::Ended => (
                TaskState::Gone,
                reason::EXECUTOR_REREGISTRATION_TIMEOUT,
                "The task's container was gone when the agent came back",
            ),
        };
        let status = TaskStatus {
            source: Some(StatusSource::Agent),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..TaskStatus::new(key.task_id.clone(), lost_as(state, framework))
        };
        self.end(key, status, fresh);
    }
}

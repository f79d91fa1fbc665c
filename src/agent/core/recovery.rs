//! What the agent writes down, and how it finds its tasks again after a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::link::Link;
use super::queue::Queue;
use super::task::{Stage, Task};
use super::{Action, Agent, Fresh, Settings, lost_as};
use crate::agent::protocol::{RegisterAgent, TaskRef};
use crate::clock::Millis;
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
    /// An agent as its checkpoint left it. [`Event::Begin`](super::Event::Begin) must be its first event.
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
                        "Incompatible agent info detected. The checkpoint is of {before:?}, the configuration says {now:?}; \
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
            registering: BTreeMap::new(),
            missing: BTreeSet::new(),
            missing_until: None,
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

    /// Waits for the executors of the tasks; what hadn't got that far was never launched.
    pub(super) fn begin(&mut self, now: Millis, fresh: &mut dyn Fresh) -> Vec<Action> {
        let mut actions = Vec::new();
        let tasks: Vec<(TaskRef, Stage, String)> =
            self.tasks.iter().map(|(key, task)| (key.clone(), task.stage, task.container.clone())).collect();
        for (key, stage, container) in tasks {
            match stage {
                Stage::Preparing => self.never_launched(&key, fresh),
                Stage::Registering | Stage::Running => {
                    self.missing.insert(container);
                }
                Stage::Ended => actions.push(Action::RemoveLater(container)),
            }
        }
        self.missing_until = (!self.missing.is_empty()).then_some(now + self.settings.reregistration);
        actions
    }

    /// Executors that aren't back are gone.
    pub(super) fn give_up_missing(&mut self, fresh: &mut dyn Fresh) -> Vec<Action> {
        self.missing_until = None;
        let missing = std::mem::take(&mut self.missing);
        let why = "Abnormal executor termination: unknown container";
        missing.iter().flat_map(|container| self.executor_gone(container, why, fresh)).collect()
    }

    /// Containers that belong to no task.
    pub(super) fn orphans(&self, containers: &BTreeMap<String, bool>) -> Vec<Action> {
        if !self.settings.kill_orphans {
            return Vec::new();
        }
        let known = |id: &String| self.tasks.values().any(|task| task.container == *id);
        containers.keys().filter(|id| !known(id)).map(|id| Action::Remove(id.clone())).collect()
    }

    fn never_launched(&mut self, key: &TaskRef, fresh: &mut dyn Fresh) {
        let framework = self.frameworks.get(&key.framework_id);
        let status = TaskStatus {
            source: Some(StatusSource::Agent),
            reason: Some(reason::AGENT_RESTARTED.to_owned()),
            message: Some("The agent was restarted before the task was launched".to_owned()),
            ..TaskStatus::new(key.task_id.clone(), lost_as(TaskState::Dropped, framework))
        };
        self.end(key, status, fresh);
    }
}

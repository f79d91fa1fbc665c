//! Statuses from agents, and their acknowledgements.

use super::Master;
use super::registrar::Change;
use crate::agent::protocol::{FromAgent, ToAgent};
use crate::clock::Millis;
use crate::mesos::types::{Acknowledge, AgentId, Event, FrameworkId, TaskState, TaskStatus};

impl Master {
    pub(super) fn agent_says(&mut self, now: Millis, stream: &str, message: FromAgent) {
        let Some(agent) = self.agent_of(stream).cloned() else {
            return;
        };
        match message {
            FromAgent::Pong => self.pong(&agent),
            FromAgent::StatusUpdate { framework_id, status, latest_state } => {
                self.update(&framework_id, *status, latest_state)
            }
            FromAgent::Unregister => {
                self.decide(now, Change::Remove(agent, "the agent unregistered"));
            }
        }
    }

    /// Notes what a status says, and forwards it if the scheduler is there; else the agent tries again.
    fn update(&mut self, framework_id: &FrameworkId, status: TaskStatus, latest: TaskState) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else {
            self.count("invalid_status_updates");
            return;
        };
        let mut counter = "invalid_status_updates";
        if let Some(task) = framework.tasks.get_mut(&status.task_id) {
            counter = "valid_status_updates";
            // A task that has ended doesn't come to life again by an older update that arrives late.
            if !task.state.is_terminal() {
                task.state = latest;
            }
            task.update = Some((status.state, status.uuid.clone().unwrap_or_default()));
            task.remember(status.clone());
        }
        self.count(counter);
        self.send(framework_id, Event::Update(status));
    }

    /// Passes an acknowledgement on; that of a task's end ends the master's interest in it.
    pub(super) fn acknowledge(&mut self, framework_id: &FrameworkId, ack: Acknowledge) {
        let connected = |agent: &AgentId| self.agents.get(agent).is_some_and(|agent| agent.stream.is_some());
        if !connected(&ack.agent_id) {
            return self.count("invalid_status_update_acknowledgements");
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else {
            return;
        };
        if let Some(task) = framework.tasks.get(&ack.task_id) {
            let Some((state, uuid)) = &task.update else {
                // Not sent by this master: the agent will send it again, then it can be acknowledged.
                return self.count("invalid_status_update_acknowledgements");
            };
            let here = task.info.agent_id == ack.agent_id;
            if here && state.is_terminal() && *uuid == ack.uuid {
                let ended = framework.tasks.remove(&ack.task_id);
                ended.into_iter().for_each(|task| framework.complete(task));
            }
        }
        self.count("valid_status_update_acknowledgements");
        let message = ToAgent::AckUpdate { framework_id: framework_id.clone(), task_id: ack.task_id, uuid: ack.uuid };
        self.tell(&ack.agent_id, message);
    }
}

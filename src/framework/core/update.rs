//! What becomes of tasks: status updates, losses, and generations that are given up.

use std::time::Duration;

use super::Core;
use super::messages::{Action, Update};
use super::state::{Stage, Task, parse_task_id, task_id};
use crate::clock::Millis;
use crate::config::{Bootstrap, Slot};
use crate::mesos::types::TaskState;

/// A task that ran this long starts its slot's count of failures again.
const STABLE_MS: u64 = 10_000;
/// Pause after the second loss in a row; the first is replaced at once.
const RETRY_MS: u64 = 250;
/// The pause doubles at most this often: to 8 s.
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// How a slot's launches went.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    not_before: Millis,
    running_since: Option<Millis>,
}

/// A statement that the task's container may run, and isn't on its way down.
fn is_alive(state: TaskState) -> bool {
    matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running)
}

impl Core {
    pub(super) fn updated(&mut self, now: Millis, update: Update) {
        let Update { task_id, state, agent, uuid } = update;
        if let (Some(agent), Some(uuid)) = (agent.clone(), uuid) {
            let task_id = task_id.clone();
            self.after.push(Action::Acknowledge { task_id, agent, uuid });
        }
        match self.current(&task_id, state, agent.as_ref()) {
            Some(slot) => self.current_updated(now, slot, state),
            None if is_alive(state) => self.after.push(Action::Kill { task_id, agent }),
            None => {}
        }
    }

    /// The slot whose current task this is. A task of an incarnation that our state has never heard of is adopted if it
    /// lives and the slot is free.
    fn current(&mut self, id: &str, state: TaskState, agent: Option<&String>) -> Option<Slot> {
        let (slot, incarnation) = parse_task_id(&self.settings.cluster, id)?;
        let generation = self.state.generation();
        let record = self.state.slots.get_mut(&slot)?;
        if incarnation > record.incarnation {
            record.incarnation = incarnation;
            self.dirty = true;
            if let (None, true, Some(agent)) = (&record.task, is_alive(state), agent) {
                record.task = Some(Task { incarnation, agent: agent.clone(), generation, stage: Stage::Staged });
            }
        }
        let is_current = record.task.as_ref()?.incarnation == incarnation;
        (is_current && !self.is_leaving(slot)).then_some(slot)
    }

    fn current_updated(&mut self, now: Millis, slot: Slot, state: TaskState) {
        self.reconciliation.heard(slot);
        if state.is_terminal() {
            // Dropped and refused tasks never reached an executor: their etcd never started.
            let started = !matches!(state, TaskState::Dropped | TaskState::Error);
            self.lost(now, slot, started);
            if state == TaskState::GoneByOperator {
                self.moves.home_is_gone(now, slot);
            }
            return;
        }
        let Some(task) = self.state.slots.get_mut(&slot).and_then(|r| r.task.as_mut()) else {
            return;
        };
        let stage = match state {
            TaskState::Running => Stage::Running,
            TaskState::Unreachable | TaskState::Unknown => Stage::Unreachable,
            _ if task.stage == Stage::Unreachable => Stage::Staged,
            _ => task.stage,
        };
        if task.stage != stage {
            task.stage = stage;
            self.dirty = true;
        }
        if stage == Stage::Running {
            let retry = self.retries.entry(slot).or_default();
            retry.running_since.get_or_insert(now);
        }
        let task = task.clone();
        if is_alive(state) && self.state.is_forming() && self.state.is_abandoned(&task) {
            self.kill(slot, &task);
        }
    }

    pub(super) fn agent_lost(&mut self, now: Millis, agent: &str) {
        for (slot, record) in &self.state.slots {
            if record.task.as_ref().is_some_and(|t| t.agent == agent) {
                self.reconciliation.ask(now, *slot);
            }
        }
    }

    /// The slot's task is over: withdraw it, make room for the next, and give up a generation that loses one while forming.
    pub(super) fn lost(&mut self, now: Millis, slot: Slot, started: bool) {
        let record = self.state.slots.get_mut(&slot);
        let Some(task) = record.and_then(|record| record.task.take()) else {
            return;
        };
        self.dirty = true;
        self.after.push(Action::Withdraw { slot, incarnation: task.incarnation });
        // Filters stand in the way of what just came free.
        self.revived = None;
        let given_up = self.state.is_forming() && self.state.is_abandoned(&task);
        if given_up {
            return; // we killed it: that is no failure of the slot's
        }
        if self.state.is_forming() && started {
            self.abandon();
        }
        self.delay(now, slot);
    }

    fn delay(&mut self, now: Millis, slot: Slot) {
        let retry = self.retries.entry(slot).or_default();
        let stable = Duration::from_millis(STABLE_MS);
        if retry.running_since.take().is_some_and(|since| now.since(since) >= stable) {
            retry.failures = 0;
        }
        retry.not_before = now;
        if retry.failures > 0 {
            let doublings = (retry.failures - 1).min(RETRY_DOUBLINGS_MAX);
            retry.not_before = now + Duration::from_millis(RETRY_MS << doublings);
        }
        retry.failures += 1;
    }

    /// Whether the slot's next launch is due.
    pub(super) fn is_due(&self, now: Millis, slot: Slot) -> bool {
        self.retries.get(&slot).is_none_or(|retry| retry.not_before <= now)
    }

    /// The next generation begins: nothing of this one may live on, because an etcd that is started as `new` twice with one
    /// token can become two clusters with one id.
    pub(super) fn abandon(&mut self) {
        let generation = self.state.generation() + 1;
        self.state.bootstrap = Bootstrap::Forming { generation };
        for (offer, slots) in std::mem::take(&mut self.leaving) {
            self.unplan(&slots);
            let refuse_s = 0.0;
            self.out.push(Action::Decline { offer, refuse_s });
        }
        for (slot, record) in self.state.slots.clone() {
            if let Some(task) = record.task {
                self.kill(slot, &task);
            }
        }
    }

    fn kill(&mut self, slot: Slot, task: &Task) {
        self.after.push(Action::Kill {
            task_id: task_id(&self.settings.cluster, slot, task.incarnation),
            agent: Some(task.agent.clone()),
        });
    }
}

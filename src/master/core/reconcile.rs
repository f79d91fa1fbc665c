//! What is known of a task; KILL, which for unknown tasks is the same question; and SHUTDOWN.

use super::Master;
use super::model::Task;
use crate::agent::protocol::ToAgent;
use crate::clock::Millis;
use crate::mesos::types::{
    AgentId, Event, FrameworkId, Kill, KillPolicy, ReconcileTask, Shutdown, TaskId, TaskState, TaskStatus, TimeInfo,
    reason,
};

impl Master {
    /// Answers for the named tasks, or for all that are known when none is named.
    pub(super) fn reconcile(&mut self, now: Millis, framework_id: &FrameworkId, asked: &[ReconcileTask]) {
        let Some(framework) = self.frameworks.get(framework_id) else {
            return;
        };
        let answers: Vec<TaskStatus> = if asked.is_empty() {
            framework.tasks.values().map(|task| self.known(now, task)).collect()
        } else {
            asked.iter().filter_map(|task| self.answer(now, framework_id, task)).collect()
        };
        for mut status in answers {
            if let Some(framework) = self.frameworks.get(framework_id) {
                status.state = framework.tellable(status.state);
            }
            self.send(framework_id, Event::Update(status));
        }
    }

    /// The answer about one task; none while an agent that may have it is still to come back.
    fn answer(&self, now: Millis, framework_id: &FrameworkId, asked: &ReconcileTask) -> Option<TaskStatus> {
        if let Some(task) = self.frameworks.get(framework_id)?.tasks.get(&asked.task_id) {
            return Some(self.known(now, task));
        }
        let agent = asked.agent_id.as_ref();
        let say = |state, message| {
            let why = (reason::RECONCILIATION, message);
            Some(self.status(now, &asked.task_id, state, agent, why))
        };
        let still_to_come = match agent {
            Some(agent) => self.recovered.contains(agent),
            None => !self.recovered.is_empty(),
        };
        if still_to_come {
            return None;
        }
        let Some(agent) = agent else {
            return say(TaskState::Unknown, "Reconciliation: Task is unknown");
        };
        if self.agents.contains_key(agent) {
            return say(TaskState::Gone, "Reconciliation: Task is unknown to the agent");
        }
        if let Some(since_ns) = self.registry.unreachable.get(agent.as_str()) {
            let mut status = say(TaskState::Unreachable, "Reconciliation: Task is unreachable")?;
            status.unreachable_time = Some(TimeInfo { nanoseconds: *since_ns });
            return Some(status);
        }
        if self.registry.gone.contains_key(agent.as_str()) {
            return say(TaskState::GoneByOperator, "Reconciliation: Task is gone");
        }
        say(TaskState::Unknown, "Reconciliation: Task is unknown")
    }

    fn known(&self, now: Millis, task: &Task) -> TaskStatus {
        let why = (reason::RECONCILIATION, "Reconciliation: Latest task state");
        self.retell(now, task, task.told_state(), why)
    }

    /// A status that repeats what the latest one said of health and container.
    pub(super) fn retell(&self, now: Millis, task: &Task, state: TaskState, why: (&str, &str)) -> TaskStatus {
        let agent = Some(&task.info.agent_id);
        let mut status = self.status(now, &task.info.task_id, state, agent, why);
        if let Some(last) = task.statuses.last() {
            status.healthy = last.healthy;
            status.container_status.clone_from(&last.container_status);
        }
        status
    }

    pub(super) fn kill(&mut self, now: Millis, framework_id: &FrameworkId, kill: Kill) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else {
            return;
        };
        let Some(task) = framework.tasks.get_mut(&kill.task_id) else {
            let asked = ReconcileTask { task_id: kill.task_id, agent_id: kill.agent_id };
            return self.reconcile(now, framework_id, &[asked]);
        };
        let agent = task.info.agent_id.clone();
        if kill.agent_id.is_some_and(|given| given != agent) {
            return;
        }
        task.kill = Some(kill.kill_policy);
        self.send_kill(framework_id, &agent, kill.task_id, kill.kill_policy);
    }

    /// SHUTDOWN of an executor. Every executor here is that of one task, whose id it bears: with it ends the task.
    pub(super) fn shutdown(&mut self, framework_id: &FrameworkId, shutdown: Shutdown) {
        let task_id = TaskId::from(shutdown.executor_id.value);
        let task = self.frameworks.get(framework_id).and_then(|framework| framework.tasks.get(&task_id));
        if task.is_some_and(|task| task.info.agent_id == shutdown.agent_id) {
            self.send_kill(framework_id, &shutdown.agent_id, task_id, None);
        }
    }

    pub(super) fn send_kill(
        &mut self,
        framework_id: &FrameworkId,
        agent: &AgentId,
        task_id: TaskId,
        kill_policy: Option<KillPolicy>,
    ) {
        let draining = self.is_draining(agent);
        let message = ToAgent::KillTask { framework_id: framework_id.clone(), task_id, kill_policy, draining };
        self.tell(agent, message);
    }
}

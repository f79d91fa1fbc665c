//! A task's life: launch, kill, what its executor says, and the updates that come of it.

use super::task::{Stage, Task};
use super::{Action, Agent, Fresh};
use crate::agent::executor::protocol::ToExecutor;
use crate::agent::protocol::{FromAgent, TaskRef};
use crate::clock::Millis;
use crate::mesos::types::{
    ContainerId, ExecutorId, FrameworkCapability, FrameworkInfo, IpAddress, KillPolicy, NetworkInfo, StatusSource,
    TaskInfo, TaskState, TaskStatus, reason,
};

impl Agent {
    pub(super) fn run_task(
        &mut self,
        now: Millis,
        framework: FrameworkInfo,
        info: TaskInfo,
        fresh: &mut dyn Fresh,
    ) -> Vec<Action> {
        let Some(framework_id) = framework.id.clone() else {
            return Vec::new();
        };
        let key = TaskRef { framework_id: framework_id.clone(), task_id: info.task_id.clone() };
        if self.shutdown_at.is_some() || self.tasks.contains_key(&key) {
            return Vec::new();
        }
        let docker = self.settings.docker && info.container.as_ref().is_some_and(|c| c.docker.is_some());
        self.frameworks.insert(framework_id, framework);
        self.tasks.insert(key.clone(), Task::new(info, fresh.container()));
        self.dirty = true;
        if !docker {
            let message = "Abnormal executor termination: unknown container";
            let status = of_agent(&key, TaskState::Failed, reason::EXECUTOR_TERMINATED, message);
            self.end(&key, status, fresh);
            return Vec::new();
        }
        self.registering.insert(key.clone(), now + self.settings.registration);
        vec![Action::Prepare(key)]
    }

    pub(super) fn prepared(&mut self, key: TaskRef, found: Result<(), String>, fresh: &mut dyn Fresh) -> Vec<Action> {
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.stage == Stage::Preparing) else {
            // Killed in between.
            return Vec::new();
        };
        match found {
            Ok(()) => {
                task.stage = Stage::Registering;
                self.dirty = true;
                vec![Action::StartExecutor(key)]
            }
            Err(why) => {
                let message = format!("Failed to launch container: {why}");
                let status = of_agent(&key, TaskState::Failed, reason::CONTAINER_LAUNCH_FAILED, &message);
                self.end(&key, status, fresh);
                Vec::new()
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        key: &TaskRef,
        policy: Option<KillPolicy>,
        draining: bool,
        fresh: &mut dyn Fresh,
    ) -> Vec<Action> {
        let Some(task) = self.tasks.get_mut(key) else {
            if !self.queues.contains_key(key) {
                let state = lost_as(TaskState::Dropped, self.frameworks.get(&key.framework_id));
                let status = of_agent(key, state, reason::EXECUTOR_TERMINATED, "Cannot find executor");
                self.emit(key, status, fresh);
            }
            return Vec::new();
        };
        task.killed = Some(policy);
        task.draining |= draining;
        self.dirty = true;
        match task.stage {
            Stage::Ended => Vec::new(),
            Stage::Running => vec![Action::Tell(task.container.clone(), ToExecutor::Kill { policy })],
            // An executor without its task is told to end when it comes.
            Stage::Preparing | Stage::Registering => {
                let message = "Killed before its container was started";
                let status = of_agent(key, TaskState::Killed, reason::TASK_KILLED_DURING_LAUNCH, message);
                self.end(key, status, fresh);
                Vec::new()
            }
        }
    }

    pub(super) fn acknowledge(&mut self, key: &TaskRef, uuid: &str) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if !queue.acknowledge(uuid) {
            return;
        }
        self.dirty = true;
        if queue.is_done() {
            self.queues.remove(key);
            self.drop_task(key);
        }
    }

    fn drop_task(&mut self, key: &TaskRef) {
        self.tasks.remove(key);
        self.dirty = true;
        if !self.tasks.keys().any(|other| other.framework_id == key.framework_id) {
            self.frameworks.remove(&key.framework_id);
        }
    }

    /// Kills tasks without a word about them.
    pub(super) fn forget(&mut self, which: impl Fn(&TaskRef) -> bool) -> Vec<Action> {
        let mut actions = Vec::new();
        self.queues.retain(|key, _| !which(key));
        let keys: Vec<TaskRef> = self.tasks.keys().filter(|key| which(key)).cloned().collect();
        for key in keys {
            let Some(task) = self.tasks.get_mut(&key) else {
                continue;
            };
            task.forgotten = true;
            match task.stage {
                Stage::Running => actions.push(Action::Tell(task.container.clone(), ToExecutor::Shutdown)),
                Stage::Preparing | Stage::Registering | Stage::Ended => self.drop_task(&key),
            }
        }
        self.dirty = true;
        actions
    }

    pub(super) fn shutdown(&mut self, now: Millis) -> Vec<Action> {
        self.shutdown_at = Some(now);
        self.forget(|_| true)
    }

    /// The agent leaves on purpose: its tasks are lost, and the next start is that of a new agent.
    pub(super) fn unregister(&mut self, now: Millis) -> Vec<Action> {
        self.id = None;
        let mut actions = self.shutdown(now);
        if self.link.is_registered() {
            actions.insert(0, Action::Send(FromAgent::Unregister));
        }
        actions
    }

    /// Tasks whose executors didn't subscribe in time have failed. One that comes later is told to end.
    pub(super) fn give_up_registering(&mut self, now: Millis, fresh: &mut dyn Fresh) {
        let tasks = &self.tasks;
        let waits = |key: &TaskRef| {
            tasks.get(key).is_some_and(|task| matches!(task.stage, Stage::Preparing | Stage::Registering))
        };
        self.registering.retain(|key, _| waits(key));
        let late: Vec<TaskRef> =
            self.registering.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for key in late {
            self.registering.remove(&key);
            let message = format!("Executor did not register within {:?}", self.settings.registration);
            let status = of_agent(&key, TaskState::Failed, reason::EXECUTOR_REGISTRATION_TIMEOUT, &message);
            self.end(&key, status, fresh);
        }
    }

    fn key_of(&self, container: &str) -> Option<TaskRef> {
        self.tasks.iter().find(|(_, task)| task.container == container).map(|(key, _)| key.clone())
    }

    /// An executor is here: for the first time, or again.
    pub(super) fn subscribed(&mut self, container: String) -> Vec<Action> {
        self.missing.remove(&container);
        let task = self.key_of(&container).and_then(|key| {
            let tells_killing =
                self.frameworks.get(&key.framework_id).is_some_and(|f| f.can(FrameworkCapability::TaskKillingState));
            Some((self.tasks.get_mut(&key)?, tells_killing))
        });
        let message = match task {
            Some((task, tells_killing)) if task.stage == Stage::Registering && !task.forgotten => {
                task.stage = Stage::Running;
                self.dirty = true;
                ToExecutor::Launch { task: Box::new(task.info.clone()), tells_killing }
            }
            Some((task, _)) if task.stage == Stage::Running && !task.forgotten => match task.killed {
                // The agent may have ended before it could pass the kill on.
                Some(policy) => ToExecutor::Kill { policy },
                None => return Vec::new(),
            },
            // Nobody wants its task any more.
            _ => ToExecutor::Shutdown,
        };
        vec![Action::Tell(container, message)]
    }

    pub(super) fn updated(
        &mut self,
        container: String,
        number: u64,
        mut status: TaskStatus,
        fresh: &mut dyn Fresh,
    ) -> Vec<Action> {
        let kept = vec![Action::Tell(container.clone(), ToExecutor::Acknowledged { number })];
        let Some(key) = self.key_of(&container) else {
            return kept;
        };
        let Some(task) = self.tasks.get_mut(&key).filter(|task| task.heard < number && task.stage != Stage::Ended)
        else {
            return kept;
        };
        task.heard = number;
        self.dirty = true;
        let ended = status.state.is_terminal();
        if task.draining && (ended || status.state == TaskState::Killing) {
            status.reason = Some(reason::AGENT_DRAINING.to_owned());
        }
        self.complete(&container, &mut status);
        if ended {
            self.end(&key, status, fresh);
        } else {
            self.emit(&key, status, fresh);
        }
        kept
    }

    /// The executor of a container is gone; if that was too early, its container is left behind.
    pub(super) fn executor_gone(&mut self, container: &str, why: &str, fresh: &mut dyn Fresh) -> Vec<Action> {
        self.missing.remove(container);
        let Some(key) = self.key_of(container) else {
            // Its end was acknowledged already, or it is of a task that never began.
            return vec![Action::RemoveLater(container.to_owned())];
        };
        if self.tasks.get(&key).is_some_and(|task| task.stage == Stage::Ended) {
            return vec![Action::RemoveLater(container.to_owned())];
        }
        let status = of_agent(&key, TaskState::Failed, reason::EXECUTOR_TERMINATED, why);
        self.end(&key, status, fresh);
        if self.settings.kill_orphans { vec![Action::Remove(container.to_owned())] } else { Vec::new() }
    }

    pub(super) fn end(&mut self, key: &TaskRef, status: TaskStatus, fresh: &mut dyn Fresh) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        task.stage = Stage::Ended;
        self.dirty = true;
        if task.forgotten {
            self.drop_task(key);
        } else {
            self.emit(key, status, fresh);
        }
    }

    /// Adds what only the agent knows. Without an address of its own the container has the agent's: only TASK_RUNNING tells more.
    fn complete(&self, container: &str, status: &mut TaskStatus) {
        let own = status.container_status.get_or_insert_default();
        own.container_id = Some(ContainerId::new(container));
        if own.network_infos.is_empty() {
            let address = self.settings.agent.ip.to_string();
            let address = IpAddress { protocol: Some("IPv4".to_owned()), ip_address: Some(address) };
            own.network_infos = vec![NetworkInfo { ip_addresses: vec![address], ..NetworkInfo::default() }];
        }
    }

    /// Queues an update; it is sent as soon as its turn comes.
    pub(super) fn emit(&mut self, key: &TaskRef, mut status: TaskStatus, fresh: &mut dyn Fresh) {
        status.agent_id.clone_from(&self.id);
        status.executor_id = Some(ExecutorId::new(key.task_id.value.clone()));
        status.timestamp.get_or_insert_with(|| fresh.wall_s());
        status.uuid = Some(fresh.update());
        self.dirty = true;
        if let Some(task) = self.tasks.get_mut(key) {
            task.note(&status);
            if task.forgotten {
                return;
            }
        }
        self.queues.entry(key.clone()).or_default().push(status);
    }
}

/// A status of the agent's own, not of an executor.
fn of_agent(key: &TaskRef, state: TaskState, reason: &str, message: &str) -> TaskStatus {
    TaskStatus {
        source: Some(StatusSource::Agent),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..TaskStatus::new(key.task_id.clone(), state)
    }
}

/// The state as this framework may be told it.
pub(super) fn lost_as(state: TaskState, framework: Option<&FrameworkInfo>) -> TaskState {
    if framework.is_some_and(|f| f.can(FrameworkCapability::PartitionAware)) {
        state
    } else {
        state.without_partition_awareness()
    }
}

//! A task's life: launch, kill, what its container does, and the updates that come of it.

use super::task::{Stage, Task};
use super::{Action, Agent, Fresh, Progress};
use crate::agent::protocol::TaskRef;
use crate::clock::Millis;
use crate::mesos::types::{
    ContainerId, ContainerStatus, ExecutorId, FrameworkCapability, FrameworkInfo, IpAddress, KillPolicy, NetworkInfo,
    StatusSource, TaskInfo, TaskState, TaskStatus, reason,
};

impl Agent {
    pub(super) fn run_task(&mut self, framework: FrameworkInfo, info: TaskInfo, fresh: &mut dyn Fresh) -> Vec<Action> {
        let Some(framework_id) = framework.id.clone() else {
            return Vec::new();
        };
        let key = TaskRef { framework_id: framework_id.clone(), task_id: info.task_id.clone() };
        if self.shutdown_at.is_some() || self.tasks.contains_key(&key) {
            return Vec::new();
        }
        self.frameworks.insert(framework_id, framework);
        self.tasks.insert(key.clone(), Task::new(info, fresh.container()));
        self.dirty = true;
        vec![Action::Prepare(key)]
    }

    pub(super) fn kill(&mut self, key: &TaskRef, policy: Option<KillPolicy>, fresh: &mut dyn Fresh) -> Vec<Action> {
        let framework = self.frameworks.get(&key.framework_id);
        let tells_killing = framework.is_some_and(|f| f.can(FrameworkCapability::TaskKillingState));
        let agent = |state, reason: &str, message: &str| TaskStatus {
            source: Some(StatusSource::Agent),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..TaskStatus::new(key.task_id.clone(), state)
        };
        let Some(task) = self.tasks.get_mut(key) else {
            if !self.queues.contains_key(key) {
                let state = lost_as(TaskState::Dropped, framework);
                let status = agent(state, reason::EXECUTOR_TERMINATED, "Cannot find executor");
                self.emit(key, status, fresh);
            }
            return Vec::new();
        };
        let first = !std::mem::replace(&mut task.killed, true);
        task.grace = task.grace_of(policy, self.settings.grace);
        self.dirty = true;
        let stop = vec![Action::Stop(key.clone(), task.grace)];
        match task.stage {
            Stage::Ended => return Vec::new(),
            Stage::Preparing => {
                task.stage = Stage::Ended;
                let message = "Killed before its container was started";
                let status = agent(TaskState::Killed, reason::TASK_KILLED_DURING_LAUNCH, message);
                self.emit(key, status, fresh);
                return Vec::new();
            }
            Stage::Starting | Stage::Running => {}
        }
        let runs = task.stage == Stage::Running;
        if first && tells_killing {
            self.tell(key, TaskState::Killing, None, fresh);
        }
        if runs { stop } else { Vec::new() }
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
            task.killed = true;
            task.grace = task.grace_of(None, self.settings.grace);
            match task.stage {
                Stage::Running => actions.push(Action::Stop(key, task.grace)),
                // Stopped as soon as it has started.
                Stage::Starting => {}
                Stage::Preparing | Stage::Ended => self.drop_task(&key),
            }
        }
        self.dirty = true;
        actions
    }

    pub(super) fn shutdown(&mut self, now: Millis) -> Vec<Action> {
        self.shutdown_at = Some(now);
        self.id = None;
        self.forget(|_| true)
    }

    pub(super) fn progress(&mut self, key: &TaskRef, progress: Progress, fresh: &mut dyn Fresh) -> Vec<Action> {
        let Some(task) = self.tasks.get_mut(key) else {
            return Vec::new();
        };
        match (progress, task.stage) {
            (Progress::Prepared, Stage::Preparing) => {
                task.stage = Stage::Starting;
                self.tell(key, TaskState::Starting, None, fresh);
                return vec![Action::Run(key.clone())];
            }
            (Progress::Unavailable(why), Stage::Preparing) => {
                let status = TaskStatus {
                    source: Some(StatusSource::Agent),
                    reason: Some(reason::CONTAINER_LAUNCH_FAILED.to_owned()),
                    message: Some(format!("Failed to launch container: {why}")),
                    ..TaskStatus::new(key.task_id.clone(), TaskState::Failed)
                };
                self.end(key, status, fresh);
            }
            (Progress::Refused(why), Stage::Starting) => {
                let message = format!("Failed to create docker run options: {why}");
                let status = self.executor_status(key, TaskState::Failed, Some(message));
                self.end(key, status, fresh);
            }
            (Progress::Started { inspect, address }, Stage::Starting) => {
                task.stage = Stage::Running;
                self.dirty = true;
                if task.killed {
                    return vec![Action::Stop(key.clone(), task.grace)];
                }
                let status = self.running(key, inspect, address);
                self.emit(key, status, fresh);
            }
            (Progress::Exited(code), Stage::Starting | Stage::Running) => {
                let state = match code {
                    _ if task.killed => TaskState::Killed,
                    0 => TaskState::Finished,
                    _ => TaskState::Failed,
                };
                let message = format!("Container exited with status {code}");
                let status = self.executor_status(key, state, Some(message));
                self.end(key, status, fresh);
            }
            // A task that was killed in between, or a container reported twice.
            _ => {}
        }
        Vec::new()
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

    fn running(&self, key: &TaskRef, inspect: String, address: Option<String>) -> TaskStatus {
        let mut status = self.executor_status(key, TaskState::Running, None);
        status.data = Some(inspect);
        let own = self.tasks.get(key).and_then(|task| task.info.container.as_ref()?.network_infos.first());
        if let (Some(address), Some(container)) = (address, &mut status.container_status) {
            container.network_infos =
                vec![NetworkInfo { ip_addresses: vec![ipv4(address)], ..own.cloned().unwrap_or_default() }];
        }
        status
    }

    fn tell(&mut self, key: &TaskRef, state: TaskState, message: Option<String>, fresh: &mut dyn Fresh) {
        let status = self.executor_status(key, state, message);
        self.emit(key, status, fresh);
    }

    /// A status as Mesos's docker executor makes it. Without an address of its own the container has the agent's: only TASK_RUNNING tells more.
    fn executor_status(&self, key: &TaskRef, state: TaskState, message: Option<String>) -> TaskStatus {
        let container = self.tasks.get(key).map(|task| ContainerId::new(task.container.clone()));
        TaskStatus {
            message,
            source: Some(StatusSource::Executor),
            executor_id: Some(ExecutorId::new(key.task_id.value.clone())),
            container_status: Some(ContainerStatus {
                container_id: container,
                network_infos: vec![NetworkInfo {
                    ip_addresses: vec![ipv4(self.settings.agent.ip.to_string())],
                    ..NetworkInfo::default()
                }],
            }),
            ..TaskStatus::new(key.task_id.clone(), state)
        }
    }

    /// Queues an update; it is sent as soon as its turn comes.
    pub(super) fn emit(&mut self, key: &TaskRef, mut status: TaskStatus, fresh: &mut dyn Fresh) {
        status.agent_id.clone_from(&self.id);
        status.executor_id.get_or_insert_with(|| ExecutorId::new(key.task_id.value.clone()));
        status.timestamp = Some(fresh.wall_s());
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

/// The state as this framework may be told it.
pub(super) fn lost_as(state: TaskState, framework: Option<&FrameworkInfo>) -> TaskState {
    if framework.is_some_and(|f| f.can(FrameworkCapability::PartitionAware)) {
        state
    } else {
        state.without_partition_awareness()
    }
}

fn ipv4(address: String) -> IpAddress {
    IpAddress { protocol: Some("IPv4".to_owned()), ip_address: Some(address) }
}

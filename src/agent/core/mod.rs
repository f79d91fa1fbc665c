//! The agent's decisions: registration, tasks, status updates. Pure; the shell feeds it events and carries out its actions.
//!
//! Life of a task here (what the framework is told in capitals; from STARTING on it is the [executor](super::executor) that says so):
//! ```text
//! RunTask ─► Preparing ─► Registering ─► Running: STARTING ─► RUNNING ─► (KILLING) ─► FINISHED | FAILED | KILLED
//!               │              │            └ its executor is gone: FAILED
//!               │              └ killed: KILLED; no executor in time: FAILED
//!               └ no image, or not in time: FAILED
//! ```
//! Each update waits in its task's [`queue`] until the framework acknowledged the one before. Everything that the framework or an
//! executor may rely on is written ([`Action::Persist`]) before it is said or done.

mod life;
pub mod link;
pub mod queue;
mod recovery;
pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::executor::protocol::{FromExecutor, ToExecutor};
use super::protocol::{AgentTask, FromAgent, Register, RegisterAgent, TaskRef, ToAgent};
use crate::clock::Millis;
use crate::mesos::types::{AgentId, FrameworkId, FrameworkInfo, StatusSource, TaskState, TaskStatus, reason};
use link::{ANSWER_MAX, Link};
use queue::Queue;
use task::{Stage, Task};

use life::lost_as;
pub use recovery::Checkpoint;

/// After the master's order to shut down, the agent waits this long for its containers before it ends anyway.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);

/// What the agent is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What it registers with; the id comes from the checkpoint.
    pub agent: RegisterAgent,
    /// Whether the master is a given one, not whoever is elected.
    pub fixed_master: bool,
    /// First back-off of the registration.
    pub backoff: Duration,
    /// First retry of an unacknowledged update.
    pub retry: Duration,
    /// How long a task may take until its executor subscribes, its image's pull included.
    pub registration: Duration,
    /// How long a restarted agent waits for its executors.
    pub reregistration: Duration,
    /// Whether it runs DOCKER tasks; no other ones are run at all.
    pub docker: bool,
    /// Whether containers that nobody runs are removed at once.
    pub kill_orphans: bool,
}

/// What a core can't make itself: fresh ids, chance, the time of day.
pub trait Fresh {
    /// A new container's id, a uuid.
    fn container(&mut self) -> String;
    /// A new update's uuid, base64 of its 16 bytes.
    fn update(&mut self) -> String;
    /// A random number in 0..1.
    fn fraction(&mut self) -> f64;
    /// Seconds since 1970.
    fn wall_s(&self) -> f64;
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The detector's answer: the leading master's `host:port`.
    Leader(Option<String>),
    /// The connection of this attempt can't be made, or is lost.
    Lost {
        /// Which attempt.
        attempt: u64,
    },
    /// A message on the connection of this attempt.
    FromMaster {
        /// Which attempt.
        attempt: u64,
        /// The message.
        message: Box<ToAgent>,
    },
    /// The agent starts: its first event.
    Begin,
    /// The containers that existed on this machine at that time: id → runs.
    Containers(BTreeMap<String, bool>),
    /// A task's image is here, or why not.
    Prepared(TaskRef, Result<(), String>),
    /// The executor of this container says something.
    Executor(String, FromExecutor),
    /// The executor of this container is gone, or can't be started.
    ExecutorGone(String),
    /// The operator wants the agent to leave its master.
    Unregister,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write [`Agent::checkpoint`].
    Persist,
    /// Drop the connection, if there is one.
    Disconnect,
    /// Subscribe to this master.
    Connect {
        /// Named in everything that comes of it.
        attempt: u64,
        /// `host:port`.
        leader: String,
        /// What to subscribe with.
        register: Box<Register>,
    },
    /// Send on the current connection.
    Send(FromAgent),
    /// Get the image; answer Prepared.
    Prepare(TaskRef),
    /// Start the task's executor; it subscribes, or is gone.
    StartExecutor(TaskRef),
    /// Send to the executor of this container.
    Tell(String, ToExecutor),
    /// Remove a container that nobody runs, now.
    Remove(String),
    /// Remove a container that has ended, when nobody will look at it any more.
    RemoveLater(String),
    /// End the program.
    Exit,
}

/// The agent.
#[derive(Debug, Clone)]
pub struct Agent {
    settings: Settings,
    id: Option<AgentId>,
    link: Link,
    attempt: u64,
    frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
    tasks: BTreeMap<TaskRef, Task>,
    queues: BTreeMap<TaskRef, Queue>,
    /// Until when the executors of these tasks have to subscribe.
    registering: BTreeMap<TaskRef, Millis>,
    /// Containers whose executors haven't come back since the agent was started.
    missing: BTreeSet<String>,
    /// Until then an agent with executors doesn't register, as in Mesos: it tells the master of every task that is alive at once.
    missing_until: Option<Millis>,
    shutdown_at: Option<Millis>,
    dirty: bool,
}

impl Agent {
    /// When the next [`Event::Tick`] is due, if time alone changes anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let updates = self.queues.values().filter_map(Queue::deadline);
        updates
            .filter(|_| self.link.is_registered())
            .chain(self.link.deadline().filter(|_| self.may_register() || self.link.is_registered()))
            .chain(self.shutdown_at.map(|at| at + SHUTDOWN_MAX))
            .chain(self.missing_until)
            .chain(self.registering.values().copied())
            .min()
    }

    /// The agent's id, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<&AgentId> {
        self.id.as_ref()
    }

    /// Where the registration stands.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// A task and its framework.
    #[must_use]
    pub fn task(&self, key: &TaskRef) -> Option<(&Task, Option<&FrameworkInfo>)> {
        let task = self.tasks.get(key)?;
        Some((task, self.frameworks.get(&key.framework_id)))
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = (&TaskRef, &Task)> {
        self.tasks.iter()
    }

    /// Takes an event.
    pub fn on(&mut self, now: Millis, event: Event, fresh: &mut dyn Fresh) -> Vec<Action> {
        let mut actions = match event {
            Event::Tick => Vec::new(),
            Event::Leader(leader) => self.leader(now, leader, fresh),
            Event::Lost { attempt } if attempt == self.attempt => self.lost(now, fresh),
            Event::FromMaster { attempt, message } if attempt == self.attempt => self.message(now, *message, fresh),
            Event::Lost { .. } | Event::FromMaster { .. } => Vec::new(),
            Event::Begin => self.begin(now, fresh),
            Event::Containers(containers) => self.orphans(&containers),
            Event::Prepared(key, found) => self.prepared(key, found, fresh),
            Event::Executor(container, FromExecutor::Subscribe { .. }) => self.subscribed(container),
            Event::Executor(container, FromExecutor::Update { number, status }) => {
                self.updated(container, number, *status, fresh)
            }
            Event::ExecutorGone(container) => self.executor_gone(&container, "Container terminated", fresh),
            Event::Unregister => self.unregister(now),
        };
        self.give_up_registering(now, fresh);
        actions.extend(self.time(now, fresh));
        actions.extend(self.updates(now));
        if std::mem::take(&mut self.dirty) {
            actions.insert(0, Action::Persist);
        }
        actions
    }

    fn leader(&mut self, now: Millis, leader: Option<String>, fresh: &mut dyn Fresh) -> Vec<Action> {
        if self.link.leader() == leader.as_deref() {
            return Vec::new();
        }
        self.attempt += 1;
        self.link = match leader {
            Some(leader) => Link::to(leader, now, self.settings.backoff, fresh.fraction()),
            None => Link::Leaderless,
        };
        vec![Action::Disconnect]
    }

    fn lost(&mut self, now: Millis, fresh: &mut dyn Fresh) -> Vec<Action> {
        self.attempt += 1;
        self.link = self.link.again(now, self.settings.backoff, fresh.fraction(), self.settings.fixed_master);
        vec![Action::Disconnect]
    }

    fn time(&mut self, now: Millis, fresh: &mut dyn Fresh) -> Vec<Action> {
        let live = self.tasks.values().any(|task| task.stage != Stage::Ended);
        // An agent that has unregistered waits for the master to end the connection.
        let done = !live && !self.link.is_registered();
        if let Some(at) = self.shutdown_at
            && (done || now.since(at) >= SHUTDOWN_MAX)
        {
            return vec![Action::Exit];
        }
        if self.missing_until.is_some_and(|until| until <= now) {
            return self.give_up_missing(fresh);
        }
        match &self.link {
            Link::Waiting { leader, at, tries } if *at <= now && self.may_register() => {
                let (leader, tries) = (leader.clone(), *tries);
                self.attempt += 1;
                self.link = Link::Connecting { leader: leader.clone(), until: now + ANSWER_MAX, tries };
                vec![Action::Connect { attempt: self.attempt, leader, register: Box::new(self.register()) }]
            }
            Link::Connecting { until, .. } | Link::Registered { until, .. } if *until <= now => self.lost(now, fresh),
            _ => Vec::new(),
        }
    }

    fn may_register(&self) -> bool {
        self.shutdown_at.is_none() && self.missing_until.is_none()
    }

    fn register(&self) -> Register {
        let tasks = self.tasks.iter().filter(|(_, task)| !task.forgotten);
        Register {
            agent_info: RegisterAgent { id: self.id.clone(), ..self.settings.agent.clone() },
            tasks: tasks
                .map(|(key, task)| {
                    let (status_update_state, status_update_uuid) =
                        self.queues.get(key).map(Queue::current).unwrap_or_default();
                    AgentTask {
                        framework_id: key.framework_id.clone(),
                        info: task.info.clone(),
                        latest_state: task.state,
                        status_update_state,
                        status_update_uuid,
                        statuses: task.statuses.clone(),
                    }
                })
                .collect(),
            frameworks: self.frameworks.values().cloned().collect(),
        }
    }

    fn message(&mut self, now: Millis, message: ToAgent, fresh: &mut dyn Fresh) -> Vec<Action> {
        // Only pings tell that the master counts on this agent.
        if let (Link::Registered { until, patience, .. }, ToAgent::Ping) = (&mut self.link, &message) {
            *until = now + *patience;
        }
        match message {
            ToAgent::Registered {
                agent_id, master_hostname, ping_timeout_ms, reconcile, reconcile_frameworks, ..
            } => {
                self.registered(now, agent_id, master_hostname, ping_timeout_ms);
                self.reconcile(reconcile, &reconcile_frameworks, fresh);
            }
            ToAgent::Ping => return vec![Action::Send(FromAgent::Pong)],
            ToAgent::RunTask { framework, task } => return self.run_task(now, *framework, *task, fresh),
            ToAgent::KillTask { framework_id, task_id, kill_policy, draining } => {
                return self.kill(&TaskRef { framework_id, task_id }, kill_policy, draining, fresh);
            }
            ToAgent::AckUpdate { framework_id, task_id, uuid } => {
                self.acknowledge(&TaskRef { framework_id, task_id }, &uuid);
            }
            ToAgent::ShutdownFramework { framework_id } => {
                return self.forget(|key| key.framework_id == framework_id);
            }
            ToAgent::UpdateFramework { framework } => self.update_framework(*framework),
            ToAgent::Shutdown { .. } => {
                // The master ends the connection; with the same id the agent is told the same at every later start.
                self.link = Link::Leaderless;
                return self.shutdown(now);
            }
        }
        Vec::new()
    }

    fn registered(&mut self, now: Millis, id: AgentId, master_hostname: String, ping_timeout_ms: u64) {
        let patience = Duration::from_millis(ping_timeout_ms);
        self.link = Link::Registered {
            leader: self.link.leader().unwrap_or_default().to_owned(),
            master_hostname,
            until: now + patience,
            patience,
        };
        if self.id.as_ref() != Some(&id) {
            self.id = Some(id);
            self.dirty = true;
        }
        self.queues.values_mut().for_each(Queue::resume);
    }

    /// Tasks that the master believes to be here and that never arrived.
    fn reconcile(&mut self, tasks: Vec<TaskRef>, frameworks: &[FrameworkInfo], fresh: &mut dyn Fresh) {
        for key in tasks {
            if self.tasks.contains_key(&key) {
                continue;
            }
            let framework = frameworks.iter().find(|f| f.id.as_ref() == Some(&key.framework_id));
            let status = TaskStatus {
                message: Some("Task is unknown to the agent".to_owned()),
                source: Some(StatusSource::Agent),
                reason: Some(reason::RECONCILIATION.to_owned()),
                ..TaskStatus::new(key.task_id.clone(), lost_as(TaskState::Dropped, framework))
            };
            self.emit(&key, status, fresh);
        }
    }

    fn update_framework(&mut self, framework: FrameworkInfo) {
        let Some(id) = framework.id.clone() else {
            return;
        };
        for (key, queue) in &mut self.queues {
            if key.framework_id == id {
                queue.resume();
            }
        }
        if let Some(known) = self.frameworks.get_mut(&id) {
            *known = framework;
            self.dirty = true;
        }
    }

    fn updates(&mut self, now: Millis) -> Vec<Action> {
        if !self.link.is_registered() {
            return Vec::new();
        }
        let (tasks, retry) = (&self.tasks, self.settings.retry);
        self.queues
            .iter_mut()
            .filter_map(|(key, queue)| {
                let status = queue.take_due(now, retry)?;
                Some(Action::Send(FromAgent::StatusUpdate {
                    framework_id: key.framework_id.clone(),
                    latest_state: tasks.get(key).map_or(status.state, |task| task.state),
                    status: Box::new(status),
                }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;

//! The agent's decisions: registration, tasks, status updates. Pure; the shell feeds it events and carries out its actions.
//!
//! Life of a task here (what the framework is told in capitals):
//! ```text
//! RunTask ─► Preparing ─► STARTING ─► RUNNING ─► (KILLING) ─► FINISHED | FAILED | KILLED
//!               │ no image: FAILED       │ can't be made: FAILED
//!               └ killed: KILLED
//! ```
//! Each update waits in its task's [`queue`] until the framework acknowledged the one before. Everything that the framework may rely on is
//! written ([`Action::Persist`]) before it is said or done.

mod life;
pub mod link;
pub mod queue;
mod recovery;
pub mod task;

use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Grace of a kill without a policy.
    pub grace: Duration,
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
    /// The containers that exist on this machine after a restart of the agent: id → runs.
    Recovered(BTreeMap<String, bool>),
    /// What became of a task's container.
    Container(TaskRef, Progress),
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Its image is here.
    Prepared,
    /// Its image isn't here and can't be had.
    Unavailable(String),
    /// It can't be made as the task describes it.
    Refused(String),
    /// It runs.
    Started {
        /// Base64 of `docker inspect`'s JSON array.
        inspect: String,
        /// Its address on the task's network, if it has one of its own.
        address: Option<String>,
    },
    /// It ended with this status; 125 if the engine couldn't start it.
    Exited(i64),
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
    /// Get the image; answer Prepared or Unavailable.
    Prepare(TaskRef),
    /// Make and start the container; answer Started and Exited, or Refused.
    Run(TaskRef),
    /// The container was there before the agent: answer as for [`Action::Run`], without making it.
    Watch(TaskRef),
    /// Stop the container: TERM, and KILL after the grace.
    Stop(TaskRef, Duration),
    /// Remove a container that belongs to no task.
    RemoveOrphan(String),
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
            .chain(self.link.deadline())
            .chain(self.shutdown_at.map(|at| at + SHUTDOWN_MAX))
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
            Event::Recovered(containers) => self.recovered(&containers, fresh),
            Event::Container(key, progress) => self.progress(&key, progress, fresh),
        };
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
        if let Some(at) = self.shutdown_at
            && (!live || now.since(at) >= SHUTDOWN_MAX)
        {
            return vec![Action::Exit];
        }
        match &self.link {
            Link::Waiting { leader, at, tries } if *at <= now && self.shutdown_at.is_none() => {
                let (leader, tries) = (leader.clone(), *tries);
                self.attempt += 1;
                self.link = Link::Connecting { leader: leader.clone(), until: now + ANSWER_MAX, tries };
                vec![Action::Connect { attempt: self.attempt, leader, register: Box::new(self.register()) }]
            }
            Link::Connecting { until, .. } | Link::Registered { until, .. } if *until <= now => self.lost(now, fresh),
            _ => Vec::new(),
        }
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
        if let Link::Registered { until, patience, .. } = &mut self.link {
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
            ToAgent::RunTask { framework, task } => return self.run_task(*framework, *task, fresh),
            ToAgent::KillTask { framework_id, task_id, kill_policy } => {
                return self.kill(&TaskRef { framework_id, task_id }, kill_policy, fresh);
            }
            ToAgent::AckUpdate { framework_id, task_id, uuid } => {
                self.acknowledge(&TaskRef { framework_id, task_id }, &uuid);
            }
            ToAgent::ShutdownFramework { framework_id } => {
                return self.forget(|key| key.framework_id == framework_id);
            }
            ToAgent::UpdateFramework { framework } => self.update_framework(*framework),
            ToAgent::Shutdown { .. } => return self.shutdown(now),
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

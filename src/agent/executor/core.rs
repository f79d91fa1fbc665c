//! The executor's decisions: one task from launch to end, and the way back to an agent that was restarted. Pure.
//!
//! ```text
//! Idle ─► Starting ─► Running ─► Ended ─► Exit once the agent keeps every update
//!            │  └ the engine can't run it ─► Failing, for as long as Mesos waits for `docker inspect` ─► Ended
//!            └ the task's options don't fit together ─► Ended
//! ```
//! A kill that comes before the container runs is carried out once it does, as in Mesos: RUNNING, KILLING, KILLED.

use std::collections::VecDeque;
use std::time::Duration;

use super::protocol::{FromExecutor, ToExecutor};
use crate::clock::Millis;
use crate::mesos::types::{
    ContainerStatus, IpAddress, KillPolicy, NetworkInfo, StatusSource, TaskId, TaskInfo, TaskState, TaskStatus, reason,
};

/// Mesos's docker executor asks for this long what became of a container that `docker run` couldn't start.
const INSPECT_MAX: Duration = Duration::from_secs(5);
/// A shutdown leaves the executor this much of the agent's patience for its own end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The status of a container that the engine couldn't make or start (as of `docker run`).
const CANNOT_RUN: i64 = 125;

/// What the executor is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its container's id.
    pub container: String,
    /// Grace of a kill without a policy; bound of a shutdown.
    pub grace: Duration,
    /// How long it waits for its agent to come back; none: it ends with the agent (its framework doesn't checkpoint).
    pub recovery: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// There is a new connection to the agent.
    Connected,
    /// The agent is gone.
    AgentLost,
    /// The agent says something.
    Agent(ToExecutor),
    /// What became of the container.
    Container(Progress),
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The task's options don't fit together.
    Refused(String),
    /// The engine can't make or start it.
    CannotRun,
    /// It runs.
    Started {
        /// Base64 of `docker inspect`'s JSON array.
        inspect: String,
        /// Its address on the task's network, if it has one of its own.
        address: Option<String>,
    },
    /// It ended with this status.
    Exited(i64),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send on the current connection, if there is one.
    Send(FromExecutor),
    /// Make and start the container; answer with its progress.
    Run(Box<TaskInfo>),
    /// Stop the container: TERM, and KILL after the grace.
    Stop(Duration),
    /// End the program, well or not.
    Exit(Result<(), &'static str>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Idle,
    Starting,
    Failing { until: Millis },
    Running,
    Ended,
}

/// Who wants the task to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The framework, or the agent's end.
    Kill,
    /// Its `max_completion_time`.
    Overdue,
}

/// The executor of one task.
#[derive(Debug)]
pub struct Executor {
    settings: Settings,
    task: Option<Box<TaskInfo>>,
    tells_killing: bool,
    stage: Stage,
    killed: Option<(Cause, Duration)>,
    overdue_at: Option<Millis>,
    /// Updates that the agent doesn't keep yet.
    unacknowledged: VecDeque<(u64, TaskStatus)>,
    updates: u64,
    lost_at: Option<Millis>,
    actions: Vec<Action>,
}

impl Executor {
    /// An executor that isn't connected yet.
    #[must_use]
    pub fn new(settings: Settings, now: Millis) -> Self {
        Self {
            settings,
            task: None,
            tells_killing: false,
            stage: Stage::Idle,
            killed: None,
            overdue_at: None,
            unacknowledged: VecDeque::new(),
            updates: 0,
            lost_at: Some(now),
            actions: Vec::new(),
        }
    }

    /// When the next [`Event::Tick`] is due, if time alone changes anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let failing = match self.stage {
            Stage::Failing { until } => Some(until),
            _ => None,
        };
        let patience = self.lost_at.zip(self.settings.recovery).map(|(at, recovery)| at + recovery);
        [failing, patience, self.overdue_at].into_iter().flatten().min()
    }

    /// Takes an event; `wall_s` is the time of day for statuses.
    pub fn on(&mut self, now: Millis, wall_s: f64, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Connected => self.connected(),
            Event::AgentLost => self.agent_lost(now, wall_s),
            Event::Agent(message) => self.message(now, wall_s, message),
            Event::Container(progress) => self.progress(now, wall_s, progress),
        }
        self.time(now, wall_s);
        std::mem::take(&mut self.actions)
    }

    fn connected(&mut self) {
        self.lost_at = None;
        self.actions.push(Action::Send(FromExecutor::Subscribe { container: self.settings.container.clone() }));
        let again = self.unacknowledged.iter();
        self.actions.extend(again.map(|(number, status)| update(*number, status)));
    }

    fn agent_lost(&mut self, now: Millis, wall_s: f64) {
        let news = self.lost_at.is_none() || self.stage == Stage::Idle;
        self.lost_at.get_or_insert(now);
        if news && self.settings.recovery.is_none() {
            self.shutdown(wall_s);
        }
    }

    fn message(&mut self, now: Millis, wall_s: f64, message: ToExecutor) {
        match message {
            ToExecutor::Launch { task, tells_killing } => {
                if self.stage != Stage::Idle {
                    return;
                }
                self.stage = Stage::Starting;
                self.tells_killing = tells_killing;
                let time = task.max_completion_time.and_then(|time| u64::try_from(time.nanoseconds).ok());
                self.overdue_at = time.map(|time| now + Duration::from_nanos(time));
                self.task = Some(task.clone());
                self.tell(wall_s, TaskState::Starting, None);
                self.actions.push(Action::Run(task));
            }
            ToExecutor::Kill { policy } => {
                let grace = self.grace(policy);
                self.kill(wall_s, Cause::Kill, grace);
            }
            ToExecutor::Shutdown => self.shutdown(wall_s),
            ToExecutor::Acknowledged { number } => {
                while self.unacknowledged.front().is_some_and(|(first, _)| *first <= number) {
                    self.unacknowledged.pop_front();
                }
                self.acknowledged();
            }
        }
    }

    fn acknowledged(&mut self) {
        if !self.unacknowledged.is_empty() {
            return;
        }
        if self.stage == Stage::Ended {
            self.actions.push(Action::Exit(Ok(())));
        } else if self.stage == Stage::Running && self.task.as_ref().is_some_and(|task| task.check.is_some()) {
            // Mesos's docker executor aborts at this point; its container goes on.
            self.actions.push(Action::Exit(Err("a docker executor can't carry out general checks")));
        }
    }

    /// Grace of a kill: its own policy, else the task's, else the agent's.
    fn grace(&self, policy: Option<KillPolicy>) -> Duration {
        policy
            .and_then(|policy| policy.grace_period)
            .or_else(|| self.task.as_ref()?.kill_policy?.grace_period)
            .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
            .map_or(self.settings.grace, Duration::from_nanos)
    }

    fn kill(&mut self, wall_s: f64, cause: Cause, grace: Duration) {
        let first = self.killed.is_none();
        let cause = self.killed.map_or(cause, |(before, _)| before);
        self.killed = Some((cause, grace));
        if self.stage != Stage::Running {
            return;
        }
        if first {
            self.tell_killing(wall_s, cause);
        }
        self.actions.push(Action::Stop(grace));
    }

    fn tell_killing(&mut self, wall_s: f64, cause: Cause) {
        if cause == Cause::Kill && self.tells_killing {
            self.tell(wall_s, TaskState::Killing, None);
        }
    }

    fn shutdown(&mut self, wall_s: f64) {
        match self.stage {
            Stage::Idle => self.actions.push(Action::Exit(Ok(()))),
            Stage::Ended => self.exit_unheard(),
            _ => self.kill(wall_s, Cause::Kill, self.settings.grace.saturating_sub(LAST_WORDS)),
        }
    }

    /// Ends if nobody will ever acknowledge what is left to say.
    fn exit_unheard(&mut self) {
        if self.lost_at.is_some() && self.settings.recovery.is_none() {
            self.actions.push(Action::Exit(Ok(())));
        }
    }

    fn progress(&mut self, now: Millis, wall_s: f64, progress: Progress) {
        match (progress, self.stage) {
            (Progress::Refused(why), Stage::Starting) => {
                let message = format!("Failed to create docker run options: {why}");
                self.end(wall_s, TaskState::Failed, None, message);
            }
            (Progress::CannotRun, Stage::Starting) => self.stage = Stage::Failing { until: now + INSPECT_MAX },
            (Progress::Started { inspect, address }, Stage::Starting) => {
                self.stage = Stage::Running;
                self.tell(wall_s, TaskState::Running, Some((inspect, address)));
                if let Some((cause, grace)) = self.killed {
                    self.tell_killing(wall_s, cause);
                    self.actions.push(Action::Stop(grace));
                }
            }
            (Progress::Exited(code), Stage::Starting | Stage::Running) => self.exited(wall_s, code),
            // A container reported twice.
            _ => {}
        }
    }

    fn exited(&mut self, wall_s: f64, code: i64) {
        let (state, why) = match (self.killed, code) {
            (Some((Cause::Kill, _)), _) => (TaskState::Killed, None),
            (Some((Cause::Overdue, _)), _) => (TaskState::Failed, Some(reason::MAX_COMPLETION_TIME_REACHED)),
            (None, 0) => (TaskState::Finished, None),
            (None, _) => (TaskState::Failed, None),
        };
        self.end(wall_s, state, why, format!("Container exited with status {code}"));
    }

    fn end(&mut self, wall_s: f64, state: TaskState, reason: Option<&str>, message: String) {
        self.stage = Stage::Ended;
        self.overdue_at = None;
        let status = TaskStatus {
            message: Some(message),
            reason: reason.map(str::to_owned),
            ..TaskStatus::new(self.task_id(), state)
        };
        self.push(wall_s, status);
        self.exit_unheard();
    }

    fn time(&mut self, now: Millis, wall_s: f64) {
        if let Stage::Failing { until } = self.stage
            && until <= now
        {
            self.exited(wall_s, CANNOT_RUN);
        }
        if self.overdue_at.is_some_and(|at| at <= now) {
            self.overdue_at = None;
            let grace = self.grace(None);
            self.kill(wall_s, Cause::Overdue, grace);
        }
        let patience = self.lost_at.zip(self.settings.recovery);
        if patience.is_some_and(|(at, recovery)| at + recovery <= now) {
            // From here on there is no agent to wait for.
            self.settings.recovery = None;
            self.shutdown(wall_s);
        }
    }

    /// A state that isn't the last; RUNNING with what the engine says of the container.
    fn tell(&mut self, wall_s: f64, state: TaskState, container: Option<(String, Option<String>)>) {
        let mut status = TaskStatus::new(self.task_id(), state);
        if let Some((inspect, address)) = container {
            status.data = Some(inspect);
            status.container_status = address.map(|address| self.at(address));
        }
        self.push(wall_s, status);
    }

    fn push(&mut self, wall_s: f64, mut status: TaskStatus) {
        status.source = Some(StatusSource::Executor);
        status.timestamp = Some(wall_s);
        self.updates += 1;
        self.actions.push(update(self.updates, &status));
        self.unacknowledged.push_back((self.updates, status));
    }

    /// The task's own network, with the container's address.
    fn at(&self, address: String) -> ContainerStatus {
        let own = self.task.as_ref().and_then(|task| task.container.as_ref()?.network_infos.first());
        let address = IpAddress { protocol: Some("IPv4".to_owned()), ip_address: Some(address) };
        let network = NetworkInfo { ip_addresses: vec![address], ..own.cloned().unwrap_or_default() };
        ContainerStatus { network_infos: vec![network], ..ContainerStatus::default() }
    }

    fn task_id(&self) -> TaskId {
        self.task.as_ref().map(|task| task.task_id.clone()).unwrap_or_default()
    }
}

fn update(number: u64, status: &TaskStatus) -> Action {
    Action::Send(FromExecutor::Update { number, status: Box::new(status.clone()) })
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

//! Which part to start, stop or signal when. Pure; the shell carries out its actions.
//!
//! Life of a part:
//! ```text
//! Waiting ─(dependencies ready)─► Up ─(sign of readiness)─► Up, ready
//!    ▲                             │ ended
//!    └──(restart delay is over)── Delayed          a step that ended well is Done for good
//! ```
//! A dependency that ends later doesn't stop what needed it; but what ends meanwhile waits for it. A held part isn't started.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A part that doesn't end on SIGTERM gets SIGKILL after this: dockerd gives its containers less when it is told to.
pub const STOP_MAX: Duration = Duration::from_secs(4);
/// After this the supervisor ends whatever still runs: below the 10 s that Docker gives a container to stop.
pub const STOP_ALL_MAX: Duration = Duration::from_secs(8);

/// What the core knows of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Parts that must be ready before it starts.
    pub after: Vec<String>,
    /// True for a step: it ends by itself, and if well, is done.
    pub step: bool,
    /// Delay before it starts again.
    pub restart_delay: Duration,
}

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waits for its dependencies, or is held.
    Waiting,
    /// Runs.
    Up,
    /// Runs and is ready.
    Ready,
    /// Ended; starts again after its delay.
    Delayed,
    /// A step that has done its work.
    Done,
}

/// A part's state as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The part.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// True when it is kept down.
    pub held: bool,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub last_end: Option<String>,
}

/// Signals the supervisor sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

impl From<Signal> for nix::sys::signal::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Term => Self::SIGTERM,
            Signal::Kill => Self::SIGKILL,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The part's process runs.
    Started {
        /// The part.
        part: String,
        /// Its process; none for a step.
        pid: Option<u32>,
    },
    /// The part showed its sign of readiness.
    Ready {
        /// The part.
        part: String,
    },
    /// The part ended, or couldn't be started.
    Ended {
        /// The part.
        part: String,
        /// Whether it succeeded (decides for steps only).
        well: bool,
        /// How, for people.
        how: String,
    },
    /// Keep the part down from now on.
    Hold {
        /// The part.
        part: String,
        /// Sent to it if it runs.
        signal: Option<Signal>,
    },
    /// Let the part run again, at once.
    Release {
        /// The part.
        part: String,
    },
    /// Stop everything.
    Terminate,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the part; answer with [`Event::Started`] and, in time, [`Event::Ready`] and [`Event::Ended`].
    Start(String),
    /// Send a signal to the part's process.
    Signal(String, Signal),
    /// Everything is down, or time is up: end.
    Exit,
}

#[derive(Debug, Clone)]
struct Part {
    spec: Spec,
    phase: Phase,
    held: bool,
    pid: Option<u32>,
    starts: u32,
    last_end: Option<String>,
    start_at: Millis,
    termed_at: Option<Millis>,
    killed: bool,
}

/// All parts of one machine.
#[derive(Debug, Clone)]
pub struct Supervisor {
    parts: BTreeMap<String, Part>,
    terminated_at: Option<Millis>,
    exited: bool,
}

impl Supervisor {
    /// Nothing runs yet. A dependency that isn't among the parts doesn't count.
    #[must_use]
    pub fn new(specs: Vec<Spec>) -> Self {
        let direct: BTreeMap<String, Vec<String>> =
            specs.iter().map(|spec| (spec.name.clone(), spec.after.clone())).collect();
        let parts = specs
            .into_iter()
            .map(|mut spec| {
                spec.after = all_before(&spec.name, &direct);
                (spec.name.clone(), Part::new(spec))
            })
            .collect();
        Self { parts, terminated_at: None, exited: false }
    }

    /// Every part's state, by name.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.parts.values().map(Part::status).collect()
    }

    /// When the next [`Event::Tick`] is due, if time alone changes anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let parts = self.parts.values();
        match self.terminated_at {
            None => parts.filter(|part| part.phase == Phase::Delayed && !part.held).map(|part| part.start_at).min(),
            Some(at) => parts
                .filter_map(|part| part.termed_at.filter(|_| !part.killed))
                .map(|termed| termed + STOP_MAX)
                .chain([at + STOP_ALL_MAX])
                .min(),
        }
    }

    /// Takes an event.
    pub fn on(&mut self, now: Millis, event: Event) -> Vec<Action> {
        let mut actions = self.take(now, event);
        if self.terminated_at.is_some() {
            actions.extend(self.stop(now));
        } else {
            actions.extend(self.start(now));
        }
        actions
    }

    fn take(&mut self, now: Millis, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Started { part, pid } => self.with(&part, |part| part.pid = pid),
            Event::Ready { part } => self.with(&part, |part| {
                if part.phase == Phase::Up {
                    part.phase = Phase::Ready;
                }
            }),
            Event::Ended { part, well, how } => self.with(&part, |part| part.end(now, well, how)),
            Event::Hold { part, signal } => {
                self.with(&part, |part| part.held = true);
                let runs = self.parts.get(&part).is_some_and(Part::runs);
                return signal.filter(|_| runs).map(|signal| Action::Signal(part, signal)).into_iter().collect();
            }
            Event::Release { part } => self.with(&part, |part| {
                part.held = false;
                part.start_at = now;
            }),
            Event::Terminate => self.terminated_at = self.terminated_at.or(Some(now)),
        }
        Vec::new()
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Part)) {
        if let Some(part) = self.parts.get_mut(name) {
            change(part);
        }
    }

    fn start(&mut self, now: Millis) -> Vec<Action> {
        let ready: Vec<String> = self
            .parts
            .values()
            .filter(|part| matches!(part.phase, Phase::Ready | Phase::Done))
            .map(|part| part.spec.name.clone())
            .collect();
        self.parts
            .values_mut()
            .filter(|part| part.may_start(now) && part.spec.after.iter().all(|a| ready.contains(a)))
            .map(|part| {
                part.phase = Phase::Up;
                part.starts += 1;
                Action::Start(part.spec.name.clone())
            })
            .collect()
    }

    /// Reverse order: a part is told to stop when nothing that needs it runs any more.
    fn stop(&mut self, now: Millis) -> Vec<Action> {
        let since = self.terminated_at.map_or(Duration::ZERO, |at| now.since(at));
        if self.exited {
            return Vec::new();
        }
        if since >= STOP_ALL_MAX || !self.parts.values().any(Part::runs) {
            self.exited = true;
            return vec![Action::Exit];
        }
        let needed: Vec<String> =
            self.parts.values().filter(|part| part.runs()).flat_map(|part| part.spec.after.clone()).collect();
        let mut actions = Vec::new();
        for part in self.parts.values_mut().filter(|part| part.runs()) {
            let name = &part.spec.name;
            match part.termed_at {
                None if !needed.contains(name) => {
                    part.termed_at = Some(now);
                    actions.push(Action::Signal(name.clone(), Signal::Term));
                }
                Some(at) if !part.killed && now.since(at) >= STOP_MAX => {
                    part.killed = true;
                    actions.push(Action::Signal(name.clone(), Signal::Kill));
                }
                _ => {}
            }
        }
        actions
    }
}

impl Part {
    fn new(spec: Spec) -> Self {
        Self {
            spec,
            phase: Phase::Waiting,
            held: false,
            pid: None,
            starts: 0,
            last_end: None,
            start_at: Millis::default(),
            termed_at: None,
            killed: false,
        }
    }

    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Up | Phase::Ready)
    }

    fn may_start(&self, now: Millis) -> bool {
        !self.held
            && match self.phase {
                Phase::Waiting => true,
                Phase::Delayed => self.start_at <= now,
                Phase::Up | Phase::Ready | Phase::Done => false,
            }
    }

    fn end(&mut self, now: Millis, well: bool, how: String) {
        self.pid = None;
        self.last_end = Some(how);
        self.start_at = now + self.spec.restart_delay;
        self.phase = if self.spec.step && well { Phase::Done } else { Phase::Delayed };
    }

    fn status(&self) -> Status {
        Status {
            name: self.spec.name.clone(),
            phase: self.phase,
            held: self.held,
            pid: self.pid,
            restarts: self.starts.saturating_sub(1),
            last_end: self.last_end.clone(),
        }
    }
}

/// Everything that a part needs, directly or through others: a step that is done still stands between two processes.
fn all_before(name: &str, direct: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = direct.get(name).cloned().unwrap_or_default();
    while let Some(next) = open.pop() {
        if let Some(before) = direct.get(&next)
            && !all.contains(&next)
        {
            open.extend(before.iter().cloned());
            all.push(next);
        }
    }
    all
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

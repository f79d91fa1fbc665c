//! What a scenario's ticks add up to: broken intervals, recoveries, coverage of the evidence, expected events, the verdict. Pure.
//!
//! ```text
//! observation ─► truth ─► judgements ─┐
//! faults ─────────────────────────────┴─► History::tick ─► … ─► History::outcome ─► ScenarioReport
//! ```
//! The runner begins a history when the cluster is steady, feeds it every tick, and asks it on the way whether a fault's
//! failover has converged, whether an event was seen, and how long everything has held.

mod breaks;
pub mod coverage;
mod event;
pub mod ledger;
mod meanwhile;
mod outcome;
pub mod raft;
mod recovery;
mod role;
mod starved;
mod tick;
pub mod volume;
pub mod witness;

#[cfg(test)]
mod history_tests;

use std::collections::BTreeMap;
use std::time::Duration;

use stormbed::clock::Millis;

use crate::fault::Fault;
use crate::invariant::own::Own;
use crate::invariant::truth::Truth;
use crate::invariant::{Judgement, Judgements, Name, Tier};
use crate::observe::observation::{Observation, Shape};
use crate::report::{Finding, Outcome};
use crate::scenario::RecoveryClock;
use crate::scenario::event::Event;
use crate::scenario::plan::Plan;
use ledger::LedgerOutcome;
use recovery::{Window, recovery};
use tick::{Key, Tick, keys};
use volume::VolumeOutcome;
use witness::Witness;

/// At the end of a scenario everything holds, without excuses, for this long.
pub const FINAL_HOLD_MS: u64 = 10_000;
/// And it gets this long after the last fault to reach that: replacing a node (20 s) plus the hold plus a full deep sweep.
pub const FINAL_WITHIN_MS: u64 = 60_000;

/// The ticks of one scenario.
#[derive(Debug, Clone)]
pub struct History {
    shape: Shape,
    began: Millis,
    ticks: Vec<Tick>,
    /// Safety that was seen broken before this history began.
    earlier: Vec<Finding>,
    /// Invariants of the user's own that what excuses a built-in one excuses too.
    alike: BTreeMap<Name, Name>,
}

/// Whether everything (that can) holds again on a fault's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Convergence {
    /// Everything has held long enough since this moment (end of the first tick of the holding run).
    Converged(Millis),
    /// Not yet: what lacks, by invariant.
    Waiting(Vec<(Name, String)>),
}

/// What the runner knows at the end of a scenario besides the ticks.
#[derive(Debug, Clone)]
pub struct Ending<'a> {
    /// What ran.
    pub plan: &'a Plan,
    /// All faults, in the order of the plan; those that were not reached are `Planned`.
    pub faults: &'a [Fault],
    /// The ledger's account.
    pub ledger: &'a LedgerOutcome,
    /// The volume after the last write; none if it didn't come to that.
    pub volume: Option<&'a VolumeOutcome>,
    /// What was written through etcd leaders that a fault had cut off, and what became of it.
    pub witnesses: &'a [Witness],
    /// When the scenario ended.
    pub ended: Millis,
    /// Failures of the harness or of parts that didn't start, one sentence each: BROKEN.
    pub harness_errors: Vec<String>,
    /// The user ended it.
    pub interrupted: bool,
    /// Why it ended early, if its own `abort-if` said so.
    pub aborted: Option<&'a str>,
}

impl History {
    /// Begins when the cluster is steady.
    #[must_use]
    pub fn begin(shape: Shape, now: Millis) -> Self {
        Self { shape, began: now, ticks: vec![], earlier: vec![], alike: BTreeMap::new() }
    }

    /// With invariants of the user's own.
    #[must_use]
    pub fn with_own(self, all: &[Own]) -> Self {
        let alike = all.iter().filter_map(|own| Some((own.name, own.like?))).collect();
        Self { alike, ..self }
    }

    /// A new history from now on: what was before isn't judged, except for safety, which nothing excuses.
    #[must_use]
    pub fn begin_anew(&self, now: Millis) -> Self {
        let earlier = self.earlier.iter().cloned().chain(breaks::breaches(&self.ticks)).collect();
        let (shape, alike) = (self.shape.clone(), self.alike.clone());
        Self { shape, began: now, ticks: vec![], earlier, alike }
    }

    /// Takes one tick. `faults` are all faults of the scenario so far, in the state that they had when the tick began.
    pub fn tick(&mut self, seen: &Observation, truth: &Truth, judged: &Judgements, faults: &[Fault]) {
        self.ticks.push(Tick { alike: self.alike.clone(), ..Tick::of(seen, truth, judged, faults) });
    }

    /// Whether the fast tier has converged on this clock of the fault; the deep sweep is to be started then.
    #[must_use]
    pub fn fast_converged(&self, fault: &Fault, clock: RecoveryClock) -> Convergence {
        self.convergence(fault, clock, |key| key.1 == Tier::Fast)
    }

    /// Whether both tiers have converged on this clock of the fault.
    #[must_use]
    pub fn converged(&self, fault: &Fault, clock: RecoveryClock) -> Convergence {
        self.convergence(fault, clock, |_| true)
    }

    fn convergence(&self, fault: &Fault, clock: RecoveryClock, wanted: impl Fn(Key) -> bool) -> Convergence {
        // What comes after the last tick isn't known yet, so the only cut is the fault's own undo.
        let Some(window) = Window::of(fault, clock, std::slice::from_ref(fault)) else {
            return Convergence::Waiting(vec![]);
        };
        let mut since = window.start;
        let mut waiting = vec![];
        let keys = keys(&self.ticks);
        for key in keys.iter().copied().filter(|key| wanted(*key)) {
            let found = recovery(&self.ticks, fault, clock, window, key);
            match (found.outcome, found.seconds) {
                (Outcome::NeverBroken, _) => {}
                (Outcome::Recovered, Some(seconds)) => {
                    since = since.max(window.start + std::time::Duration::from_secs_f64(seconds));
                }
                _ => waiting.push((key.0, self.lack(key))),
            }
        }
        if waiting.is_empty() && !keys.is_empty() {
            Convergence::Converged(since)
        } else {
            Convergence::Waiting(waiting)
        }
    }

    fn lack(&self, key: Key) -> String {
        let last = self.ticks.last().map(Tick::lacking).unwrap_or_default();
        last.into_iter()
            .find(|(name, _)| *name == key.0)
            .map_or_else(|| "it holds, but not for long enough yet".to_owned(), |(_, why)| why)
    }

    /// When the event that the fault should cause was first seen (end of that tick).
    #[must_use]
    pub fn event_seen(&self, fault: &Fault, event: Event) -> Option<Millis> {
        event::seen(&self.ticks, fault, event, None)
    }

    /// How long everything has held to the last tick: all N slots are members, nothing settles, both tiers hold, no fault is held.
    /// The final judgement wants [`FINAL_HOLD_MS`].
    #[must_use]
    pub fn all_held_ms(&self) -> u64 {
        let well = |tick: &&Tick| {
            let truth = &tick.truth;
            !tick.held
                && !tick.parts.is_empty()
                && tick.breaches.is_empty()
                && tick.lacking().is_empty()
                && truth.settling.is_empty()
                && truth.members.len() == self.shape.addresses.len()
        };
        let first = self.ticks.iter().rev().take_while(well).last();
        match (first, self.ticks.last()) {
            (Some(first), Some(last)) => last.end.0.saturating_sub(first.end.0),
            _ => 0,
        }
    }

    /// How long this invariant has been broken to the last tick, and what showed it first. Ticks that tell nothing in between don't
    /// end it.
    #[must_use]
    pub fn broken_since(&self, name: Name) -> Option<(Duration, String)> {
        let keys = [(name, Tier::Fast), (name, Tier::Deep)];
        let mut first = None;
        for tick in self.ticks.iter().rev() {
            match keys.iter().find_map(|key| tick.broken(*key)) {
                Some(why) => first = Some((tick.begin, why)),
                None if keys.iter().any(|key| tick.holds(*key)) => break,
                None => {}
            }
        }
        let (from, why) = first?;
        Some((self.ticks.last()?.end.since(from), why.to_owned()))
    }

    /// What the last tick shows of every invariant: broken if one of its tiers is, else unknown if one is.
    #[must_use]
    pub fn judgements(&self) -> BTreeMap<Name, Judgement> {
        self.ticks.last().map(Tick::judgements).unwrap_or_default()
    }

    /// What doesn't hold in the last tick, for progress and messages.
    #[must_use]
    pub fn lacking(&self) -> Vec<(Name, String)> {
        self.ticks.last().map(Tick::lacking).unwrap_or_default()
    }
}

//! What a scenario's ticks add up to: broken intervals, recoveries, coverage of the evidence, expected events, the verdict. Pure.
//!
//! ```text
//! observation ─► truth ─► judgements ─┐
//! faults ─────────────────────────────┴─► History::tick ─► … ─► History::outcome ─► ScenarioReport
//! ```
//! The runner begins a history when the cluster is steady, feeds it every tick, and asks it on the way whether a fault's
//! failover has converged, whether an event was seen, and how long everything has held.

pub mod ledger;

use stormbed::clock::Millis;

use crate::fault::Fault;
use crate::invariant::truth::Truth;
use crate::invariant::{Judgements, Name};
use crate::observe::observation::{Observation, Shape};
use crate::report::ScenarioReport;
use crate::scenario::Clock;
use crate::scenario::event::Event;
use crate::scenario::plan::Plan;
use ledger::LedgerOutcome;

/// At the end of a scenario everything holds, without excuses, for this long.
pub const FINAL_HOLD_MS: u64 = 10_000;
/// And it gets this long after the last fault to reach that: replacing a node (20 s) plus the hold plus a full deep sweep.
pub const FINAL_WITHIN_MS: u64 = 60_000;

/// The ticks of one scenario.
#[derive(Debug, Clone)]
pub struct History {
    shape: Shape,
    began: Millis,
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
    /// When the scenario ended.
    pub ended: Millis,
    /// Failures of the harness or of parts that didn't start, one sentence each: BROKEN.
    pub harness_errors: Vec<String>,
    /// The user ended it.
    pub interrupted: bool,
}

impl History {
    /// Begins when the cluster is steady.
    #[must_use]
    pub fn begin(shape: Shape, now: Millis) -> Self {
        Self { shape, began: now }
    }

    /// Takes one tick. `faults` are all faults of the scenario so far, in the state that they had when the tick began.
    pub fn tick(
        &mut self,
        seen: &Observation,
        truth: &Truth,
        judged: &Judgements,
        faults: &[Fault],
    ) {
        let _ = (seen, truth, judged, faults, &self.shape);
    }

    /// Whether the fast tier has converged on this clock of the fault; the deep sweep is to be started then.
    #[must_use]
    pub fn fast_converged(&self, fault: &Fault, clock: Clock) -> Convergence {
        let _ = (fault, clock);
        Convergence::Waiting(Vec::new())
    }

    /// Whether both tiers have converged on this clock of the fault.
    #[must_use]
    pub fn converged(&self, fault: &Fault, clock: Clock) -> Convergence {
        let _ = (fault, clock);
        Convergence::Waiting(Vec::new())
    }

    /// When the event that the fault should cause was first seen (end of that tick).
    #[must_use]
    pub fn event_seen(&self, fault: &Fault, event: Event) -> Option<Millis> {
        let _ = (fault, event);
        None
    }

    /// How long everything has held to the last tick: all N slots are members, nothing settles, both tiers hold, no fault is held.
    /// The final judgement wants [`FINAL_HOLD_MS`].
    #[must_use]
    pub fn all_held_ms(&self) -> u64 {
        0
    }

    /// What doesn't hold in the last tick, for progress and messages.
    #[must_use]
    pub fn lacking(&self) -> Vec<(Name, String)> {
        Vec::new()
    }

    /// The scenario's report and verdict.
    #[must_use]
    pub fn outcome(&self, ending: &Ending<'_>) -> ScenarioReport {
        ScenarioReport {
            name: ending.plan.scenario.clone(),
            about: ending.plan.about.clone(),
            verdict: crate::report::Verdict::Invalid,
            why: Vec::new(),
            seed: ending.plan.seed,
            began: self.began,
            took_ms: 0,
            faults: Vec::new(),
            recoveries: Vec::new(),
            broken: Vec::new(),
            coverage: Vec::new(),
            unprovoked_leader_changes: 0,
            storm: None,
            judge: crate::report::JudgeReport::default(),
        }
    }
}

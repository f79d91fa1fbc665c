//! Plans: scenarios with everything drawn. A plan is what runs, and `plan.json` replays it.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::physics::is_held;
use super::{AbortIf, Act, Bound, Cluster, Meanwhile, Scenario, Step, Storm, StormFault, When};
use crate::fault::{Fault, FaultKind, Target, TargetClass};
use crate::invariant::own::Own;

/// A held fault without `for` is undone when the failover has converged, but at the latest after this time: a failover
/// that takes longer has failed, and what is down must come back to see the rest.
pub const HOLD_MAX_MS: u64 = 30_000;
/// A storm's faults without `for` are held this long: beyond every failover that needs no session to expire.
pub const STORM_HOLD_MS: u64 = 8_000;
/// A live role is waited for at most this long, unless `resolve-within` says otherwise: longer than an election of etcd or
/// ZooKeeper. (A master's takes a session of 10 s.)
pub const RESOLVE_WITHIN_MS: u64 = 5_000;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// The cluster it asks for.
    pub cluster: Cluster,
    /// The seed of every draw.
    pub seed: u64,
    /// What ends it early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abort_if: Vec<AbortIf>,
    /// Invariants of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invariants: Vec<Own>,
    /// In order.
    pub steps: Vec<PlannedStep>,
    /// Faults that hit these victims, by name, instead of whoever fits their target: those of a recorded run. An empty list
    /// stands for a fault that hit nobody.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
}

/// Names of victims, by fault.
pub type Pins = BTreeMap<String, Vec<String>>;

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// `s1`, `s2`, …; rounds of a step that is repeated `s2-1`, `s2-2`, …; faults that are made together `s3a`, `s3b`, …. A fault of
    /// the step has the same id, a storm's draws `s4.1`, `s4.2`, ….
    pub id: String,
    /// It begins while the previous step's fault is held; both are undone after this step has converged.
    pub with_previous: bool,
    /// Time to let pass before the act.
    pub wait_ms: u64,
    /// Its fault is made at the same moment as that of the step before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
    /// It begins at least this long after another step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The moment to wait for; a random phase is drawn already, and part of the wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How long somebody may take to hold the target's role, and the moment to come.
    #[serde(default = "resolve_within_ms")]
    pub resolve_within_ms: u64,
    /// What is done.
    pub act: PlannedAct,
    /// What must be seen to happen.
    pub expect: Vec<Event>,
    /// What must be seen of invariants while the fault is held.
    pub meanwhile: Vec<Meanwhile>,
    /// Bounds on recovery.
    pub recovered: Vec<Bound>,
}

/// Some time after another step began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The step.
    pub step: String,
    /// The time.
    pub ms: u64,
}

fn resolve_within_ms() -> u64 {
    RESOLVE_WITHIN_MS
}

impl PlannedStep {
    /// A step that does this at once, and of which nothing is asked.
    #[must_use]
    pub fn new(id: impl Into<String>, act: PlannedAct) -> Self {
        Self {
            id: id.into(),
            with_previous: false,
            wait_ms: 0,
            together: false,
            after: None,
            when: None,
            resolve_within_ms: RESOLVE_WITHIN_MS,
            act,
            expect: vec![],
            meanwhile: vec![],
            recovered: vec![],
        }
    }
}

/// What a step of a plan does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum PlannedAct {
    /// One fault.
    Fault {
        /// What.
        kind: FaultKind,
        /// Aim.
        target: Target,
        /// How long.
        hold: Hold,
    },
    /// Drawn faults.
    Storm {
        /// The storm lasts this long; it ends when its last hold is over.
        for_ms: u64,
        /// So many faults at most are in force or being healed at a time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u32>,
        /// It may take a quorum away.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_quorum_loss: bool,
        /// In order of `at_ms`.
        draws: Vec<Draw>,
    },
    /// Nothing: watch for this long.
    Watch {
        /// Time.
        for_ms: u64,
    },
}

/// How long a fault is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum Hold {
    /// Nothing is held and nothing is undone: the system heals it.
    Nothing,
    /// For this long after the injection.
    For {
        /// Time.
        ms: u64,
    },
    /// Until the failover has converged, at most [`HOLD_MAX_MS`].
    UntilConverged,
}

impl Hold {
    /// The hold of a fault with or without `for`.
    #[must_use]
    pub fn of(kind: FaultKind, target: Target, for_ms: Option<u64>) -> Self {
        match for_ms {
            _ if !is_held(kind, target.class) => Hold::Nothing,
            Some(ms) => Hold::For { ms },
            None => Hold::UntilConverged,
        }
    }
}

/// One fault of a storm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// `<step>.<number>`.
    pub id: String,
    /// Time from the storm's begin.
    pub at_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// How long; never [`Hold::UntilConverged`] in a storm.
    pub hold: Hold,
}

impl Plan {
    /// Draws everything that the scenario leaves open. The same scenario and seed give the same plan; a storm's own seed wins.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        let steps = scenario.steps.iter().zip(1u64..).flat_map(|(step, number)| planned(step, number, seed)).collect();
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            cluster: scenario.cluster.clone(),
            seed,
            abort_if: scenario.abort_if.clone(),
            invariants: scenario.invariants.clone(),
            steps,
            pins: Pins::new(),
        }
    }

    /// The faults that this plan makes, all still to come: a step's in its place, a storm's in the order of its draws.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.steps
            .iter()
            .flat_map(|step| match &step.act {
                PlannedAct::Fault { kind, target, .. } => {
                    vec![Fault::planned(&self.scenario, &step.id, *kind, *target)]
                }
                PlannedAct::Storm { draws, .. } => {
                    let fault = |draw: &Draw| Fault::planned(&self.scenario, &draw.id, draw.kind, draw.target);
                    draws.iter().map(fault).collect()
                }
                PlannedAct::Watch { .. } => vec![],
            })
            .collect()
    }

    /// The group of the step that makes this fault: a step and those that come `with = "previous"`. Its faults are held together.
    #[must_use]
    pub fn group_of(&self, fault: &str) -> &[PlannedStep] {
        let is_it = |step: &PlannedStep| self.step_of(fault).is_some_and(|its| its.id == step.id);
        let Some(at) = self.steps.iter().position(is_it) else {
            return &[];
        };
        let first = self.steps[..=at].iter().rposition(|step| !step.with_previous).unwrap_or(0);
        let later = self.steps[at + 1..].iter().take_while(|step| step.with_previous).count();
        &self.steps[first..=at + later]
    }

    /// The step that makes this fault.
    #[must_use]
    pub fn step_of(&self, fault: &str) -> Option<&PlannedStep> {
        let step = fault.split('.').next().unwrap_or(fault);
        self.steps.iter().find(|planned| planned.id == step)
    }
}

/// All rounds of a step.
fn planned(step: &Step, number: u64, seed: u64) -> Vec<PlannedStep> {
    let mut all: Vec<PlannedStep> = vec![];
    for round in 1..=step.repeat.max(1) {
        let id = if step.repeat > 1 { format!("s{number}-{round}") } else { format!("s{number}") };
        let after = all.last().zip(step.every_ms).map(|(before, ms)| After { step: first_of(&before.id), ms });
        let mut steps = once(step, &id, seed, number);
        if let Some(first) = steps.first_mut() {
            first.after = after;
        }
        all.extend(steps);
    }
    all
}

/// The first of the steps that are made together with this one.
fn first_of(id: &str) -> String {
    match id.strip_suffix(|c: char| c.is_ascii_lowercase()) {
        Some(step) => format!("{step}a"),
        None => id.to_owned(),
    }
}

/// One round of a step: one planned step, or one for each fault that is made together.
fn once(step: &Step, id: &str, seed: u64, number: u64) -> Vec<PlannedStep> {
    let acts = match &step.act {
        Act::Fault(act) => vec![(id.to_owned(), step, fault(act))],
        Act::Together(steps) => {
            let mut acts = vec![];
            for (letter, step) in ('a'..='z').zip(steps) {
                if let Act::Fault(act) = &step.act {
                    acts.push((format!("{id}{letter}"), step, fault(act)));
                }
            }
            acts
        }
        // Each storm draws from a stream of its own, so that a step more doesn't change the storms after it.
        Act::Storm(storm) => {
            let draws = draws(storm, id, storm.seed.unwrap_or(seed.wrapping_add(number)));
            let for_ms = storm.for_ms.unwrap_or_else(|| draws.last().map_or(0, |draw| draw.at_ms));
            let (at_most, allow_quorum_loss) = (storm.at_most, storm.allow_quorum_loss);
            vec![(id.to_owned(), step, PlannedAct::Storm { for_ms, at_most, allow_quorum_loss, draws })]
        }
        Act::Watch { for_ms } => vec![(id.to_owned(), step, PlannedAct::Watch { for_ms: *for_ms })],
    };
    let steps = acts.into_iter().enumerate().map(|(index, (id, asked, act))| PlannedStep {
        with_previous: step.with_previous || index > 0,
        together: index > 0,
        wait_ms: if index == 0 { step.wait_ms + phase_ms(step.when, &act, &id, seed) } else { 0 },
        when: step.when.filter(|when| *when != When::RandomPhase),
        resolve_within_ms: step.resolve_within_ms,
        expect: asked.expect.clone(),
        meanwhile: asked.meanwhile.clone(),
        recovered: asked.recovered.clone(),
        ..PlannedStep::new(id, act)
    });
    steps.collect()
}

fn fault(act: &super::FaultAct) -> PlannedAct {
    PlannedAct::Fault { kind: act.kind, target: act.target, hold: Hold::of(act.kind, act.target, act.for_ms) }
}

/// A random part of the interval of the target's heartbeat or lease: its own draw, by seed and step.
fn phase_ms(when: Option<When>, act: &PlannedAct, id: &str, seed: u64) -> u64 {
    let (Some(When::RandomPhase), PlannedAct::Fault { target, .. }) = (when, act) else {
        return 0;
    };
    let interval_ms = match target.class {
        // An agent is pinged each second.
        TargetClass::MesosAgent => 1_000,
        // A client of ZooKeeper speaks after a third of its session.
        TargetClass::MesosMaster | TargetClass::Framework => 3_333,
        // ZooKeeper's servers ping each other twice a tick.
        TargetClass::ZooKeeper => 250,
        // A node's registration is renewed within its lease.
        _ => 5_000,
    };
    let salt = id.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    ChaCha8Rng::seed_from_u64(seed.wrapping_add(salt)).random_range(0..interval_ms)
}

/// `ChaCha` is the same on every machine and in every version of its crate's line: a seed in a report stays good.
fn draws(storm: &Storm, step: &str, seed: u64) -> Vec<Draw> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let total: u32 = storm.faults.iter().map(|fault| fault.weight).sum();
    let mut drawn = vec![];
    let mut at_ms = 0;
    let count = match (storm.count, storm.for_ms) {
        (Some(count), _) => count as usize,
        (None, Some(_)) => usize::MAX,
        (None, None) => 0,
    };
    while total > 0 && drawn.len() < count {
        at_ms += rng.random_range(storm.every_min_ms.max(1)..=storm.every_max_ms.max(1));
        if storm.for_ms.is_some_and(|for_ms| at_ms > for_ms) {
            break;
        }
        let act = &weighted(&storm.faults, rng.random_range(0..total)).act;
        let hold = match Hold::of(act.kind, act.target, act.for_ms) {
            Hold::UntilConverged => Hold::For { ms: STORM_HOLD_MS },
            hold => hold,
        };
        drawn.push(Draw { id: format!("{step}.{}", drawn.len() + 1), at_ms, kind: act.kind, target: act.target, hold });
    }
    drawn
}

fn weighted(faults: &[StormFault], mut ticket: u32) -> &StormFault {
    for fault in faults {
        if ticket < fault.weight {
            return fault;
        }
        ticket -= fault.weight;
    }
    faults.last().expect("a ticket is drawn only when there are weights")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

//! Plans: scenarios with everything drawn. A plan is what runs, and `plan.json` replays it.

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::{Bound, Cluster, Scenario};
use crate::fault::{FaultKind, Target, TargetClass};

/// A held fault without `for` is undone when the failover has converged, but at the latest after this time: a failover
/// that takes longer has failed, and what is down must come back to see the rest.
pub const HOLD_MAX_MS: u64 = 30_000;
/// A storm's faults without `for` are held this long: beyond every failover that needs no session to expire.
pub const STORM_HOLD_MS: u64 = 8_000;
/// A live role is waited for at most this long: longer than any election in the topology (a master's takes a session of 10 s).
pub const RESOLVE_WITHIN_MS: u64 = 15_000;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// The cluster it asks for.
    pub cluster: Cluster,
    /// The seed of every draw.
    pub seed: u64,
    /// In order.
    pub steps: Vec<PlannedStep>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// `s1`, `s2`, …; a fault of the step has the same id, a storm's draws `s3.1`, `s3.2`, ….
    pub id: String,
    /// It begins while the previous step's fault is held; both are undone after this step has converged.
    pub with_previous: bool,
    /// Time to let pass before the act.
    pub wait_ms: u64,
    /// What is done.
    pub act: PlannedAct,
    /// What must be seen to happen.
    pub expect: Vec<Event>,
    /// Bounds on recovery.
    pub recovered: Vec<Bound>,
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
        match (kind, target.class, for_ms) {
            (FaultKind::Kill, TargetClass::Node, _) => Hold::Nothing,
            (_, _, Some(ms)) => Hold::For { ms },
            (_, _, None) => Hold::UntilConverged,
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
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            cluster: scenario.cluster.clone(),
            seed,
            steps: Vec::new(),
        }
    }
}

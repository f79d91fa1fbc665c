//! Scenario files, and the plans made from them.
//!
//! A file is read ([`read::read`]) into a [`Scenario`]: ordered steps that name live roles. A [`plan::Plan`] is the same with
//! everything drawn: the seed resolved, storms turned into explicit, timed draws. The same file and seed give the same plan.

pub mod diagnose;
pub mod duration;
pub mod event;
mod fields;
pub mod physics;
pub mod plan;
pub mod read;
mod read_step;
mod read_target;
#[cfg(test)]
mod read_tests;

use serde::{Deserialize, Serialize};

use crate::fault::{FaultKind, Target};
use crate::invariant::Name;
use event::Event;

/// A scenario file, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// The cluster it asks for.
    pub cluster: Cluster,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a scenario asks of the topology; what is absent may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// Number of nodes.
    pub nodes: Option<u32>,
    /// Host name prefix.
    pub prefix: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// It begins while the previous step's fault is held.
    pub with_previous: bool,
    /// Time to let pass before the step's act.
    pub wait_ms: u64,
    /// What is done.
    pub act: Act,
    /// What must be seen to happen, else the verdict is INVALID.
    pub expect: Vec<Event>,
    /// What must be seen of invariants while the fault is held.
    pub meanwhile: Vec<Meanwhile>,
    /// Bounds on recovery.
    pub recovered: Vec<Bound>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// One fault.
    Fault(FaultAct),
    /// Random faults for a while.
    Storm(Storm),
    /// Nothing: watch for this long.
    Watch {
        /// Time.
        for_ms: u64,
    },
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultAct {
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// `for`: how long it is held; none = until the failover has converged.
    pub for_ms: Option<u64>,
}

/// Random faults for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// Faults begin within this time.
    pub for_ms: u64,
    /// Least time between two faults.
    pub every_min_ms: u64,
    /// Greatest time between two faults.
    pub every_max_ms: u64,
    /// Seed; none = chosen when the plan is made.
    pub seed: Option<u64>,
    /// What may happen, with weights.
    pub faults: Vec<StormFault>,
}

/// A kind of fault in a storm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormFault {
    /// The fault.
    pub act: FaultAct,
    /// Its share among the storm's faults.
    pub weight: u32,
}

/// Which of the two clocks of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryClock {
    /// From the beginning of the injection, while the fault is held.
    Failover,
    /// From the beginning of the undo.
    Rejoin,
}

impl std::fmt::Display for RecoveryClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            RecoveryClock::Failover => "failover",
            RecoveryClock::Rejoin => "rejoin",
        })
    }
}

/// What must be seen of an invariant while a fault is held: `meanwhile = { jupyter = "holds" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meanwhile {
    /// The invariant.
    pub invariant: Name,
    /// What must be seen of it.
    pub state: Condition,
}

/// How an invariant does while a fault is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It holds all the time (but for the moments that are also forgiven without a fault).
    Holds,
    /// It is seen broken: the fault does to it what it should.
    Degraded,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Condition::Holds => "holds",
            Condition::Degraded => "degraded",
        })
    }
}

/// A bound on recovery: `recovered = { jupyter = "5s", all = "30s" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The invariant; none = `all` of them.
    pub invariant: Option<Name>,
    /// The clock; `failover` unless the file says `rejoin`.
    pub clock: RecoveryClock,
    /// It must hold again within this time.
    pub within_ms: u64,
}

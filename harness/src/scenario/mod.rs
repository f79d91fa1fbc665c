//! Scenario files, and the plans made from them.
//!
//! What a file may say stands in [`mod@file`]; it is read ([`read::read`]) into a [`Scenario`]: ordered steps that name live roles. A
//! [`plan::Plan`] is the same with everything drawn: the seed resolved, storms turned into explicit, timed draws. The same file and seed give the same plan.

pub mod duration;
pub mod event;
pub mod file;
#[cfg(test)]
mod mistakes_tests;
pub mod physics;
pub mod plan;
pub mod read;
mod read_fault;
mod read_invariant;
mod read_step;
mod read_storm;
mod read_target;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod schema_tests;
pub mod show;
pub mod values;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{FaultKind, Target};
use crate::invariant::Name;
use crate::invariant::own::Own;
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
    /// What ends it early.
    pub abort_if: Vec<AbortIf>,
    /// Invariants of the user's own.
    pub invariants: Vec<Own>,
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

impl Cluster {
    /// One topology can be both.
    #[must_use]
    pub fn fits(&self, other: &Cluster) -> bool {
        let same_nodes = self.nodes.is_none_or(|nodes| other.nodes.is_none_or(|others| nodes == others));
        let mine = self.prefix.as_ref();
        same_nodes && mine.is_none_or(|prefix| other.prefix.as_ref().is_none_or(|others| prefix == others))
    }
}

impl std::fmt::Display for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.nodes, &self.prefix) {
            (Some(nodes), Some(prefix)) => write!(f, "{nodes} nodes called {prefix}"),
            (Some(nodes), None) => write!(f, "{nodes} nodes"),
            (None, Some(prefix)) => write!(f, "nodes called {prefix}"),
            (None, None) => f.write_str("any"),
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// It begins while the previous step's fault is held.
    pub with_previous: bool,
    /// Time to let pass before the step's act.
    pub wait_ms: u64,
    /// How long somebody may take to hold the target's role.
    pub resolve_within_ms: u64,
    /// The moment to wait for.
    pub when: Option<When>,
    /// How often it is made.
    pub repeat: u32,
    /// Time between the beginnings of two rounds, if there are several.
    pub every_ms: Option<u64>,
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
    /// Several faults at the same moment, each with what is asked of it.
    Together(Vec<Step>),
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
    /// Faults begin within this time, if it is bounded by time.
    pub for_ms: Option<u64>,
    /// So many are drawn, if it is bounded by number.
    pub count: Option<u32>,
    /// So many faults at most are in force or being healed at a time.
    pub at_most: Option<u32>,
    /// It may take a quorum away.
    pub allow_quorum_loss: bool,
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

/// The moment at which a fault is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "value of 'when'")]
pub enum When {
    /// The part's cluster has no leader: etcd for nodes, hosts and agents; the masters; the schedulers; ZooKeeper.
    DuringElection,
    /// A slot isn't back yet, or the volume has something to heal.
    DuringHeal,
    /// A random part of the interval of the part's heartbeat or lease has passed.
    RandomPhase,
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            When::DuringElection => "during an election",
            When::DuringHeal => "during a heal",
            When::RandomPhase => "at a random phase",
        })
    }
}

/// An invariant that is broken for longer than this ends the scenario: `abort-if = { jupyter = "20s" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortIf {
    /// The invariant.
    pub invariant: Name,
    /// Broken for longer than this, excused or not.
    pub longer_than_ms: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "condition")]
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

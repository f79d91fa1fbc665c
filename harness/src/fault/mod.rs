//! Faults: what can be broken, on what, and where each fault is in its life.

pub mod effect;
pub mod inject;
pub mod journal;
pub mod life;

use std::fmt;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::config::{Incarnation, Slot};

use life::Life;

/// What is done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL, at once. What the system promises to heal is left to the system; everything else is started again at undo.
    Kill,
    /// Freeze all processes; undone by thawing them.
    Pause,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Kill => "kill",
            FaultKind::Pause => "pause",
        })
    }
}

/// A kind of part that can be a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetClass {
    /// A node container (one incarnation of a slot).
    Node,
    /// A Mesos master's container.
    MesosMaster,
    /// A ZooKeeper server's container.
    #[serde(rename = "zookeeper")]
    ZooKeeper,
}

impl fmt::Display for TargetClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetClass::Node => "node",
            TargetClass::MesosMaster => "mesos-master",
            TargetClass::ZooKeeper => "zookeeper",
        })
    }
}

/// A live role, resolved at the moment of injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The etcd leader, the leading master, the ZooKeeper leader.
    Leader,
    /// A member that doesn't lead (a standby master).
    Follower,
    /// Any member.
    Any,
    /// The node of this slot.
    Slot(Slot),
}

/// What a step aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Kind of part.
    pub class: TargetClass,
    /// Role among them.
    pub role: Role,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, role } = self;
        match (class, role) {
            (_, Role::Slot(slot)) => write!(f, "{class} slot {slot}"),
            (TargetClass::MesosMaster, Role::Follower) => write!(f, "{class} standby"),
            (_, Role::Leader) => write!(f, "{class} leader"),
            (_, Role::Follower) => write!(f, "{class} follower"),
            (_, Role::Any) => write!(f, "{class} any"),
        }
    }
}

/// The incarnation that a target resolved to. Injection is by container id, never by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Kind of part.
    pub class: TargetClass,
    /// Readable name: `slot 3` is `storm-s3`, a master `master-2`.
    pub name: String,
    /// Machine whose engine runs it: a host's name, or none for the outer engine.
    pub host: Option<String>,
    /// Full container id.
    pub container: String,
    /// The slot and incarnation, if it is a node.
    pub node: Option<(Slot, Incarnation)>,
    /// Its etcd member id (node) or znode/epoch in text, as known at resolution.
    pub member: Option<String>,
    /// The Raft term (etcd) or epoch (ZooKeeper) at resolution.
    pub term: Option<u64>,
    /// It held the leader's role at resolution.
    pub led: bool,
}

/// A fault on its way through its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Unique in a run: `<step>` or `<step>.<draw>` in a storm, e.g. `s2`, `s3.14`.
    pub id: String,
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// Hit.
    pub victim: Option<Victim>,
    /// Where it is in its life.
    pub life: Life,
}

impl Fault {
    /// A fault that is planned.
    #[must_use]
    pub fn planned(id: impl Into<String>, kind: FaultKind, target: Target) -> Self {
        Self { id: id.into(), kind, target, victim: None, life: Life::default() }
    }

    /// What the fault's excuses are counted from: its act began at this time.
    #[must_use]
    pub fn began(&self) -> Option<Millis> {
        self.life.inject_begin
    }
}

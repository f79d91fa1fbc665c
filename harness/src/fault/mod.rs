//! Faults: what can be broken, on what, and where each fault is in its life.
//!
//! # Layout
//! * One file per fault, each with what it comes to for a victim: [`kill`], [`stop`], [`restart`], [`pause`], [`isolate`],
//!   [`partition`], [`loss`], [`slow_link`], [`tamper`], [`blackout`], [`disk_full`], [`squeeze`],
//!   [`oom`]. [`peers`]: from whom;
//!   [`place`]: where each kind of part lives.
//! * [`inject`]: made and undone, over all victims; [`work`]: one act on one machine. [`effect`]: that it, or its end, is seen.
//! * [`life`]: the state machine that no fault escapes.
//! * [`lease`]: no fault outlives its deadline. [`journal`]: what is owed to the topology if this process dies; [`guard`] pays that
//!   then, and [`heal`] whatever is still owed later.
//! * [`words`], [`packets`] and [`whats`]: what scenario files call all of it.

pub mod blackout;
pub mod disk_full;
pub mod effect;
pub mod guard;
pub mod heal;
pub mod inject;
pub mod isolate;
pub mod journal;
pub mod kill;
pub mod lease;
pub mod life;
pub mod loss;
pub mod oom;
pub mod packets;
pub mod partition;
pub mod pause;
pub mod peers;
pub mod place;
pub mod restart;
pub mod slow_link;
pub mod squeeze;
pub mod stop;
pub mod tamper;
pub mod whats;
pub mod words;
pub mod work;

use std::fmt;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::config::{Incarnation, Slot};
use stormbed::outpost::cut::Way;
use stormbed::outpost::link::Link;
use stormbed::outpost::processes::ProcessView;

use crate::scenario::duration::format_ms;
use life::Life;
pub use partition::Split;
pub use peers::{PeerSet, Peers};

/// What is done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL, at once. What the system promises to heal is left to the system; everything else is started again at undo.
    Kill,
    /// SIGTERM, and time to end in order; otherwise as kill.
    Stop,
    /// SIGKILL, and an immediate start; nothing is held.
    Restart,
    /// Freeze all processes; undone by thawing them.
    Pause,
    /// Cut a part off; undone by removing the rules.
    Isolate {
        /// From whom.
        from: PeerSet,
        /// Which packets are dropped.
        #[serde(default = "both", skip_serializing_if = "is_both")]
        way: Way,
    },
    /// Drop a random share of packets; undone by removing the rules.
    Loss {
        /// Of what passes to and from these.
        from: PeerSet,
        /// Which packets.
        #[serde(default = "both", skip_serializing_if = "is_both")]
        way: Way,
        /// How many of a hundred.
        percent: u8,
    },
    /// Let packets arrive late; undone by removing the rules.
    SlowLink {
        /// Those of these peers.
        from: PeerSet,
        /// How late.
        link: Link,
    },
    /// Cut parts of one kind off from each other; undone likewise. Everything else still reaches them all.
    Partition {
        /// Who doesn't reach whom.
        #[serde(default, skip_serializing_if = "is_sides")]
        shape: Split,
    },
    /// Damage what a node keeps. Nothing is held: the system must heal it.
    Tamper {
        /// What is damaged.
        what: Damage,
    },
    /// The kernel ends the processes for want of memory. The system must bring them back.
    Oom,
    /// There is little of what a part lives on, or it is bad; undone by giving it back.
    Squeeze {
        /// Of what, and how much is left.
        what: Means,
    },
    /// The disk of a brick has no space left; undone by giving it back.
    DiskFull,
    /// SIGKILL to everything at once; undone by starting everything at once.
    Blackout,
}

/// What a part lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// Processor time.
    Cpu {
        /// A share of one core is left.
        percent: u8,
    },
    /// A disk that keeps what it is told to keep, in time.
    Disk {
        /// Each sync takes so much longer.
        delay_ms: u32,
    },
    /// A disk that keeps what it is told to keep, at all: every sync fails.
    Fsync,
}

/// What is damaged of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Its table of names.
    Hosts,
    /// The keys that may log in.
    AuthorizedKeys,
    /// Its registration.
    Lease,
    /// Its etcd member's data.
    EtcdData,
}

fn both() -> Way {
    Way::Both
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_both(way: &Way) -> bool {
    *way == Way::Both
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_sides(split: &Split) -> bool {
    *split == Split::Sides
}

impl FaultKind {
    /// What it hits has lost for good what it had: nothing but a majority of the others brings it back.
    #[must_use]
    pub fn loses_data(self) -> bool {
        self == Self::Tamper { what: Damage::EtcdData }
    }

    /// The victims and all others don't reach each other.
    pub const PARTITION: Self = Self::Partition { shape: Split::Sides };

    /// Cut off from these, both ways.
    #[must_use]
    pub fn isolate(from: Peers) -> Self {
        Self::Isolate { from: from.into(), way: Way::Both }
    }

    /// Its victims still speak with everyone, only badly: what that breaks is anybody's guess.
    #[must_use]
    pub fn lets_some_pass(self) -> bool {
        matches!(self, Self::Loss { .. } | Self::SlowLink { .. })
    }

    /// It keeps packets of its victims from passing as they should.
    #[must_use]
    pub fn is_of_network(self) -> bool {
        matches!(self, Self::Isolate { .. } | Self::Partition { .. }) || self.lets_some_pass()
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().word)?;
        match self {
            FaultKind::Loss { percent, .. } => write!(f, " of {percent}%")?,
            FaultKind::SlowLink { link, .. } => write!(f, " {link}")?,
            FaultKind::Partition { shape } if *shape != Split::Sides => write!(f, " in a {}", shape.row().word)?,
            _ => {}
        }
        if let Some(from) = self.from().filter(|from| *from != PeerSet::EVERYONE) {
            write!(f, " from {from}")?;
        }
        match self {
            FaultKind::Isolate { way, .. } | FaultKind::Loss { way, .. } if *way != Way::Both => {
                write!(f, " ({})", if *way == Way::In { "in" } else { "out" })
            }
            FaultKind::Tamper { .. } | FaultKind::Squeeze { .. } => {
                if let Some(row) = self.what() {
                    write!(f, " {}", row.word)?;
                }
                match self {
                    FaultKind::Squeeze { what: Means::Cpu { percent } } => write!(f, " to {percent}%"),
                    FaultKind::Squeeze { what: Means::Disk { delay_ms } } => {
                        write!(f, " by {}", format_ms(u64::from(*delay_ms)))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
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
    /// The Mesos agent's process on a host; everything else there goes on.
    MesosAgent,
    /// A ZooKeeper server's container.
    #[serde(rename = "zookeeper")]
    ZooKeeper,
    /// A scheduler's container.
    Framework,
    /// A whole machine: its engine, nodes, brick, agent and routes.
    Host,
    /// The etcd process of a node.
    Etcd,
    /// The sshd of a node.
    Sshd,
    /// The agent that is process 1 of a node.
    NodeAgent,
    /// The Jupyter server of a node.
    Jupyter,
    /// The process of a host's brick.
    Brick,
    /// The network plugin's process on a host.
    NetworkDriver,
    /// BIRD on a host.
    Bird,
    /// The proxy's process on the edge.
    Proxy,
    /// Every machine at once; as a victim, the edge's container.
    Topology,
}

impl fmt::Display for TargetClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().word)
    }
}

/// A live role, resolved at the moment of injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The etcd leader, the leading master, the ZooKeeper leader, the active scheduler.
    Leader,
    /// A member that doesn't lead (a standby master or scheduler).
    Follower,
    /// Any member.
    Any,
    /// Every one.
    All,
    /// As many as may be lost: less than half.
    Minority,
    /// The smallest number that is more than half.
    Majority,
    /// A minority with the leader in it.
    MinorityWithLeader,
    /// The node of this slot.
    Slot(Slot),
    /// The host of this number (from 1), or what runs there.
    Number(u8),
    /// The host that runs the etcd leader.
    OfLeader,
    /// A host that doesn't.
    NotOfLeader,
}

/// How many of those who hold a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// So many.
    Count(u16),
    /// This share of them, rounded up.
    Percent(u8),
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pick::Count(count) => write!(f, "{count}"),
            Pick::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// What a step aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Kind of part.
    pub class: TargetClass,
    /// Role among them.
    pub role: Role,
    /// How many; none = what the role itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<Pick>,
    /// Only those on the host of the previous step's (first) victim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

impl Target {
    /// Whoever holds this role, wherever.
    #[must_use]
    pub fn new(class: TargetClass, role: Role) -> Self {
        Self { class, role, pick: None, beside: false }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.role.word(self.class))?;
        if let Some(pick) = self.pick {
            write!(f, " ({pick})")?;
        }
        f.write_str(if self.beside { " on the previous victim's host" } else { "" })
    }
}

/// The incarnation that a target resolved to. Injection is by container id, never by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Kind of part.
    pub class: TargetClass,
    /// Readable name: `slot 3` is `storm-s3`, a master `master-2`, a part or program that of its machine or node.
    pub name: String,
    /// The host whose engine runs it; none for the outer engine.
    pub host: Option<String>,
    /// Full container id (of its machine or node, for a part or program).
    pub container: String,
    /// The slot and incarnation, if it is a node or a program of one.
    pub node: Option<(Slot, Incarnation)>,
    /// The process that is meant; of a container its process 1, if it was seen.
    pub process: Option<ProcessView>,
    /// Its etcd member id (node) or znode/epoch in text, as known at resolution.
    pub member: Option<String>,
    /// The Raft term (etcd) or epoch (ZooKeeper) at resolution.
    pub term: Option<u64>,
    /// It held the leader's role at resolution; a host or its agent: the etcd leader ran there.
    pub led: bool,
}

impl Victim {
    /// The host that it is, or that it lives on; none for what the outer engine runs.
    #[must_use]
    pub fn on_host(&self) -> Option<&str> {
        if self.class.is_by_host() { Some(&self.name) } else { self.host.as_deref() }
    }

    /// The process that is meant.
    ///
    /// # Errors
    /// If it wasn't seen.
    pub fn process(&self) -> Result<ProcessView, String> {
        self.process.ok_or_else(|| format!("the process of the {} of {} was not seen", self.class, self.name))
    }
}

/// A fault on its way through its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Unique in a scenario: `<step>` or `<step>.<draw>` in a storm, e.g. `s2`, `s3.14`.
    pub id: String,
    /// Unique in a run: `<scenario>/<id>`.
    pub name: String,
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// Hit: empty until the target is resolved. Whoever leads comes first.
    pub victims: Vec<Victim>,
    /// It left less than a quorum, with what was down before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub took_quorum: bool,
    /// Where it is in its life.
    pub life: Life,
}

impl Fault {
    /// A fault that is planned.
    #[must_use]
    pub fn planned(scenario: &str, id: &str, kind: FaultKind, target: Target) -> Self {
        let name = format!("{scenario}/{id}");
        Self { id: id.to_owned(), name, kind, target, victims: vec![], took_quorum: false, life: Life::default() }
    }

    /// What the fault's excuses are counted from: its act began at this time.
    #[must_use]
    pub fn began(&self) -> Option<Millis> {
        self.life.inject_begin
    }

    /// Some victim held the leader's role when it was chosen.
    #[must_use]
    pub fn led(&self) -> bool {
        self.victims.iter().any(|victim| victim.led)
    }

    /// The victims' names, for people.
    #[must_use]
    pub fn victims_named(&self) -> String {
        self.victims.iter().map(|victim| victim.name.as_str()).collect::<Vec<_>>().join(" + ")
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A part of the topology as a victim.
    pub fn part(class: TargetClass, name: &str, container: &str) -> Victim {
        Victim {
            class,
            name: name.into(),
            host: None,
            container: container.into(),
            node: None,
            process: None,
            member: None,
            term: None,
            led: false,
        }
    }

    /// A node as a victim.
    pub fn node(slot: Slot, incarnation: Incarnation, host: &str, container: &str) -> Victim {
        let name = format!("storm-s{slot}");
        let part = part(TargetClass::Node, &name, container);
        Victim { host: Some(host.into()), node: Some((slot, incarnation)), ..part }
    }
}

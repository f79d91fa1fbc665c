//! What must hold: pure functions of what was seen.
//!
//! One file per invariant, each with the bad observations that it rejects. An invariant sees a [`Look`]: one observation, the
//! ground truth drawn from it ([`truth`]), the shape of the cluster, and what held faults keep down. What a fault excuses
//! stands in [`excuse`]; how long things stayed broken is the business of [`crate::history`].

pub mod etcd;
mod evidence;
pub mod excuse;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hosts;
pub mod jupyter;
pub mod mesos;
pub mod network;
pub mod own;
pub mod ssh;
pub mod storage;
pub mod truth;
pub mod zookeeper;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stormbed::clock::Millis;
use stormbed::config::Slot;
use stormbed::outpost::protocol::ContainerView;

use crate::fault::{Fault, FaultKind, TargetClass};
use crate::observe::observation::{Observation, Probe, Shape};
use crate::scenario::physics::is_held;
use truth::Truth;

/// What an invariant says of one observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "judgement", content = "why", rename_all = "kebab-case")]
pub enum Judgement {
    /// It holds.
    Holds,
    /// It is broken, and this is what shows it.
    Broken(String),
    /// The evidence doesn't suffice to tell.
    Unknown(String),
}

/// The invariants' names, in the order of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Every member's /etc/hosts is right.
    Hosts,
    /// Every ordered pair logs in by name.
    Ssh,
    /// The leader, and nobody else, serves Jupyter.
    Jupyter,
    /// What one node writes all read; nothing acknowledged is lost.
    Storage,
    /// One leader, N healthy voting members.
    Etcd,
    /// One leading master on whom all agree; N tasks.
    Mesos,
    /// One leader, the rest followers.
    ZooKeeper,
    /// Addresses, reachability, BGP.
    Network,
    /// One of the user's own.
    Own(&'static str),
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::of(&name))
    }
}

impl Name {
    /// All that are built in.
    pub const ALL: [Name; 8] =
        [Name::Hosts, Name::Ssh, Name::Jupyter, Name::Storage, Name::Etcd, Name::Mesos, Name::ZooKeeper, Name::Network];

    /// As scenario files and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Name::Hosts => "hosts",
            Name::Ssh => "ssh",
            Name::Jupyter => "jupyter",
            Name::Storage => "storage",
            Name::Etcd => "etcd",
            Name::Mesos => "mesos",
            Name::ZooKeeper => "zookeeper",
            Name::Network => "network",
            Name::Own(name) => name,
        }
    }

    /// What it promises, in a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Name::Hosts => {
                "Every member's /etc/hosts names exactly the members, PREFIX-0 = the etcd leader, no gaps, right addresses."
            }
            Name::Ssh => {
                "Every ordered pair logs in by host name, keys only, and lands on the machine that the name means."
            }
            Name::Jupyter => {
                "Through the proxy: served by the etcd leader alone, with the token only, and a kernel runs code."
            }
            Name::Storage => "What one node writes under /shared every node reads; nothing acknowledged is lost.",
            Name::Etcd => "One leader, every slot's member votes and is healthy, no stale member.",
            Name::Mesos => "One leading master on which all agree, one active framework with its id, no slot twice.",
            Name::ZooKeeper => "One leader, the rest followers.",
            Name::Network => "Every node has its own address, routes and BGP sessions are right, every pair can talk.",
            Name::Own(_) => "One of a scenario's own.",
        }
    }

    /// The invariant of this name: a built-in one, or one of the user's own.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let built_in = Self::ALL.into_iter().find(|known| known.as_str() == name);
        built_in.unwrap_or_else(|| Self::Own(own::interned(name)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How often the evidence comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Probed in every tick.
    Fast,
    /// Newest results of slower sweeps.
    Deep,
}

/// What one tier's evidence says, and how old that evidence is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The judgement.
    pub judgement: Judgement,
    /// Earliest begin of the probes it rests on: a recovery counts only if this lies after the fault. None: no probe was used.
    pub from: Option<Millis>,
    /// Earliest end of those probes: how stale the evidence is.
    pub to: Option<Millis>,
}

/// What an invariant says of one look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Judged {
    /// From the fast tier; none if it has no evidence there (`ssh`, `storage`).
    pub fast: Option<Part>,
    /// From the deep tier; none if it has no evidence there.
    pub deep: Option<Part>,
    /// A safety clause that this look shows broken. Nothing excuses it once it lasts longer than its bound.
    pub breach: Option<Breach>,
    /// Evidence is missing that could show a safety clause broken: this look neither confirms nor ends a breach seen before.
    pub blind: bool,
}

impl Judged {
    /// The part of this tier.
    #[must_use]
    pub fn part(&self, tier: Tier) -> Option<&Part> {
        match tier {
            Tier::Fast => self.fast.as_ref(),
            Tier::Deep => self.deep.as_ref(),
        }
    }

    /// Both tiers in one: broken if one is, else unknown if one is.
    #[must_use]
    pub fn overall(&self) -> Judgement {
        let parts = || [&self.fast, &self.deep].into_iter().flatten();
        let pick = |wanted: fn(&Judgement) -> bool| {
            parts().map(|part| &part.judgement).find(|judgement| wanted(judgement)).cloned()
        };
        pick(|j| matches!(j, Judgement::Broken(_)))
            .or_else(|| pick(|j| matches!(j, Judgement::Unknown(_))))
            .unwrap_or(Judgement::Holds)
    }
}

/// A promise that no fault excuses, seen broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// What was seen.
    pub why: String,
    /// How long it may be seen without a gap; 0 = never.
    pub tolerated_ms: u64,
}

/// Judgements of one look by all invariants.
pub type Judgements = BTreeMap<Name, Judged>;

/// What held faults keep down: these parts can't do their share, and the others must hold without them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// Masters that a fault killed, froze or cut off.
    pub masters: BTreeSet<String>,
    /// ZooKeeper servers likewise.
    pub zookeepers: BTreeSet<String>,
    /// Schedulers likewise.
    pub frameworks: BTreeSet<String>,
    /// Hosts likewise.
    pub hosts: BTreeSet<String>,
    /// Hosts whose Mesos agent is kept down.
    pub agents: BTreeSet<String>,
    /// Hosts whose brick is kept down.
    pub bricks: BTreeSet<String>,
    /// Slots whose container is frozen or cut off from the others. (A killed node isn't held: the system brings it back.)
    pub slots: BTreeSet<Slot>,
}

impl Held {
    /// What these faults hold down now: begun, not undone, and of a kind that the testbed must undo.
    #[must_use]
    pub fn of(faults: &[Fault]) -> Self {
        let mut held = Self::default();
        for fault in faults.iter().filter(|fault| fault.life.in_force()) {
            for victim in &fault.victims {
                let names = match victim.class {
                    TargetClass::MesosMaster => &mut held.masters,
                    TargetClass::MesosAgent => &mut held.agents,
                    TargetClass::ZooKeeper => &mut held.zookeepers,
                    TargetClass::Framework => &mut held.frameworks,
                    TargetClass::Host => &mut held.hosts,
                    TargetClass::Brick => &mut held.bricks,
                    TargetClass::Node | TargetClass::Etcd | TargetClass::NodeAgent => {
                        // What is squeezed does what it can.
                        let heals =
                            !is_held(fault.kind, victim.class) || matches!(fault.kind, FaultKind::Squeeze { .. });
                        held.slots.extend(victim.node.filter(|_| !heals).map(|(slot, _)| slot));
                        continue;
                    }
                    // What these are for fails as long as they do.
                    TargetClass::Sshd
                    | TargetClass::Jupyter
                    | TargetClass::NetworkDriver
                    | TargetClass::Bird
                    | TargetClass::Proxy
                    | TargetClass::Topology => continue,
                };
                names.insert(victim.name.clone());
            }
        }
        held
    }

    /// The brick of how many hosts can't do its share.
    #[must_use]
    pub fn bricks(&self) -> usize {
        self.hosts.union(&self.bricks).count()
    }

    /// The Mesos agent of this host can't do its share.
    #[must_use]
    pub fn agent_of(&self, host: &str) -> bool {
        self.hosts.contains(host) || self.agents.contains(host)
    }
}

/// Everything that an invariant may look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What was seen.
    pub seen: &'a Observation,
    /// What is true, by engine and foreign APIs.
    pub truth: &'a Truth,
    /// The cluster.
    pub shape: &'a Shape,
    /// What held faults keep down.
    pub held: &'a Held,
}

impl<'a> Look<'a> {
    /// This slot's host was looked at in this tick.
    #[must_use]
    pub fn saw(&self, slot: Slot) -> bool {
        let mut nodes = self.truth.running.get(&slot).into_iter().flatten();
        nodes.any(|node| self.seen.fast.containers.get(&node.host).is_some_and(|probe| probe.result.is_ok()))
    }

    /// Node containers by host, of the hosts that no fault holds down.
    pub fn containers(&self) -> impl Iterator<Item = (&'a String, &'a Probe<Vec<ContainerView>>)> {
        let held = &self.held.hosts;
        self.seen.fast.containers.iter().filter(move |(host, _)| !held.contains(*host))
    }

    /// Hosts that no fault holds down.
    pub fn hosts(&self) -> impl Iterator<Item = &'a String> {
        let held = &self.held.hosts;
        self.shape.hosts.iter().filter(move |host| !held.contains(*host))
    }
}

/// A promise of the system.
pub trait Invariant {
    /// Judges one look. Pure: the same look always gets the same judgement.
    fn judge(&self, look: &Look<'_>) -> Judged;
}

impl Name {
    /// The invariant of this name; none if it isn't built in.
    #[must_use]
    pub fn invariant(self) -> Option<&'static dyn Invariant> {
        Some(match self {
            Name::Hosts => &hosts::Hosts,
            Name::Ssh => &ssh::Ssh,
            Name::Jupyter => &jupyter::Jupyter,
            Name::Storage => &storage::Storage,
            Name::Etcd => &etcd::Etcd,
            Name::Mesos => &mesos::Mesos,
            Name::ZooKeeper => &zookeeper::ZooKeeper,
            Name::Network => &network::Network,
            Name::Own(_) => return None,
        })
    }
}

/// Asks every built-in invariant.
#[must_use]
pub fn judge_all(look: &Look<'_>) -> Judgements {
    Name::ALL.into_iter().filter_map(|name| Some((name, name.invariant()?.judge(look)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::fixture::{node, part};
    use crate::fault::life::Stage;
    use crate::fault::{Peers, Role, Target};

    #[test]
    fn a_steady_cluster_keeps_every_promise() {
        let cluster = fixture::Cluster::steady();
        let truth = cluster.truth();
        let judged =
            judge_all(&Look { seen: &cluster.seen, truth: &truth, shape: &cluster.shape, held: &cluster.held });
        for (name, judged) in judged {
            assert_eq!(judged.overall(), Judgement::Holds, "{name}");
            assert_eq!(judged.breach, None, "{name}");
        }
    }

    #[test]
    fn a_killed_node_is_not_held_and_a_frozen_one_is_until_its_undo() {
        let target = Target::new(TargetClass::Node, Role::Any);
        let mut fault = Fault::planned("t", "s1", FaultKind::Pause, target);
        fault.victims = vec![node(3, 1, "host-1", "c3")];
        fault.life.begin(Millis(1)).expect("legal");
        assert_eq!(Held::of(&[fault.clone()]).slots, BTreeSet::from([3]));
        let mut killed = fault.clone();
        killed.kind = FaultKind::Kill;
        assert_eq!(Held::of(&[killed]), Held::default());
        fault.life.step(Stage::Undone, Millis(2)).expect("legal");
        assert_eq!(Held::of(&[fault]), Held::default());
    }

    #[test]
    fn every_victim_of_a_held_fault_is_held_under_its_kind() {
        let held = |kind, class, names: &[&str]| {
            let mut fault = Fault::planned("t", "s1", kind, Target::new(class, Role::Any));
            fault.victims = names.iter().map(|name| part(class, name, "c")).collect();
            fault.life.begin(Millis(1)).expect("legal");
            Held::of(&[fault])
        };
        let isolate = FaultKind::isolate(Peers::Everyone);
        assert_eq!(held(FaultKind::Kill, TargetClass::ZooKeeper, &["zk-1", "zk-2"]).zookeepers.len(), 2);
        assert!(held(isolate, TargetClass::Host, &["host-1"]).agent_of("host-1"));
        let agent = held(FaultKind::Kill, TargetClass::MesosAgent, &["host-2"]);
        assert!(agent.agent_of("host-2") && !agent.agent_of("host-1") && agent.hosts.is_empty());
    }
}

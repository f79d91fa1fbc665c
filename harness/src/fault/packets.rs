//! The words of scenario files for packets that don't pass as they should: from whom, which way, and who is apart from whom.

use stormbed::outpost::cut::Way;

use super::{Peers, Split, TargetClass};
use TargetClass::{Bird, Brick, Etcd, Framework, Host, Jupyter, MesosAgent, MesosMaster, Node, Proxy, Sshd, ZooKeeper};

/// Whom an isolated machine can't reach.
#[derive(Debug, Clone, Copy)]
pub struct PeersRow {
    /// As files write it.
    pub word: &'static str,
    /// Whom.
    pub peers: Peers,
    /// In a sentence.
    pub about: &'static str,
    /// The kinds of parts that can be cut off from them.
    pub on: &'static [TargetClass],
}

/// Everyone whom a machine can be cut off from.
pub const PEERS: &[PeersRow] = &[
    PeersRow {
        word: "everyone",
        peers: Peers::Everyone,
        about: "Nobody at all can be reached.",
        on: &[Node, Etcd, Sshd, Jupyter, MesosMaster, MesosAgent, ZooKeeper, Framework, Host, Brick, Bird, Proxy],
    },
    PeersRow {
        word: "zookeeper",
        peers: Peers::ZooKeeper,
        about: "The (other) ZooKeeper servers can't be reached; everybody else can.",
        on: &[MesosMaster, MesosAgent, Framework, ZooKeeper],
    },
    PeersRow {
        word: "masters",
        peers: Peers::Masters,
        about: "The Mesos masters can't be reached.",
        on: &[MesosAgent, Framework, ZooKeeper, Host],
    },
    PeersRow {
        word: "frameworks",
        peers: Peers::Frameworks,
        about: "The schedulers can't be reached.",
        on: &[MesosMaster, ZooKeeper],
    },
    PeersRow {
        word: "hosts",
        peers: Peers::Hosts,
        about: "The (other) hosts can't be reached.",
        on: &[MesosMaster, Framework, Host, Proxy],
    },
    PeersRow {
        word: "proxy",
        peers: Peers::Proxy,
        about: "The edge can't be reached, and with it no client: the client's side alone.",
        on: &[Node, Host],
    },
];

/// Which packets are dropped.
#[derive(Debug, Clone, Copy)]
pub struct WayRow {
    /// As files write it.
    pub word: &'static str,
    /// Which.
    pub way: Way,
    /// In a sentence.
    pub about: &'static str,
}

/// Every way.
pub const WAYS: &[WayRow] = &[
    WayRow { word: "both", way: Way::Both, about: "Nothing passes." },
    WayRow { word: "in", way: Way::In, about: "What comes to the part is dropped: it can speak, and hears nothing." },
    WayRow {
        word: "out",
        way: Way::Out,
        about: "What leaves the part is dropped: it hears everything, and isn't heard.",
    },
];

/// Who doesn't reach whom in a partition.
#[derive(Debug, Clone, Copy)]
pub struct SplitRow {
    /// As files write it.
    pub word: &'static str,
    /// Who.
    pub split: Split,
    /// In a sentence.
    pub about: &'static str,
}

/// Every shape of a partition.
pub const SPLITS: &[SplitRow] = &[
    SplitRow { word: "sides", split: Split::Sides, about: "The victims and all others don't reach each other." },
    SplitRow {
        word: "ring",
        split: Split::Ring,
        about: "Each node reaches its two neighbours alone, in the order of slots; of all nodes.",
    },
    SplitRow {
        word: "bridge",
        split: Split::Bridge,
        about: "All others fall into two halves, and the victim alone reaches both; of one node.",
    },
];

impl Peers {
    /// The row of these peers.
    #[must_use]
    pub fn row(self) -> &'static PeersRow {
        PEERS.iter().find(|row| row.peers == self).expect("all peers have a row")
    }
}

impl Split {
    /// The row of this shape.
    #[must_use]
    pub fn row(self) -> &'static SplitRow {
        SPLITS.iter().find(|row| row.split == self).expect("all shapes have a row")
    }
}

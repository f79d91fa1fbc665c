//! The words of scenario files for what can be broken: one row for each kind of fault, kind of part and role. The reader, its
//! messages, the schema and the documentation are made from these tables, and so is every word that reports use.

use stormbed::outpost::cut::Way;
use stormbed::outpost::link::Link;

pub use super::packets::{PEERS, PeersRow, SPLITS, SplitRow, WAYS, WayRow};
use super::{Damage, FaultKind, Means, PeerSet, Role, TargetClass};
use Role::{All, Any, Follower, Leader, Majority, Minority, MinorityWithLeader, NotOfLeader, OfLeader};
use TargetClass::{
    Bird, Brick, Etcd, Framework, Host, Jupyter, MesosAgent, MesosMaster, NetworkDriver, Node, NodeAgent, Proxy, Sshd,
    Topology, ZooKeeper,
};

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
pub struct FaultRow {
    /// As files write it.
    pub word: &'static str,
    /// The kind; what else it is told (`from`) as it is without that.
    pub kind: FaultKind,
    /// Its colour where colours are wanted, as a terminal's code (SGR).
    pub colour: &'static str,
    /// In a sentence.
    pub about: &'static str,
    /// The kinds of parts that it can be done to.
    pub on: &'static [TargetClass],
}

/// What can be ended. (A node's agent is its process 1: who ends it ends the node.)
const ENDED: &[TargetClass] = &[
    Node,
    Etcd,
    Sshd,
    Jupyter,
    MesosMaster,
    MesosAgent,
    ZooKeeper,
    Framework,
    Host,
    Brick,
    NetworkDriver,
    Bird,
    Proxy,
];

/// Every kind of fault.
pub const FAULTS: &[FaultRow] = &[
    FaultRow {
        word: "kill",
        kind: FaultKind::Kill,
        colour: "31",
        about: "Ends the processes at once (SIGKILL). What the system heals is left to it; everything else starts again at the undo.",
        on: ENDED,
    },
    FaultRow {
        word: "stop",
        kind: FaultKind::Stop,
        colour: "35",
        about: "Asks the processes to end in order (SIGTERM) and waits; from then on as after a kill.",
        on: ENDED,
    },
    FaultRow {
        word: "restart",
        kind: FaultKind::Restart,
        colour: "33",
        about: "Ends the processes at once and starts them again; nothing is held. Nodes and their programs are started again by the system itself: kill them.",
        on: &[MesosMaster, MesosAgent, ZooKeeper, Framework, Host, Brick, NetworkDriver, Bird, Proxy],
    },
    FaultRow {
        word: "pause",
        kind: FaultKind::Pause,
        colour: "34",
        about: "Freezes all processes; they go on at the undo and find out what they have missed.",
        on: &[
            Node,
            Etcd,
            Sshd,
            NodeAgent,
            Jupyter,
            MesosMaster,
            MesosAgent,
            ZooKeeper,
            Framework,
            Host,
            Brick,
            NetworkDriver,
            Bird,
            Proxy,
        ],
    },
    FaultRow {
        word: "isolate",
        kind: FaultKind::Isolate { from: PeerSet::EVERYONE, way: Way::Both },
        colour: "36",
        about: "Cuts a part off from everyone, or from those that `from` names; both ways, or one `way` alone.",
        on: &[Node, Etcd, Sshd, Jupyter, MesosMaster, MesosAgent, ZooKeeper, Framework, Host, Brick, Bird, Proxy],
    },
    FaultRow {
        word: "loss",
        kind: FaultKind::Loss { from: PeerSet::EVERYONE, way: Way::Both, percent: 0 },
        colour: "96",
        about: "Drops a random `share` of the packets between a part and everyone, or those that `from` names; both ways, or one.",
        on: &[Node, Etcd, Sshd, Jupyter, MesosMaster, MesosAgent, ZooKeeper, Framework, Host, Brick, Bird, Proxy],
    },
    FaultRow {
        word: "slow-link",
        kind: FaultKind::SlowLink { from: PeerSet::EVERYONE, link: Link { delay_ms: 0, jitter_ms: 0, rate_kbit: 0 } },
        colour: "94",
        about: "What comes to a part arrives by a `delay` later, which varies by its `jitter`, and no faster than a `rate`.",
        on: &[Node, Etcd, Jupyter, MesosMaster, MesosAgent, ZooKeeper, Framework, Host, Brick, Proxy],
    },
    FaultRow {
        word: "partition",
        kind: FaultKind::PARTITION,
        colour: "32",
        about: "Cuts nodes, or hosts with all that runs on them, off from all others of their kind, or nodes in another `shape`; everything else still reaches all of them.",
        on: &[Node, Host],
    },
    FaultRow {
        word: "tamper",
        kind: FaultKind::Tamper { what: Damage::Hosts },
        colour: "95",
        about: "Damages what a node keeps, as `what` says; the system must notice and heal it.",
        on: &[Node],
    },
    FaultRow {
        word: "squeeze",
        kind: FaultKind::Squeeze { what: Means::Cpu { percent: 100 } },
        colour: "92",
        about: "There is little of what a part lives on, or it is bad: `what` says of what.",
        on: &[Node, Etcd, ZooKeeper, Brick],
    },
    FaultRow {
        word: "oom",
        kind: FaultKind::Oom,
        colour: "91",
        about: "The kernel ends the processes for want of memory (OOM); from then on as after a kill.",
        on: &[Node, Etcd, Sshd, Jupyter],
    },
    FaultRow {
        word: "disk-full",
        kind: FaultKind::DiskFull,
        colour: "93",
        about: "A brick of the shared volume has no space left: it refuses what needs some, with ENOSPC.",
        on: &[Brick],
    },
    FaultRow {
        word: "blackout",
        kind: FaultKind::Blackout,
        colour: "90",
        about: "Switches everything off at the same moment (SIGKILL), and on again, at the same moment, at the undo.",
        on: &[Topology],
    },
];

/// What numbers mean as targets of a kind of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// It has none.
    None,
    /// Slots, from 0.
    Slots,
    /// Hosts, from 1.
    Hosts,
}

/// A kind of part.
#[derive(Debug, Clone, Copy)]
pub struct ClassRow {
    /// As files write it.
    pub word: &'static str,
    /// The kind.
    pub class: TargetClass,
    /// In a sentence.
    pub about: &'static str,
    /// What can be aimed at.
    pub roles: &'static [RoleRow],
    /// What a number means.
    pub numbers: Numbers,
}

/// A role of a kind of part.
#[derive(Debug, Clone, Copy)]
pub struct RoleRow {
    /// As files write it.
    pub word: &'static str,
    /// The role.
    pub role: Role,
    /// In a few words.
    pub about: &'static str,
}

const fn role(word: &'static str, role: Role, about: &'static str) -> RoleRow {
    RoleRow { word, role, about }
}

const ANY: RoleRow = role("any", Any, "whichever the seed chooses");
const ALL: RoleRow = role("all", All, "every one of them");
const MINORITY: RoleRow = role("minority", Minority, "as many as may be lost: less than half");
const MAJORITY: RoleRow = role("majority", Majority, "the smallest number that is more than half");

/// Roles of everything that belongs to a host.
const BY_HOST: &[RoleRow] = &[
    role("of-leader", OfLeader, "the one of the host that runs the etcd leader"),
    role("not-of-leader", NotOfLeader, "one of a host that doesn't"),
    ANY,
    ALL,
    MINORITY,
    MAJORITY,
];

/// Roles of nodes, and of their programs.
const OF_NODES: &[RoleRow] = &[
    role("leader", Leader, "the etcd leader"),
    role("follower", Follower, "a member that doesn't lead"),
    ANY,
    ALL,
    MINORITY,
    MAJORITY,
    role("minority-with-leader", MinorityWithLeader, "a minority with the leader in it"),
];

/// Every kind of part.
pub const CLASSES: &[ClassRow] = &[
    ClassRow {
        word: "node",
        class: Node,
        about: "A node's container: one incarnation of a slot.",
        roles: OF_NODES,
        numbers: Numbers::Slots,
    },
    ClassRow {
        word: "mesos-master",
        class: MesosMaster,
        about: "A Mesos master's container.",
        roles: &[
            role("leader", Leader, "the leading master"),
            role("standby", Follower, "a master that doesn't lead"),
            ANY,
            ALL,
            MINORITY,
            MAJORITY,
        ],
        numbers: Numbers::None,
    },
    ClassRow {
        word: "mesos-agent",
        class: MesosAgent,
        about: "The Mesos agent's process on a host; everything else there goes on.",
        roles: BY_HOST,
        numbers: Numbers::Hosts,
    },
    ClassRow {
        word: "zookeeper",
        class: ZooKeeper,
        about: "A ZooKeeper server's container.",
        roles: &[
            role("leader", Leader, "the server that leads"),
            role("follower", Follower, "a server that doesn't lead"),
            ANY,
            ALL,
            MINORITY,
            MAJORITY,
        ],
        numbers: Numbers::None,
    },
    ClassRow {
        word: "framework",
        class: Framework,
        about: "A scheduler's container.",
        roles: &[
            role("active", Leader, "the scheduler that is subscribed"),
            role("standby", Follower, "the one that waits"),
            ANY,
            ALL,
        ],
        numbers: Numbers::None,
    },
    ClassRow {
        word: "host",
        class: Host,
        about: "A whole machine: its engine, nodes, brick, agent and routes.",
        roles: BY_HOST,
        numbers: Numbers::Hosts,
    },
    ClassRow {
        word: "etcd",
        class: Etcd,
        about: "The etcd process of a node; its agent, sshd and Jupyter go on.",
        roles: OF_NODES,
        numbers: Numbers::Slots,
    },
    ClassRow { word: "sshd", class: Sshd, about: "The sshd of a node.", roles: OF_NODES, numbers: Numbers::Slots },
    ClassRow {
        word: "node-agent",
        class: NodeAgent,
        about: "The agent that is process 1 of a node; etcd, sshd and Jupyter go on.",
        roles: OF_NODES,
        numbers: Numbers::Slots,
    },
    ClassRow {
        word: "jupyter",
        class: Jupyter,
        about: "The Jupyter server, which runs on the node that leads.",
        roles: &[role("leader", Leader, "the one of the etcd leader"), ANY],
        numbers: Numbers::None,
    },
    ClassRow {
        word: "brick",
        class: Brick,
        about: "The process that serves a host's brick of the shared volume.",
        roles: BY_HOST,
        numbers: Numbers::Hosts,
    },
    ClassRow {
        word: "network-driver",
        class: NetworkDriver,
        about: "The network plugin's process on a host: without it no container starts or ends there.",
        roles: BY_HOST,
        numbers: Numbers::Hosts,
    },
    ClassRow {
        word: "bird",
        class: Bird,
        about: "BIRD on a host: without it the others lose the routes to its nodes.",
        roles: BY_HOST,
        numbers: Numbers::Hosts,
    },
    ClassRow {
        word: "proxy",
        class: Proxy,
        about: "The proxy on the edge; isolated, the edge as a whole.",
        roles: &[ANY],
        numbers: Numbers::None,
    },
    ClassRow {
        word: "topology",
        class: Topology,
        about: "Everything: hosts, masters, ZooKeeper, schedulers and the edge.",
        roles: &[ALL],
        numbers: Numbers::None,
    },
];

impl FaultKind {
    /// The row of this kind.
    #[must_use]
    pub fn row(self) -> &'static FaultRow {
        FAULTS.iter().find(|row| row.kind.is_like(self)).expect("every kind of fault has a row")
    }

    /// The same kind of fault, whatever else it is told.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// From whom it cuts its victims off, if it is of that kind.
    #[must_use]
    pub fn from(self) -> Option<PeerSet> {
        match self {
            FaultKind::Isolate { from, .. } | FaultKind::Loss { from, .. } | FaultKind::SlowLink { from, .. } => {
                Some(from)
            }
            _ => None,
        }
    }

    /// The kinds of parts that it can be done to: those that can be cut off from all whom it names, and have what it is about.
    #[must_use]
    pub fn targets(self) -> Vec<TargetClass> {
        let from = self.from();
        let what = self.what();
        let fits = |class: &TargetClass| {
            from.is_none_or(|from| from.iter().all(|peers| peers.row().on.contains(class)))
                && what.is_none_or(|row| row.on.contains(class))
        };
        self.row().on.iter().copied().filter(fits).collect()
    }
}

impl FaultKind {
    /// Why it can't be done to parts of other kinds than those of its row.
    #[must_use]
    pub fn why_not(self, class: TargetClass) -> &'static str {
        let everyone = self.from() == Some(PeerSet::EVERYONE);
        match (self, class) {
            (FaultKind::Kill | FaultKind::Stop, NodeAgent) => "an agent is process 1 of its node: do it to the node",
            (FaultKind::Restart, class) if class.is_of_node() => "the system itself starts it again: kill it",
            (_, Topology) => "only a blackout is of everything at once: do it to a kind of part",
            (FaultKind::Blackout, _) => {
                "it is of everything at once: target = { topology = \"all\" }, or kill the part"
            }
            (FaultKind::Squeeze { what: Means::Cpu { .. } }, _) => {
                "only nodes have limits that can be set while they run"
            }
            (FaultKind::Squeeze { what: Means::Fsync }, ZooKeeper) => {
                "its process, and with it its container, ends at the first sync that fails: kill it"
            }
            (FaultKind::Squeeze { .. }, _) => "it syncs nothing itself: do it to what keeps data on a disk",
            (FaultKind::Oom, NodeAgent) => "an agent is process 1 of its node: do it to the node",
            (FaultKind::Oom, _) => "only nodes and their programs have a memory of their own: kill it",
            (FaultKind::DiskFull, _) => "only bricks have a disk of their own that can be full",
            (FaultKind::Tamper { .. }, _) => "what can be damaged is what a node keeps: tamper with the node",
            (FaultKind::Partition { .. }, _) => "only nodes and hosts are cut off from each other alone: isolate it",
            (_, NodeAgent) if everyone => "an agent speaks through its etcd: do it to that, or to the node",
            (_, NetworkDriver) if everyone => "it speaks on a socket file only, so there is no packet to drop",
            (FaultKind::SlowLink { .. }, Sshd | Bird) => "nothing that is promised depends on how fast it answers",
            _ => "they never speak to each other, or can't be told apart on the wire",
        }
    }
}

impl TargetClass {
    /// The row of this kind of part.
    #[must_use]
    pub fn row(self) -> &'static ClassRow {
        CLASSES.iter().find(|row| row.class == self).expect("every kind of part has a row")
    }
}

impl Role {
    /// As scenario files write it for this kind of part: masters and schedulers have words of their own.
    #[must_use]
    pub fn word(self, class: TargetClass) -> String {
        match self {
            Role::Slot(slot) => format!("slot {slot}"),
            Role::Number(number) => number.to_string(),
            _ => {
                let row = class.row().roles.iter().find(|row| row.role == self);
                row.map_or_else(|| format!("{self:?}").to_lowercase(), |row| row.word.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::physics::is_held;

    fn distinct(words: &[&str]) {
        let mut sorted = words.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), words.len(), "a word means two things: {words:?}");
    }

    #[test]
    fn no_word_means_two_things_and_the_tables_agree_with_the_types() {
        distinct(&FAULTS.iter().map(|row| row.word).collect::<Vec<_>>());
        distinct(&FAULTS.iter().map(|row| row.colour).collect::<Vec<_>>());
        distinct(&PEERS.iter().map(|row| row.word).collect::<Vec<_>>());
        distinct(&SPLITS.iter().map(|row| row.word).collect::<Vec<_>>());
        assert!(SPLITS.iter().all(|row| serde_json::json!(row.split) == row.word), "plans and files write the same");
        distinct(&WAYS.iter().map(|row| row.word).collect::<Vec<_>>());
        assert!(WAYS.iter().all(|row| serde_json::json!(row.way) == row.word), "plans and files write the same");
        distinct(&CLASSES.iter().map(|row| row.word).collect::<Vec<_>>());
        for row in CLASSES {
            distinct(&row.roles.iter().map(|row| row.word).collect::<Vec<_>>());
            assert_eq!(serde_json::json!(row.class), row.word, "plans and files write the same");
            for role in row.roles {
                assert_eq!(role.role.word(row.class), role.word);
            }
        }
        for row in FAULTS {
            assert!(!row.on.is_empty(), "{} can be done to something", row.word);
            assert_eq!(row.kind.row().word, row.word);
        }
    }

    #[test]
    fn the_documentation_shows_what_can_be_done_to_what() {
        let text = include_str!("../../../docs/faults.md");
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
        let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let head = cells(rows.next().expect("a head"));
        let kinds: Vec<&FaultRow> = FAULTS.iter().collect();
        assert_eq!(head[1..], kinds.iter().map(|row| row.word.to_owned()).collect::<Vec<_>>());
        let mut shown = Vec::new();
        for row in rows {
            let row = cells(row);
            let word = row[0].trim_matches('`').to_owned();
            let class = CLASSES.iter().find(|class| class.word == word).expect("a kind of part").class;
            for (kind, cell) in kinds.iter().zip(&row[1..]) {
                let expected = match kind.kind {
                    _ if !kind.on.contains(&class) => "",
                    FaultKind::Restart => "ends",
                    kind if is_held(kind, class) => "held",
                    _ => "healed",
                };
                assert_eq!(cell, expected, "{} of a {word}", kind.word);
            }
            shown.push(word);
        }
        assert_eq!(shown.len(), CLASSES.len(), "every kind of part has a row");
    }
}

//! The words of scenario files for what can be broken: one row for each kind of fault, kind of part and role. The reader, its
//! messages, the schema and the documentation are made from these tables, and so is every word that reports use.

use super::{FaultKind, Peers, Role, TargetClass};
use Role::{All, Any, Follower, Leader, Majority, Minority, MinorityWithLeader, NotOfLeader, OfLeader};
use TargetClass::{Framework, Host, MesosAgent, MesosMaster, Node, ZooKeeper};

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
pub struct FaultRow {
    /// As files write it.
    pub word: &'static str,
    /// The kind; what else it is told (`from`) as it is without that.
    pub kind: FaultKind,
    /// In a sentence.
    pub about: &'static str,
    /// The kinds of parts that it can be done to.
    pub on: &'static [TargetClass],
}

/// Every kind of fault.
pub const FAULTS: &[FaultRow] = &[
    FaultRow {
        word: "kill",
        kind: FaultKind::Kill,
        about: "Ends the processes at once (SIGKILL). What the system heals is left to it; everything else starts again at the undo.",
        on: &[Node, MesosMaster, MesosAgent, ZooKeeper, Framework, Host],
    },
    FaultRow {
        word: "pause",
        kind: FaultKind::Pause,
        about: "Freezes all processes; they go on at the undo and find out what they have missed.",
        on: &[Node, MesosMaster, ZooKeeper, Framework, Host],
    },
    FaultRow {
        word: "isolate",
        kind: FaultKind::Isolate { from: Peers::Everyone },
        about: "Cuts a machine off from everyone, or from those that `from` names.",
        on: &[MesosMaster, Framework, Host],
    },
    FaultRow {
        word: "partition",
        kind: FaultKind::Partition,
        about: "Cuts nodes off from all other nodes; everything else still reaches both sides.",
        on: &[Node],
    },
];

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
        on: &[MesosMaster, Framework, Host],
    },
    PeersRow {
        word: "zookeeper",
        peers: Peers::ZooKeeper,
        about: "The ZooKeeper servers can't be reached; everybody else can.",
        on: &[MesosMaster, Framework],
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

/// Every kind of part.
pub const CLASSES: &[ClassRow] = &[
    ClassRow {
        word: "node",
        class: Node,
        about: "A node's container: one incarnation of a slot.",
        roles: &[
            role("leader", Leader, "the etcd leader"),
            role("follower", Follower, "a member that doesn't lead"),
            ANY,
            ALL,
            MINORITY,
            MAJORITY,
            role("minority-with-leader", MinorityWithLeader, "a minority with the leader in it"),
        ],
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
];

impl FaultKind {
    /// The row of this kind.
    #[must_use]
    pub fn row(self) -> &'static FaultRow {
        let same = |row: &&FaultRow| std::mem::discriminant(&row.kind) == std::mem::discriminant(&self);
        FAULTS.iter().find(same).expect("every kind of fault has a row")
    }

    /// The kinds of parts that it can be done to.
    #[must_use]
    pub fn targets(self) -> &'static [TargetClass] {
        match self {
            FaultKind::Isolate { from } => from.row().on,
            _ => self.row().on,
        }
    }
}

impl Peers {
    /// The row of these peers.
    #[must_use]
    pub fn row(self) -> &'static PeersRow {
        PEERS.iter().find(|row| row.peers == self).expect("all peers have a row")
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

    fn distinct(words: &[&str]) {
        let mut sorted = words.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), words.len(), "a word means two things: {words:?}");
    }

    #[test]
    fn no_word_means_two_things_and_the_tables_agree_with_the_types() {
        distinct(&FAULTS.iter().map(|row| row.word).collect::<Vec<_>>());
        distinct(&PEERS.iter().map(|row| row.word).collect::<Vec<_>>());
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
}

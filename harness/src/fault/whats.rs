//! The words of scenario files for what a fault is about, where that must be told: one row for each.

use std::mem::discriminant;

use super::TargetClass::{self, Brick, Etcd, Node, ZooKeeper};
use super::{Damage, FaultKind, Means};

/// What a fault is about, for faults that must be told.
#[derive(Debug, Clone, Copy)]
pub struct WhatRow {
    /// As files write it.
    pub word: &'static str,
    /// The fault, with this for its `what`.
    pub kind: FaultKind,
    /// In a sentence.
    pub about: &'static str,
    /// The kinds of parts that it can be done to, of those of the fault.
    pub on: &'static [TargetClass],
}

/// Everything that a fault can be about.
pub const WHATS: &[WhatRow] = &[
    WhatRow {
        word: "hosts",
        kind: FaultKind::Tamper { what: Damage::Hosts },
        about: "The node's /etc/hosts is overwritten: no name leads anywhere.",
        on: &[Node],
    },
    WhatRow {
        word: "authorized-keys",
        kind: FaultKind::Tamper { what: Damage::AuthorizedKeys },
        about: "The node's authorized_keys is overwritten: nobody may log in.",
        on: &[Node],
    },
    WhatRow {
        word: "lease",
        kind: FaultKind::Tamper { what: Damage::Lease },
        about: "The lease of the node's registration is revoked through another member: the others take it for gone.",
        on: &[Node],
    },
    WhatRow {
        word: "etcd-data",
        kind: FaultKind::Tamper { what: Damage::EtcdData },
        about: "The node's etcd is killed and its data directory removed: it has lost what it had acknowledged. Never of a majority.",
        on: &[Node],
    },
    WhatRow {
        word: "cpu",
        kind: FaultKind::Squeeze { what: Means::Cpu { percent: 100 } },
        about: "Processor time; `to` is the share of one core that is left: \"20%\".",
        on: &[Node],
    },
    WhatRow {
        word: "disk",
        kind: FaultKind::Squeeze { what: Means::Disk { delay_ms: 0 } },
        about: "A disk that is fast: each sync (fsync, fdatasync) takes longer by `delay`.",
        on: &[Etcd, ZooKeeper, Brick],
    },
    WhatRow {
        word: "fsync",
        kind: FaultKind::Squeeze { what: Means::Fsync },
        about: "A disk that works: each sync fails with EIO.",
        on: &[Etcd, Brick],
    },
];

impl FaultKind {
    /// The row of what it is about, if it must be told.
    #[must_use]
    pub fn what(self) -> Option<&'static WhatRow> {
        let of = |kind| match kind {
            FaultKind::Squeeze { what } => Some(discriminant(&what)),
            _ => None,
        };
        self.whats().find(|row| match of(self) {
            // It has an amount too.
            Some(means) => of(row.kind) == Some(means),
            None => row.kind == self,
        })
    }

    /// All that this kind of fault can be about.
    pub fn whats(self) -> impl Iterator<Item = &'static WhatRow> {
        WHATS.iter().filter(move |row| row.kind.is_like(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_two_things_and_reports_use_it() {
        let mut words: Vec<&str> = WHATS.iter().map(|row| row.word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), WHATS.len());
        for row in WHATS {
            assert_eq!(row.kind.what().map(|what| what.word), Some(row.word));
            assert!(row.kind.to_string().contains(row.word), "reports say what: {}", row.kind);
        }
    }
}

//! What the nodes tell each other through etcd: keys, records, and the rules that fence old incarnations.
//!
//! ```text
//! /stormbed/<cluster>/nodes/<slot>         NodeRecord    under the node's lease
//! /stormbed/<cluster>/leader               LeaderRecord  no lease; never goes back in term
//! /stormbed/<cluster>/incarnations/<slot>  20 digits     highest incarnation that ever registered or joined; never deleted
//! /stormbed/<cluster>/membership           a slot        who changes etcd's membership now, under a lease
//! ```
//! [`state`] is one view of these keys; [`store`] reads, watches and writes them.
//! Every write by a node is one transaction on "slot k's incarnation ≤ mine" ([`fence_text`] makes numbers compare as text).

pub mod state;
pub mod store;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::config::{Incarnation, Slot};

/// Port of etcd's client API.
pub const ETCD_CLIENT_PORT: u16 = 2379;
/// Port of etcd's peer API.
pub const ETCD_PEER_PORT: u16 = 2380;
/// Port of sshd.
pub const SSH_PORT: u16 = 22;

/// A live node, as it registers itself under its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The slot.
    pub slot: Slot,
    /// The incarnation that registers.
    pub incarnation: Incarnation,
    /// Its address.
    pub address: Ipv4Addr,
    /// etcd member id, hexadecimal as etcdctl prints it.
    pub member_id: String,
    /// Its sshd's Ed25519 host key: `ssh-ed25519 AAAA…`, without a comment.
    pub host_key: String,
    /// Its root user's Ed25519 public key: `ssh-ed25519 AAAA…`, without a comment.
    pub user_key: String,
}

/// The etcd leader, as its own agent publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The slot whose member leads.
    pub slot: Slot,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its address.
    pub address: Ipv4Addr,
    /// The Raft term in which it leads. A record never gives way to one of a lower term.
    pub term: u64,
}

/// The keys of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys of the cluster with this name.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self { root: format!("/stormbed/{cluster}") }
    }

    /// Everything below this prefix belongs to the registry; watch it.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}/", self.root)
    }

    /// Prefix of all registrations.
    #[must_use]
    pub fn nodes(&self) -> String {
        format!("{}/nodes/", self.root)
    }

    /// A slot's registration: a [`NodeRecord`] in JSON.
    #[must_use]
    pub fn node(&self, slot: Slot) -> String {
        format!("{}/nodes/{slot}", self.root)
    }

    /// The [`LeaderRecord`] in JSON.
    #[must_use]
    pub fn leader(&self) -> String {
        format!("{}/leader", self.root)
    }

    /// The highest incarnation of a slot that ever registered or changed etcd's membership, as [`fence_text`].
    #[must_use]
    pub fn incarnation(&self, slot: Slot) -> String {
        format!("{}/incarnations/{slot}", self.root)
    }

    /// Lock of the one membership change that may be under way: the slot that makes it, under a lease.
    #[must_use]
    pub fn membership(&self) -> String {
        format!("{}/membership", self.root)
    }

    /// Prefix of all [`Keys::incarnation`]s.
    #[must_use]
    pub fn incarnations(&self) -> String {
        format!("{}/incarnations/", self.root)
    }

    /// The testbed's own keys (ledger, probes) live here, outside of [`Keys::prefix`] so that nodes never see them.
    #[must_use]
    pub fn testbed(cluster: &str) -> String {
        format!("/stormbed-testbed/{cluster}/")
    }
}

/// A number as text of fixed width, so that etcd's textual comparison orders it.
#[must_use]
pub fn fence_text(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fence_text_orders_like_numbers() {
        let numbers = [0, 1, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX];
        for pair in numbers.windows(2) {
            assert!(fence_text(pair[0]) < fence_text(pair[1]));
        }
    }
}

//! One view of the registry: what its keys say at one revision.

use std::collections::BTreeMap;

use super::{Keys, LeaderRecord, NodeRecord};
use crate::config::{Incarnation, Slot};

/// The registry at one revision. Two views of the same keys are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryState {
    /// etcd's revision that this view includes.
    pub revision: i64,
    /// Registrations.
    pub nodes: BTreeMap<Slot, NodeRecord>,
    /// Who leads, as last published.
    pub leader: Option<LeaderRecord>,
    /// Highest incarnation per slot that ever registered or joined.
    pub incarnations: BTreeMap<Slot, Incarnation>,
}

impl RegistryState {
    /// Takes in one key: its value, or its deletion. A value that can't be read counts as absent; other keys change nothing.
    pub fn apply(&mut self, keys: &Keys, key: &str, value: Option<&[u8]>) {
        if key == keys.leader() {
            self.leader = value.and_then(json);
        } else if let Some(slot) = number(key, &keys.nodes()) {
            let record: Option<NodeRecord> = value.and_then(json);
            put(&mut self.nodes, slot, record.filter(|r| r.slot == slot));
        } else if let Some(slot) = number(key, &keys.incarnations()) {
            put(&mut self.incarnations, slot, value.and_then(digits));
        }
    }

    /// The registered node that the leader record names, if that very incarnation is registered.
    #[must_use]
    pub fn registered_leader(&self) -> Option<&NodeRecord> {
        let leader = self.leader.as_ref()?;
        let node = self.nodes.get(&leader.slot)?;
        (node.incarnation == leader.incarnation).then_some(node)
    }
}

/// Reads a number written by [`super::fence_text`].
#[must_use]
pub fn digits(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn json<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|e| tracing::warn!("a registry value is not what was expected and counts as absent: {e}"))
        .ok()
}

fn number(key: &str, prefix: &str) -> Option<Slot> {
    key.strip_prefix(prefix)?.parse().ok()
}

fn put<T>(map: &mut BTreeMap<Slot, T>, slot: Slot, value: Option<T>) {
    match value {
        Some(value) => {
            map.insert(slot, value);
        }
        None => {
            map.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::registry::fence_text;

    fn record(slot: Slot, incarnation: Incarnation) -> NodeRecord {
        NodeRecord {
            slot,
            incarnation,
            address: Ipv4Addr::new(198, 19, 0, 10),
            member_id: "a".into(),
            host_key: "h".into(),
            user_key: "u".into(),
        }
    }

    #[test]
    fn keys_become_a_view_and_vanish_from_it() {
        let keys = Keys::of("c");
        let mut state = RegistryState::default();
        let node = serde_json::to_vec(&record(3, 7)).expect("plain data");
        let leader = br#"{"slot":3,"incarnation":7,"address":"198.19.0.10","term":9}"#;
        state.apply(&keys, &keys.node(3), Some(&node));
        state.apply(&keys, &keys.leader(), Some(leader));
        state.apply(&keys, &keys.incarnation(3), Some(fence_text(7).as_bytes()));
        state.apply(&keys, &keys.membership(), Some(b"3"));
        assert_eq!(state.nodes[&3], record(3, 7));
        assert_eq!(state.incarnations[&3], 7);
        assert_eq!(state.registered_leader(), Some(&record(3, 7)));
        state.apply(&keys, &keys.node(3), None);
        assert_eq!(state.registered_leader(), None);
    }

    #[test]
    fn a_leader_of_another_incarnation_is_not_registered() {
        let keys = Keys::of("c");
        let mut state = RegistryState::default();
        let leader = br#"{"slot":3,"incarnation":6,"address":"198.19.0.10","term":9}"#;
        state.apply(&keys, &keys.leader(), Some(leader));
        state.nodes.insert(3, record(3, 7));
        assert_eq!(state.registered_leader(), None);
    }

    #[test]
    fn a_garbled_value_counts_as_absent() {
        let keys = Keys::of("c");
        let mut state = RegistryState::default();
        state.nodes.insert(3, record(3, 7));
        state.apply(&keys, &keys.node(3), Some(b"{"));
        assert!(state.nodes.is_empty());
        let lying = serde_json::to_vec(&record(2, 7)).expect("plain data");
        state.apply(&keys, &keys.node(3), Some(&lying));
        assert!(state.nodes.is_empty());
    }
}

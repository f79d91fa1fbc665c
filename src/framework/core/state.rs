//! What the framework must never forget: its id, whether the cluster has formed, and the slot table. One JSON document in
//! ZooKeeper, written before whatever follows from it leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Bootstrap, Incarnation, Slot};

/// The framework's durable state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The scheduler instance that wrote this.
    pub scheduler: String,
    /// Given by Mesos at the first subscription, and kept for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework_id: Option<String>,
    /// Whether etcd may still start as `new`.
    pub bootstrap: Bootstrap,
    /// The slots.
    pub slots: BTreeMap<Slot, SlotRecord>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SlotRecord {
    /// The host where its data lies: `Offer.hostname` (an agent's id changes when its state is lost). None before it was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The highest incarnation that was ever used; 0 before the first.
    pub incarnation: Incarnation,
    /// The incarnation that lives, or may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// True when the slot's data is *known* to be lost, because it starts away from its former home; until it is registered
    /// there, with a vote and data of its own.
    #[serde(default)]
    pub data_lost: bool,
}

/// One incarnation of a slot that lives, or may live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Which incarnation.
    pub incarnation: Incarnation,
    /// The agent's id.
    pub agent: String,
    /// The generation in which it was launched.
    pub generation: u64,
    /// How far it is.
    pub stage: Stage,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Written down; its launch may have left.
    Staged,
    /// Running, as far as Mesos knows.
    Running,
    /// Its agent can't be reached, or nobody knows of it: it may live.
    Unreachable,
}

impl State {
    /// A cluster of `nodes` slots that has never run.
    #[must_use]
    pub fn new(nodes: u32) -> Self {
        Self {
            scheduler: String::new(),
            framework_id: None,
            bootstrap: Bootstrap::Forming { generation: 1 },
            slots: (0..nodes).map(|slot| (slot, SlotRecord::default())).collect(),
        }
    }

    /// The current generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        match self.bootstrap {
            Bootstrap::Forming { generation } | Bootstrap::Formed { generation } => generation,
        }
    }

    /// Whether the cluster has yet to form.
    #[must_use]
    pub fn is_forming(&self) -> bool {
        matches!(self.bootstrap, Bootstrap::Forming { .. })
    }

    /// Whether a task belongs to a generation that was given up.
    #[must_use]
    pub fn is_abandoned(&self, task: &Task) -> bool {
        task.generation < self.generation()
    }
}

/// `<cluster>.<slot>.<incarnation>`: a task id, used once.
#[must_use]
pub fn task_id(cluster: &str, slot: Slot, incarnation: Incarnation) -> String {
    format!("{cluster}.{slot}.{incarnation}")
}

/// The slot and incarnation of a task id of this cluster.
#[must_use]
pub fn parse_task_id(cluster: &str, id: &str) -> Option<(Slot, Incarnation)> {
    let rest = id.strip_prefix(cluster)?.strip_prefix('.')?;
    let (slot, incarnation) = rest.split_once('.')?;
    let parsed = (slot.parse().ok()?, incarnation.parse().ok()?);
    (task_id(cluster, parsed.0, parsed.1) == id).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_reads_back_and_only_in_its_own_form() {
        assert_eq!(parse_task_id("c1", &task_id("c1", 3, 17)), Some((3, 17)));
        assert_eq!(parse_task_id("a.b", "a.b.0.1"), Some((0, 1)));
        for other in ["c1", "c1.3", "c1.3.x", "c1.03.1", "c1.3.+1", "c2.3.17", "c1.3.17.1"] {
            assert_eq!(parse_task_id("c1", other), None, "{other}");
        }
    }

    #[test]
    fn the_document_is_stable() {
        let mut state = State::new(1);
        state.framework_id = Some("f-0000".into());
        let slot = state.slots.get_mut(&0).unwrap();
        slot.home = Some("host-1".into());
        slot.incarnation = 1;
        slot.task = Some(Task { incarnation: 1, agent: "a-S0".into(), generation: 1, stage: Stage::Staged });
        let text = r#"{"scheduler":"","framework_id":"f-0000","bootstrap":{"state":"forming","generation":1},"slots":{"0":{"home":"host-1","incarnation":1,"task":{"incarnation":1,"agent":"a-S0","generation":1,"stage":"staged"},"data_lost":false}}}"#;
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        assert_eq!(serde_json::from_str::<State>(text).unwrap(), state);
    }
}

//! Events that a step can expect: changes in ground truth that show that a fault had consequences.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A change that a step expects between its injection and the end of its recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Another slot's member leads etcd than before the injection.
    EtcdLeaderChanged,
    /// Another slot than before listens on Jupyter's port, and the proxy answers with 200.
    JupyterMoved,
    /// A higher incarnation of the victim's slot runs.
    SlotReplaced,
    /// The victim's slot is a member no more, and no other member's /etc/hosts names it.
    SlotLeft,
    /// Another master than before leads.
    MesosMasterChanged,
    /// Another ZooKeeper server than before leads.
    #[serde(rename = "zookeeper-leader-changed")]
    ZooKeeperLeaderChanged,
}

impl Event {
    /// All of them, as files may name them.
    pub const ALL: [Event; 6] = [
        Event::EtcdLeaderChanged,
        Event::JupyterMoved,
        Event::SlotReplaced,
        Event::SlotLeft,
        Event::MesosMasterChanged,
        Event::ZooKeeperLeaderChanged,
    ];

    /// As scenario files and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Event::EtcdLeaderChanged => "etcd-leader-changed",
            Event::JupyterMoved => "jupyter-moved",
            Event::SlotReplaced => "slot-replaced",
            Event::SlotLeft => "slot-left",
            Event::MesosMasterChanged => "mesos-master-changed",
            Event::ZooKeeperLeaderChanged => "zookeeper-leader-changed",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

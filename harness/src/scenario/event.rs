//! Events that a step can expect: changes in ground truth that show that a fault had consequences.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change that a step expects between its injection and the end of its recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "event")]
pub enum Event {
    /// Another slot's member leads etcd, in a higher term, than before the injection.
    EtcdLeaderChanged,
    /// The member that led etcd before the injection names another leader in a higher term.
    EtcdLeaderDemoted,
    /// Another slot than before listens on Jupyter's port, and the proxy answers with 200.
    JupyterMoved,
    /// A higher incarnation of the victim's slot runs.
    SlotReplaced,
    /// No other member's /etc/hosts names the victim's slot any more.
    SlotLeft,
    /// Every slot that ran on the victim runs, as a higher incarnation, on another host.
    SlotMoved,
    /// Another etcd member than before votes for the victim's slot.
    MemberReplaced,
    /// Another master than before leads.
    MesosMasterChanged,
    /// The process of the master that led before the injection has ended, by itself.
    MesosMasterExited,
    /// The victim's agent is active at the leading master again: another process with the id it had.
    MesosAgentRecovered,
    /// The leading master has given the victim's agent up.
    AgentUnreachable,
    /// Another scheduler than before is active.
    FrameworkChanged,
    /// The process of the scheduler that was active before the injection has ended, by itself.
    FrameworkExited,
    /// Another ZooKeeper server than before leads.
    #[serde(rename = "zookeeper-leader-changed")]
    ZooKeeperLeaderChanged,
    /// No ZooKeeper server leads a majority.
    #[serde(rename = "zookeeper-quorum-lost")]
    ZooKeeperQuorumLost,
}

impl Event {
    /// All of them, as files may name them.
    pub const ALL: [Event; 15] = [
        Event::EtcdLeaderChanged,
        Event::EtcdLeaderDemoted,
        Event::JupyterMoved,
        Event::SlotReplaced,
        Event::SlotLeft,
        Event::SlotMoved,
        Event::MemberReplaced,
        Event::MesosMasterChanged,
        Event::MesosMasterExited,
        Event::MesosAgentRecovered,
        Event::AgentUnreachable,
        Event::FrameworkChanged,
        Event::FrameworkExited,
        Event::ZooKeeperLeaderChanged,
        Event::ZooKeeperQuorumLost,
    ];

    /// As scenario files and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Event::EtcdLeaderChanged => "etcd-leader-changed",
            Event::EtcdLeaderDemoted => "etcd-leader-demoted",
            Event::JupyterMoved => "jupyter-moved",
            Event::SlotReplaced => "slot-replaced",
            Event::SlotLeft => "slot-left",
            Event::SlotMoved => "slot-moved",
            Event::MemberReplaced => "member-replaced",
            Event::MesosMasterChanged => "mesos-master-changed",
            Event::MesosMasterExited => "mesos-master-exited",
            Event::MesosAgentRecovered => "mesos-agent-recovered",
            Event::AgentUnreachable => "agent-unreachable",
            Event::FrameworkChanged => "framework-changed",
            Event::FrameworkExited => "framework-exited",
            Event::ZooKeeperLeaderChanged => "zookeeper-leader-changed",
            Event::ZooKeeperQuorumLost => "zookeeper-quorum-lost",
        }
    }

    /// What it is, in a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Event::EtcdLeaderChanged => {
                "Another slot's member leads etcd, in a higher term, than before the injection."
            }
            Event::EtcdLeaderDemoted => {
                "The member that led etcd before the injection names another leader in a higher term."
            }
            Event::JupyterMoved => {
                "Another slot than before listens on Jupyter's port, and the proxy answers with 200."
            }
            Event::SlotReplaced => "A higher incarnation of the victim's slot runs.",
            Event::SlotLeft => "No other member's /etc/hosts names the victim's slot any more.",
            Event::SlotMoved => "Every slot that ran on the victim runs, as a higher incarnation, on another host.",
            Event::MemberReplaced => "Another etcd member than before votes for the victim's slot.",
            Event::MesosMasterChanged => "Another master than before leads.",
            Event::MesosMasterExited => "The process of the master that led before the injection has ended, by itself.",
            Event::MesosAgentRecovered => {
                "The victim's agent is active at the leading master again: another process with the id it had."
            }
            Event::AgentUnreachable => "The leading master has given the victim's agent up.",
            Event::FrameworkChanged => "Another scheduler than before is active.",
            Event::FrameworkExited => {
                "The process of the scheduler that was active before the injection has ended, by itself."
            }
            Event::ZooKeeperLeaderChanged => "Another ZooKeeper server than before leads.",
            Event::ZooKeeperQuorumLost => "No ZooKeeper server leads a majority.",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

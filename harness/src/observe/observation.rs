//! What one tick saw: plain data, every probe with the interval in which it surely looked.
//!
//! An [`Observation`] is a snapshot at the end of a tick. Fast parts were all probed within the tick. Deep parts are the newest
//! results of slower sweeps and carry their own, older intervals. Times are [`Millis`] since the start of the run.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::config::Slot;
use stormbed::outpost::protocol::{
    ContainerState, ContainerView, EtcdView, GlusterView, LoginView, MachineView, MesosView, RoutesView, ZooKeeperView,
};

use super::cpu::CpuView;
use crate::fault::TargetClass;
use crate::invariant::Name;
use crate::invariant::own::Answer;

/// One look at one thing: it happened between `begin` and `end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe<T> {
    /// The look began after this moment.
    pub begin: Millis,
    /// And was over before this one.
    pub end: Millis,
    /// What was seen, or why nothing was.
    pub result: Result<T, String>,
}

/// What came of a question to a part: the outer error says that it could not even be asked, which tells nothing about it; the
/// inner one that it was asked, and refused or failed.
pub type Asked<T> = Result<Result<T, String>, String>;

/// The cluster that is being watched: fixed for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Host name prefix.
    pub prefix: String,
    /// The cluster's name (part of etcd keys and task ids).
    pub cluster: String,
    /// Address of every slot.
    pub addresses: BTreeMap<Slot, Ipv4Addr>,
    /// Workload pool (CIDR).
    pub pool: String,
    /// Address of every machine on the underlay.
    pub machines: BTreeMap<String, Ipv4Addr>,
    /// Names of the hosts.
    pub hosts: Vec<String>,
    /// Names of the Mesos masters, and the `ip:port` that each announces.
    pub masters: BTreeMap<String, String>,
    /// Names of the ZooKeeper servers.
    pub zookeepers: Vec<String>,
    /// Names of the framework's scheduler containers.
    pub frameworks: Vec<String>,
    /// The framework's Mesos name.
    pub framework_name: String,
    /// Port of Jupyter in a node.
    pub jupyter_port: u16,
    /// Name of the edge.
    pub edge: String,
}

impl Shape {
    /// How many parts of this kind there are.
    #[must_use]
    pub fn number_of(&self, class: TargetClass) -> usize {
        match class {
            TargetClass::Node | TargetClass::Etcd | TargetClass::Sshd | TargetClass::NodeAgent => self.addresses.len(),
            TargetClass::MesosMaster => self.masters.len(),
            TargetClass::ZooKeeper => self.zookeepers.len(),
            TargetClass::Framework => self.frameworks.len(),
            TargetClass::MesosAgent
            | TargetClass::Host
            | TargetClass::Brick
            | TargetClass::NetworkDriver
            | TargetClass::Bird => self.hosts.len(),
            TargetClass::Jupyter | TargetClass::Proxy => 1,
            TargetClass::Topology => self.machines.len(),
        }
    }

    /// Host name inside the container of a slot: `PREFIX-s<k>`.
    #[must_use]
    pub fn slot_hostname(&self, slot: Slot) -> String {
        format!("{}-s{slot}", self.prefix)
    }
}

/// One tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Counts from 0 within a run.
    pub tick: u64,
    /// The first probe began after this.
    pub begin: Millis,
    /// The last probe ended before this.
    pub end: Millis,
    /// The judge's own condition.
    pub runner: RunnerView,
    /// Probed in every tick.
    pub fast: Fast,
    /// Newest results of the slower sweeps.
    pub deep: Deep,
}

/// How well the runner itself is doing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunnerView {
    /// How much later than planned this tick began.
    pub late_ms: u64,
    /// Share of the last 10 s in which some process waited for a CPU, in percent (`/proc/pressure/cpu`); none if the kernel has no PSI.
    pub cpu_pressure: Option<f64>,
    /// The same for I/O.
    pub io_pressure: Option<f64>,
    /// Who had the CPUs since the tick before; none where the accounts can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuView>,
}

/// The fast tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fast {
    /// The topology's own containers (ZooKeepers, masters, frameworks, hosts, edge) by name, from the outer engine.
    pub parts: Probe<BTreeMap<String, PartView>>,
    /// Node containers, by host.
    pub containers: BTreeMap<String, Probe<Vec<ContainerView>>>,
    /// Routes and BGP sessions, by machine (hosts and edge).
    pub routes: BTreeMap<String, Probe<RoutesView>>,
    /// Processes and netfilter rules of the machines on which the scenario breaks something.
    pub machines: BTreeMap<String, Probe<MachineView>>,
    /// etcd, asked before everything else of this tick …
    pub etcd_before: Probe<BTreeMap<Slot, Result<EtcdView, String>>>,
    /// … and again after everything else.
    pub etcd_after: Probe<BTreeMap<Slot, Result<EtcdView, String>>>,
    /// Masters and agents.
    pub mesos: Probe<MesosView>,
    /// ZooKeeper servers and the masters' election.
    pub zookeeper: Probe<ZooKeeperView>,
    /// `GET /api/status` through the proxy, from outside.
    pub status: Probe<StatusView>,
}

/// A container of the topology itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    /// Container id.
    pub id: String,
    /// Engine state.
    pub state: ContainerState,
}

/// HTTP statuses of `/api/status` through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// With the token.
    pub with_token: u16,
    /// Without it; a right server refuses (401 or 403).
    pub without_token: u16,
}

/// The deep tier: newest results, each with its own interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Deep {
    /// Newest login per ordered pair (container logged in from, host name logged in to).
    pub logins: Vec<LoginProbe>,
    /// A cell run on a kernel through the proxy.
    pub kernel: Option<Probe<KernelView>>,
    /// A file written by one node and read by all; the inner error: it was not written.
    pub cross_read: Option<Probe<Result<CrossReadView, String>>>,
    /// A notebook saved through the proxy earlier, read back through it now.
    pub notebook: Option<Probe<NotebookView>>,
    /// Echoes from every container of a host to every slot's address, by host.
    pub reach: BTreeMap<String, Probe<ReachView>>,
    /// The volume.
    pub gluster: Option<Probe<GlusterView>>,
    /// Newest answers for invariants of the user's own ([`Asked`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<Name, Probe<Result<Answer, String>>>,
}

/// One fresh login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoginProbe {
    /// Slot logged in from.
    pub from: Slot,
    /// Its container.
    pub container: String,
    /// Host name logged in to.
    pub to: String,
    /// The result ([`Asked`]).
    pub probe: Probe<Result<LoginView, String>>,
}

/// A cell that printed its host name and a sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelView {
    /// `socket.gethostname()` of the kernel.
    pub hostname: String,
    /// The sum that it computed was right.
    pub computed: bool,
}

/// Who could read what `writer` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossReadView {
    /// The slot whose `/shared` was written.
    pub writer: Slot,
    /// By reader: true = read exactly what was written.
    pub readers: BTreeMap<Slot, Asked<bool>>,
}

/// A saved notebook read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotebookView {
    /// Its name.
    pub name: String,
    /// Slot that served Jupyter when it was saved (etcd leader by ground truth), if known.
    pub saved_by: Option<Slot>,
    /// Its content is what was saved.
    pub intact: bool,
}

/// Echoes of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachView {
    /// Pairs tried.
    pub tried: usize,
    /// (container id, address) without an answer.
    pub failed: Vec<(String, Ipv4Addr)>,
}

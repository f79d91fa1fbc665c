//! What the runner and an outpost say to each other: one JSON document per line, requests on the outpost's standard input,
//! answers on its standard output, in any order (matched by `id`). Nothing else is written to standard output.
//!
//! The runner stamps a probe's begin when it writes the request and its end when it has read the answer: an interval that
//! surely contains the look, without comparing clocks of machines.
//!
//! An outpost holds the faults that it injected, each under a lease. When its input ends, or no line came for
//! `heartbeat_timeout_ms`, it undoes all of them and exits 0; a fault whose lease is over it undoes by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use super::act::Act;
pub use super::commands::Ran;
use super::cut::Met;
pub use super::mesos::{AgentView, FrameworkView, MasterState, MasterView, MesosView, TaskView};
use super::processes::ProcessView;
use super::traces::FileTrace;
use crate::config::{Incarnation, Slot};

/// Version of this protocol; both sides come from one build, so a difference is a mistake of assembly.
pub const PROTOCOL_VERSION: u32 = 4;

/// A line from the runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the runner, unique per stream.
    pub id: u64,
    /// What to do.
    pub call: Call,
    /// The outpost gives up after this time and answers with an error.
    pub timeout_ms: u64,
}

/// A line from the outpost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// The result, or why there is none.
    pub result: Result<Reply, String>,
    /// There is no result because the outpost itself did not get round to it (too many requests, time over): that says nothing
    /// about what was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
}

impl Answer {
    /// What came of a request.
    #[must_use]
    pub fn of(id: u64, result: Result<Reply, String>) -> Self {
        Self { id, result, unasked: false }
    }

    /// A request that came to nothing for reasons of the outpost's own.
    #[must_use]
    pub fn unasked(id: u64, why: String) -> Self {
        Self { id, result: Err(why), unasked: true }
    }
}

/// What a runner can ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", content = "with", rename_all = "kebab-case")]
pub enum Call {
    /// First line of every stream. Answer: [`Reply::Ready`].
    Hello(Box<Hello>),
    /// Keeps faults alive. Answer: [`Reply::Done`].
    Heartbeat,
    /// The node containers of this host (all states). Answer: [`Reply::Containers`].
    Containers,
    /// Ask etcd at these addresses, each directly, at the same time. Answer: [`Reply::Etcd`].
    Etcd {
        /// Client addresses, by slot.
        endpoints: BTreeMap<Slot, Ipv4Addr>,
    },
    /// Routes to the pool and BGP sessions of this machine. Answer: [`Reply::Routes`].
    Routes,
    /// Ask every master and agent over HTTP. Answer: [`Reply::Mesos`].
    Mesos,
    /// Ask every ZooKeeper (`srvr`), and read the masters' election directory. Answer: [`Reply::ZooKeeper`].
    ZooKeeper,
    /// Fresh logins: outside → `from` with the operator's key, then `ssh <to.name>` there, strict checking, keys only; one entry per name.
    /// Answer: [`Reply::Logins`].
    Logins {
        /// The first hop.
        from: Ipv4Addr,
        /// Host names to log in to from there.
        names: Vec<String>,
    },
    /// From inside each running container of this host, one ICMP echo to every address. Answer: [`Reply::Reach`].
    Reach {
        /// Addresses to reach.
        to: Vec<Ipv4Addr>,
    },
    /// Heal state and brick state of the volume. Answer: [`Reply::Gluster`].
    Gluster,
    /// How many entries this host's own brick holds for others to heal from; none while it doesn't serve. Answer: [`Reply::Held`].
    Held,
    /// Checksums of the files in these directories on this host's own brick, past GlusterFS. Answer: [`Reply::BrickSums`].
    BrickSums {
        /// Relative to the volume.
        dirs: Vec<PathBuf>,
    },
    /// Put one key (linearizable) through any of the endpoints, trying one after another. Answer: [`Reply::Done`] = acknowledged.
    EtcdPut {
        /// Endpoints to try in this order; only the first that connects is used, an ambiguous outcome is an error.
        endpoints: Vec<Ipv4Addr>,
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Read all keys with a prefix, linearizable. Answer: [`Reply::EtcdRange`].
    EtcdRange {
        /// Endpoints to try in this order.
        endpoints: Vec<Ipv4Addr>,
        /// Prefix.
        prefix: String,
    },
    /// Create a file of one's own under the shared volume, write, fsync file and directory. Answer: [`Reply::Done`] = acknowledged.
    FileWrite {
        /// Path relative to the mount; must not exist. Parents are created.
        path: PathBuf,
        /// Content.
        content: String,
        /// The container (id) whose `/shared` is written, through `/proc/<pid>/root`; this host's own mount when absent.
        container: Option<String>,
    },
    /// Read every file of a directory under the shared volume. Answer: [`Reply::Files`].
    FileReadAll {
        /// Directory relative to the mount.
        dir: PathBuf,
        /// As in `FileWrite`.
        container: Option<String>,
    },
    /// Look for files on this host's brick and through its mount: evidence about what is missing. Answer: [`Reply::FileTraces`].
    FileTraces {
        /// Path relative to the volume → content.
        files: BTreeMap<PathBuf, String>,
    },
    /// Inject a fault; the outpost holds it under `fault`. Answer: [`Reply::Done`] once the engine or kernel has done it.
    Inject {
        /// The runner's name of this fault, unique per run.
        fault: String,
        /// What to do.
        act: Act,
        /// The outpost undoes it by itself after this time, whatever it hears from the runner.
        lease_ms: u64,
    },
    /// Undo a fault. One that isn't held is undone by what it did: another outpost may have made it and ended since. A target
    /// that is gone meanwhile is no error. Answer: [`Reply::Done`].
    Undo {
        /// The fault.
        fault: String,
        /// What was done.
        act: Act,
    },
    /// Undo whatever an outpost before this one has left behind. Answer: [`Reply::Swept`].
    Sweep,
    /// The processes of this machine's parts, and the cuts in its netfilter rules. Answer: [`Reply::Machine`].
    Machine,
    /// Run a command to its end, or kill it when its time is over. Answer: [`Reply::Ran`]; an error says that it could not be run, or
    /// did not end.
    Run {
        /// The container (id) of a node of this host; this machine itself when absent.
        container: Option<String>,
        /// Program and arguments.
        words: Vec<String>,
        /// It has this long: less than the request, so that there is an answer.
        within_ms: u64,
    },
    /// The cuts alone: quick, right after one was made. Answer: [`Reply::Cuts`].
    Cuts,
    /// The last lines of every log on this machine. Answer: [`Reply::Logs`].
    Logs {
        /// Lines per log.
        lines_max: usize,
    },
}

/// What an outpost must know; sent on its standard input only, because it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the runner.
    pub protocol: u32,
    /// Undo everything and exit after this long without a line.
    pub heartbeat_timeout_ms: u64,
    /// The cluster's name.
    pub cluster: String,
    /// The operator's private key (OpenSSH format). A secret.
    pub operator_private_key: String,
    /// Port of Jupyter in node containers.
    pub jupyter_port: u16,
    /// Mount of the shared volume on this machine, if it is a host.
    pub shared_mount: Option<PathBuf>,
    /// Name of the GlusterFS volume.
    pub volume: String,
    /// Directory of this machine's brick, if it has one.
    pub brick: Option<PathBuf>,
    /// Where the cluster's slots keep their data on this machine, one directory each, if it is a host.
    pub slots: Option<PathBuf>,
    /// The pool (CIDR): routes to look for.
    pub pool: String,
    /// Mesos masters: name → `ip:port`.
    pub masters: BTreeMap<String, String>,
    /// Mesos agents: name → `ip:port`.
    pub agents: BTreeMap<String, String>,
    /// ZooKeeper servers: name → `ip:port`.
    pub zookeepers: BTreeMap<String, String>,
    /// Path of the masters' election in ZooKeeper.
    pub election_path: String,
    /// Path of the schedulers' election there.
    pub schedulers_path: String,
    /// Directory of this machine's log files.
    pub log_dir: PathBuf,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("protocol", &self.protocol)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "got", content = "value", rename_all = "kebab-case")]
pub enum Reply {
    /// Answer to [`Call::Hello`].
    Ready {
        /// [`PROTOCOL_VERSION`] of the outpost.
        protocol: u32,
    },
    /// It happened, for certain.
    Done,
    /// Node containers of this host.
    Containers(Vec<ContainerView>),
    /// By slot; an endpoint that didn't answer has its error.
    Etcd(BTreeMap<Slot, Result<EtcdView, String>>),
    /// Routes and sessions.
    Routes(RoutesView),
    /// Masters and agents.
    Mesos(MesosView),
    /// ZooKeeper servers and the election directory.
    ZooKeeper(ZooKeeperView),
    /// By host name.
    Logins(BTreeMap<String, Result<LoginView, String>>),
    /// Echo results: (container id, address) that did not answer are listed, with the number of pairs tried.
    Reach {
        /// Pairs tried.
        tried: usize,
        /// Pairs without an answer.
        failed: Vec<(String, Ipv4Addr)>,
    },
    /// Heal and bricks.
    Gluster(GlusterView),
    /// Entries.
    Held(Option<u64>),
    /// Path relative to the volume → SHA-256.
    BrickSums(BTreeMap<String, String>),
    /// What was left behind and is undone now, one phrase each; empty on a clean machine.
    Swept(Vec<String>),
    /// Processes and cuts.
    Machine(MachineView),
    /// How a command ended.
    Ran(Ran),
    /// What became of packets, as in [`MachineView`].
    Cuts(BTreeMap<String, Met>),
    /// Key → value.
    EtcdRange(BTreeMap<String, String>),
    /// File name → content.
    Files(BTreeMap<String, String>),
    /// Where files lie.
    FileTraces {
        /// Path relative to the volume → what is seen of it.
        files: BTreeMap<PathBuf, FileTrace>,
        /// How long this host's client of the volume has run.
        mount_age_ms: Option<u64>,
    },
    /// Log name → last lines.
    Logs(BTreeMap<String, String>),
}

/// State of a container as its engine reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    /// Created, not started.
    Created,
    /// Running and not paused.
    Running,
    /// Frozen.
    Paused,
    /// Being restarted by the engine.
    Restarting,
    /// Ended.
    Exited,
    /// Anything else (dead, removing).
    Dead,
}

/// One node container, seen from its host: engine, `/proc`, sockets. Nothing here comes from the node agent's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerView {
    /// Full container id.
    pub id: String,
    /// Container name (`mesos-<uuid>`).
    pub name: String,
    /// From its label.
    pub slot: Slot,
    /// From its label.
    pub incarnation: Incarnation,
    /// Engine state.
    pub state: ContainerState,
    /// Process id of its process 1 on the host, when running.
    pub pid: Option<i32>,
    /// Start, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Exit code, when ended.
    pub exit_code: Option<i64>,
    /// Its hostname (`PREFIX-s<k>`).
    pub hostname: String,
    /// Its address on the workload network.
    pub address: Option<Ipv4Addr>,
    /// Content of its /etc/hosts, read through `/proc/<pid>/root`.
    pub hosts_file: Result<String, String>,
    /// TCP ports that something listens on in its network namespace, from `/proc/<pid>/net/tcp{,6}`.
    pub listening: Vec<u16>,
}

/// One etcd endpoint's answer (maintenance status and member list, asked of that endpoint alone).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdView {
    /// Cluster id of the answering member.
    pub cluster_id: u64,
    /// Member that answered.
    pub member_id: u64,
    /// Member it takes for the leader; 0 = none.
    pub leader_id: u64,
    /// Raft term.
    pub term: u64,
    /// Raft index.
    pub index: u64,
    /// Raft index it has applied.
    pub applied_index: u64,
    /// It is a learner.
    pub learner: bool,
    /// Errors and alarms that it reports.
    pub errors: Vec<String>,
    /// Its (serializable) view of the members.
    pub members: Vec<EtcdMember>,
}

/// A member in etcd's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// Member id.
    pub id: u64,
    /// Name; empty until it has started.
    pub name: String,
    /// Peer URLs.
    pub peer_urls: Vec<String>,
    /// It is a learner.
    pub learner: bool,
}

/// Routes and BGP sessions of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoutesView {
    /// Routes to addresses of the pool (/32s).
    pub routes: Vec<Route>,
    /// BGP sessions: protocol name → state (`Established`, `Active`, …).
    pub bgp: BTreeMap<String, String>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub to: Ipv4Addr,
    /// Next hop; none for a local workload.
    pub via: Option<Ipv4Addr>,
    /// Interface.
    pub dev: String,
}

/// The ZooKeeper ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZooKeeperView {
    /// By server name.
    pub servers: BTreeMap<String, Result<ZooKeeperServer, String>>,
    /// Children of the masters' election path that are candidates: (znode, address `ip:port`), smallest sequence first.
    pub election: Result<Vec<(String, String)>, String>,
    /// Candidates of the schedulers' election: (znode, name of the machine), smallest sequence first.
    pub schedulers: Result<Vec<(String, String)>, String>,
}

/// One server's `srvr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZooKeeperServer {
    /// `leader`, `follower`, `standalone`; anything else as it says.
    pub mode: String,
    /// Epoch: the upper 32 bits of its last zxid.
    pub epoch: u64,
}

/// What runs on a machine, and what doesn't pass it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineView {
    /// Running processes: `init` (process 1), parts by name, `brick`, and a node's `agent`, `etcd`, `sshd` and `jupyter` as
    /// `<container id>/<name>`.
    pub processes: BTreeMap<String, ProcessView>,
    /// Those of them that are stopped.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stopped: BTreeSet<String>,
    /// What became of the packets of each cut, by its chain (see [`super::cut::chain`]).
    pub cuts: BTreeMap<String, Met>,
    /// Faults that show in none of these, by the runner's names: each was seen to work when it was made, and shows still, or not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, bool>,
}

/// A fresh login that worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginView {
    /// `hostname` as printed there.
    pub hostname: String,
    /// IPv4 addresses of its interfaces, loopback left out.
    pub addresses: Vec<Ipv4Addr>,
    /// Time of the second hop alone.
    pub took_ms: u64,
}

/// The volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlusterView {
    /// Entries that wait for heal, over all bricks.
    pub heal_pending: u64,
    /// Entries in split brain. While many wait for heal nobody looks which of them are: they still wait when the others don't.
    pub split_brain: u64,
    /// Bricks online.
    pub bricks_online: u32,
    /// Bricks in all.
    pub bricks: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_wire() -> Result<(), serde_json::Error> {
        let request = Request {
            id: 7,
            call: Call::Inject { fault: "s1".into(), act: Act::PauseContainer { container: "c".into() }, lease_ms: 1 },
            timeout_ms: 1000,
        };
        let line = serde_json::to_string(&request)?;
        assert!(!line.contains('\n'));
        let back: Request = serde_json::from_str(&line)?;
        assert_eq!(back.id, 7);
        let endpoints = BTreeMap::from([(3, Ipv4Addr::LOCALHOST)]);
        let line = serde_json::to_string(&Call::Etcd { endpoints })?;
        assert!(matches!(serde_json::from_str(&line)?, Call::Etcd { endpoints } if endpoints.contains_key(&3)));
        let answer = Answer::of(7, Ok(Reply::Etcd(BTreeMap::from([(0, Err("refused".into()))]))));
        let back: Answer = serde_json::from_str(&serde_json::to_string(&answer)?)?;
        assert_eq!(back.result, answer.result);
        let answer = Answer::unasked(8, "too busy".into());
        let back: Answer = serde_json::from_str(&serde_json::to_string(&answer)?)?;
        assert!(back.unasked && back.result == answer.result);
        Ok(())
    }

    #[test]
    fn secrets_do_not_print() {
        let hello = Hello {
            protocol: 1,
            heartbeat_timeout_ms: 1,
            cluster: "c".into(),
            operator_private_key: "hush".into(),
            jupyter_port: 1,
            shared_mount: None,
            volume: String::new(),
            brick: None,
            slots: None,
            pool: String::new(),
            masters: BTreeMap::new(),
            agents: BTreeMap::new(),
            zookeepers: BTreeMap::new(),
            election_path: String::new(),
            schedulers_path: String::new(),
            log_dir: PathBuf::new(),
        };
        assert!(!format!("{hello:?}").contains("hush"));
    }
}

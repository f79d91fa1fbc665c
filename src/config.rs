//! What each program of the system is told at its start.
//!
//! Every program but the node agent reads one TOML file (`stormd <program> --config FILE`); the node agent reads JSON from
//! the environment variable [`NODE_CONFIG_VARIABLE`], because Mesos carries it there. None of these hold secrets: those are
//! files on a tmpfs ([`SecretsConfig`]). Times are milliseconds and say so in their names. Defaults of the Mesos programs are
//! Mesos's own (master/constants.hpp, agent flags); the harness sets the topology's tighter ones.

mod defaults;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The environment variable that carries a [`NodeConfig`] as JSON into a node's container.
pub const NODE_CONFIG_VARIABLE: &str = "STORMBED_NODE";
/// Label on every node container inside a host: its slot number.
pub const LABEL_SLOT: &str = "stormbed.slot";
/// Label on every node container inside a host: its incarnation number.
pub const LABEL_INCARNATION: &str = "stormbed.incarnation";
/// Label on every node container inside a host: the cluster's name.
pub const LABEL_CLUSTER: &str = "stormbed.cluster";
/// Where `stormd` lies in every image and container.
pub const STORMD: &str = "/opt/stormbed/stormd";

/// A slot's number: 0 .. N-1.
pub type Slot = u32;
/// An incarnation of a slot: starts at 1, only grows, never reused.
pub type Incarnation = u64;

/// A configuration file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration file {path}: {source}; give an existing TOML file with --config")]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file isn't what the program expects.
    #[error("the configuration file {path} is not valid: {source}")]
    Parse {
        /// The file that was read.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
}

/// Reads a program's configuration from a TOML file.
///
/// # Errors
/// If the file can't be read or doesn't fit `T`; the message names the file, the place, and what was expected.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

/// `stormd master`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterConfig {
    /// Address to listen on and to announce.
    pub ip: Ipv4Addr,
    /// Name announced to clients in redirects and `MasterInfo` (usually the address).
    pub hostname: String,
    /// Port of the HTTP API.
    #[serde(default = "defaults::port_master")]
    pub port: u16,
    /// `zk://host:port,…/path` of the election; a master without it is the only one, and leads at once.
    #[serde(default)]
    pub zk: Option<String>,
    /// Where a master without ZooKeeper keeps the agents that it knows of.
    #[serde(default)]
    pub work_dir: Option<PathBuf>,
    /// ZooKeeper session timeout.
    #[serde(default = "defaults::ms_10s")]
    pub zk_session_timeout_ms: u64,
    /// Time between pings of an agent.
    #[serde(default = "defaults::ms_15s")]
    pub agent_ping_timeout_ms: u64,
    /// Missed pings after which an agent is unreachable.
    #[serde(default = "defaults::five")]
    pub max_agent_ping_timeouts: u32,
    /// How long a new leader waits for the agents that its predecessor knew.
    #[serde(default = "defaults::ms_10min")]
    pub agent_reregister_timeout_ms: u64,
    /// Time between batch allocations.
    #[serde(default = "defaults::ms_1s")]
    pub allocation_interval_ms: u64,
    /// Time between HEARTBEAT events on a scheduler's stream.
    #[serde(default = "defaults::ms_15s")]
    pub heartbeat_interval_ms: u64,
    /// Offers are rescinded after this time; never when absent.
    #[serde(default)]
    pub offer_timeout_ms: Option<u64>,
    /// The only roles that frameworks may subscribe to; any role when absent.
    #[serde(default)]
    pub roles: Option<Vec<String>>,
    /// Whether frameworks may run as root.
    #[serde(default = "defaults::yes")]
    pub root_submissions: bool,
}

/// `stormd agent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Address to listen on and to announce.
    pub ip: Ipv4Addr,
    /// Name in offers (`Offer.hostname`); the framework takes it for a slot's home.
    pub hostname: String,
    /// Port of the agent's HTTP endpoints.
    #[serde(default = "defaults::port_agent")]
    pub port: u16,
    /// Where the master is found: `zk://host:port,…/path`, or its `host:port` if it is the only one.
    pub master: String,
    /// Where checkpoints and sandboxes lie.
    pub work_dir: PathBuf,
    /// Resources in Mesos's notation, e.g. `cpus:2;mem:2048;disk:1024`.
    pub resources: String,
    /// Attributes in Mesos's notation, e.g. `rack:r1;level:3`; shown in offers.
    #[serde(default)]
    pub attributes: String,
    /// The engine that runs containers.
    #[serde(default = "defaults::docker_socket")]
    pub docker_socket: PathBuf,
    /// Registration is retried after a random part of this, doubled each time, at most a minute.
    #[serde(default = "defaults::ms_1s")]
    pub registration_backoff_ms: u64,
    /// First retry of an unacknowledged status update; doubled each time, at most ten minutes.
    #[serde(default = "defaults::ms_10s")]
    pub status_update_retry_ms: u64,
    /// Who runs containers here; of Mesos's containerizers there is only `docker`.
    #[serde(default = "defaults::containerizers")]
    pub containerizers: Vec<String>,
    /// Grace of a KILL without a policy.
    #[serde(default = "defaults::ms_5s")]
    pub executor_shutdown_grace_ms: u64,
    /// A task whose executor hasn't subscribed after this has failed; its image is pulled within it, too.
    #[serde(default = "defaults::ms_60s")]
    pub executor_registration_timeout_ms: u64,
    /// A restarted agent waits this long for its executors to come back.
    #[serde(default = "defaults::ms_2s")]
    pub executor_reregistration_timeout_ms: u64,
    /// An executor waits this long for its agent to come back; then it stops its task.
    #[serde(default = "defaults::ms_15min")]
    pub recovery_timeout_ms: u64,
    /// Whether containers that no executor runs any more are removed.
    #[serde(default = "defaults::yes")]
    pub docker_kill_orphans: bool,
    /// A stopped container is removed after this time.
    #[serde(default = "defaults::ms_6h")]
    pub docker_remove_delay_ms: u64,
}

/// What the framework keeps running, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Name of the cluster: part of ZooKeeper paths, etcd keys and tokens.
    pub name: String,
    /// Host names are `PREFIX-0 … PREFIX-n`.
    pub prefix: String,
    /// Number of slots N.
    pub nodes: u32,
    /// Network of the workloads (CIDR), e.g. `198.19.0.0/24`.
    pub pool: String,
    /// Slot k has the address pool base + this + k.
    #[serde(default = "defaults::ten")]
    pub first_address: u32,
    /// Name of the Docker network on every host.
    #[serde(default = "defaults::network")]
    pub network: String,
    /// Image of the nodes.
    pub image: String,
    /// CPUs per node (Mesos scalar).
    pub cpus: f64,
    /// Memory per node.
    pub mem_mb: f64,
    /// etcd's heartbeat interval.
    #[serde(default = "defaults::ms_100")]
    pub etcd_heartbeat_ms: u64,
    /// etcd's election timeout.
    #[serde(default = "defaults::ms_1s")]
    pub etcd_election_ms: u64,
    /// TTL of a registration's lease, in seconds (etcd's unit).
    #[serde(default = "defaults::five_s")]
    pub lease_ttl_s: i64,
    /// Port of Jupyter on the leader.
    #[serde(default = "defaults::port_jupyter")]
    pub jupyter_port: u16,
    /// Directory on a host where GlusterFS is mounted; `/shared` in the node.
    #[serde(default = "defaults::shared_on_host")]
    pub shared_on_host: PathBuf,
    /// Directory on a host under which each slot's data directory lies (`<dir>/<cluster>/<slot>`); `/var/lib/stormbed` in the node.
    #[serde(default = "defaults::slots_on_host")]
    pub slots_on_host: PathBuf,
    /// The secrets' directory on a host (tmpfs), mounted read-only at the same place in the node.
    #[serde(default)]
    pub secrets: SecretsConfig,
}

impl ClusterConfig {
    /// The address of a slot: pool base + `first_address` + slot.
    ///
    /// # Errors
    /// If the pool isn't a CIDR or the slot's address lies outside of it.
    pub fn address(&self, slot: Slot) -> Result<Ipv4Addr, String> {
        let (base, bits) = parse_cidr(&self.pool)?;
        let offset = self.first_address + slot;
        let size = 1u64 << (32 - u32::from(bits));
        if u64::from(offset) >= size.saturating_sub(1) {
            return Err(format!("slot {slot} has no address in the pool {}: it holds {size} addresses", self.pool));
        }
        Ok(Ipv4Addr::from(u32::from(base) + offset))
    }
}

/// Splits `a.b.c.d/n` into its network address and prefix length.
///
/// # Errors
/// If the text isn't an IPv4 CIDR, or has host bits set.
pub fn parse_cidr(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let bad = || format!("'{text}' is not an IPv4 network; expected a.b.c.d/n with n from 0 to 32");
    let (address, bits) = text.split_once('/').ok_or_else(bad)?;
    let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
    let bits: u8 = bits.parse().map_err(|_| bad())?;
    if bits > 32 {
        return Err(bad());
    }
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    if u32::from(address) & !mask != 0 {
        return Err(format!(
            "'{text}' has host bits set; did you mean {}/{bits}?",
            Ipv4Addr::from(u32::from(address) & mask)
        ));
    }
    Ok((address, bits))
}

/// Where the secrets lie: a tmpfs directory on each host, files 0600, mounted read-only into tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsConfig {
    /// The directory.
    pub dir: PathBuf,
    /// File with the Jupyter token.
    pub jupyter_token: String,
    /// File with the operator's public key (one `authorized_keys` line).
    pub operator_key: String,
}

impl Default for SecretsConfig {
    fn default() -> Self {
        Self {
            dir: "/run/stormbed/secrets".into(),
            jupyter_token: "jupyter-token".into(),
            operator_key: "operator.pub".into(),
        }
    }
}

/// `stormd framework`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkConfig {
    /// Name of this scheduler instance in the election (e.g. `framework-1`).
    pub instance: String,
    /// Address announced in `FrameworkInfo.hostname`.
    pub ip: Ipv4Addr,
    /// `zk://host:port,…/path` where the leading master is found.
    pub mesos_zk: String,
    /// `zk://host:port,…/path` under which the framework keeps its election, id and slot table.
    pub state_zk: String,
    /// ZooKeeper session timeout.
    #[serde(default = "defaults::ms_10s")]
    pub zk_session_timeout_ms: u64,
    /// Mesos role to subscribe with.
    #[serde(default = "defaults::role")]
    pub role: String,
    /// Mesos's `failover_timeout`, in seconds: how long tasks outlive a scheduler that is gone. Mesos's default 0 kills every task.
    #[serde(default = "defaults::seconds_7days")]
    pub failover_timeout_s: f64,
    /// A slot waits this long for an offer from its home before it may start elsewhere.
    #[serde(default = "defaults::ms_30s")]
    pub home_patience_ms: u64,
    /// Time between implicit reconciliations.
    #[serde(default = "defaults::ms_60s")]
    pub reconcile_interval_ms: u64,
    /// What to keep running.
    pub cluster: ClusterConfig,
}

/// How a node's etcd member may come into being.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Bootstrap {
    /// Generation g is forming: an empty directory starts as `new` with the token `<cluster>-g<g>`; a directory of another generation is wiped.
    Forming {
        /// The generation.
        generation: u64,
    },
    /// The cluster has formed from generation g: an empty directory only ever joins as a learner of the existing cluster.
    Formed {
        /// The generation it formed from; makes the token.
        generation: u64,
    },
}

/// The etcd cluster token made from a generation.
#[must_use]
pub fn cluster_token(cluster: &str, generation: u64) -> String {
    format!("{cluster}-g{generation}")
}

/// `stormd node`: one incarnation of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The cluster's name.
    pub cluster: String,
    /// Host name prefix.
    pub prefix: String,
    /// This slot.
    pub slot: Slot,
    /// This incarnation of the slot.
    pub incarnation: Incarnation,
    /// Address of every slot, by slot number.
    pub addresses: BTreeMap<Slot, Ipv4Addr>,
    /// How etcd may start.
    pub bootstrap: Bootstrap,
    /// True when the slot's former data is *known* to be lost (it starts away from its home): remove the stale member, join as learner.
    pub data_lost: bool,
    /// Where this slot's data lies (in the container).
    pub data_dir: PathBuf,
    /// Where GlusterFS is mounted (in the container): Jupyter's root.
    pub shared_dir: PathBuf,
    /// Secrets.
    pub secrets: SecretsConfig,
    /// etcd's heartbeat interval.
    pub etcd_heartbeat_ms: u64,
    /// etcd's election timeout.
    pub etcd_election_ms: u64,
    /// TTL of the registration's lease, in seconds.
    pub lease_ttl_s: i64,
    /// Port of Jupyter.
    pub jupyter_port: u16,
}

/// `stormd proxy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The cluster's name.
    pub cluster: String,
    /// Address of every slot: where etcd (2379) is asked for the leader.
    pub addresses: BTreeMap<Slot, Ipv4Addr>,
    /// Port of Jupyter on the leader.
    #[serde(default = "defaults::port_jupyter")]
    pub jupyter_port: u16,
    /// A GET or HEAD that meets a move waits at most this long for the next leader before it gets 503.
    #[serde(default = "defaults::ms_15s")]
    pub wait_max_ms: u64,
    /// Requests that may wait at the same time; more get 503 at once.
    #[serde(default = "defaults::waiting_max")]
    pub waiting_max: usize,
}

/// `stormd calico`: the network and IPAM plugin of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalicoConfig {
    /// Directory of the plugin sockets (`calico.sock`, `calico-ipam.sock`).
    #[serde(default = "defaults::plugin_dir")]
    pub plugin_dir: PathBuf,
    /// Directory of the persisted allocations.
    pub state_dir: PathBuf,
    /// The pool (CIDR) that networks may use.
    pub pool: String,
}

/// A program of Apache Mesos in the place of the embedded one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApacheConfig {
    /// Where it listens when it is ready.
    pub listen: SocketAddr,
    /// Program and flags.
    pub command: Vec<String>,
}

/// BIRD on a machine: BGP with the peers, the pool's /32 routes in and out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BirdConfig {
    /// This machine's underlay address (router id and source).
    pub address: Ipv4Addr,
    /// The other speakers: name → address. Machines without workloads peer with the hosts only.
    pub peers: BTreeMap<String, Ipv4Addr>,
    /// The pool (CIDR) whose /32s are announced and accepted.
    pub pool: String,
    /// Autonomous system number (Calico's default 64512).
    #[serde(default = "defaults::asn")]
    pub asn: u32,
}

/// The shared volume on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlusterConfig {
    /// Name of the volume.
    pub volume: String,
    /// This host's brick.
    pub brick: PathBuf,
    /// Addresses of all hosts, this one included: volfile servers of the mount.
    pub servers: Vec<Ipv4Addr>,
    /// Where the volume is mounted.
    pub mount: PathBuf,
}

/// The inner engine of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerConfig {
    /// dockerd's data-root.
    pub data_root: PathBuf,
    /// A data-root with the images, hard-linked into an empty `data_root` before the first start.
    pub seed: Option<PathBuf>,
    /// Name of the workload network to create with the calico driver over the whole pool.
    pub network: String,
}

/// `stormd supervise`: process 1 of every container of the topology. It runs the parts that are configured, in
/// dependency order, reaps children, starts a part that ended again after 1 s, and keeps down what it is told to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuperviseConfig {
    /// This machine's name.
    pub name: String,
    /// Where the parts' logs go, one file each.
    #[serde(default = "defaults::log_dir")]
    pub log_dir: PathBuf,
    /// Prepare nested cgroups and writable /sys (hosts only).
    #[serde(default)]
    pub nested_engine: bool,
    /// BIRD.
    pub bird: Option<BirdConfig>,
    /// The network plugin.
    pub calico: Option<CalicoConfig>,
    /// The inner engine (after the plugin).
    pub docker: Option<DockerConfig>,
    /// glusterd and the mount.
    pub gluster: Option<GlusterConfig>,
    /// The Mesos agent (after engine, network and mount).
    pub agent: Option<AgentConfig>,
    /// Apache's agent in its place.
    pub apache_agent: Option<ApacheConfig>,
    /// The Mesos master.
    pub master: Option<MasterConfig>,
    /// Apache's master in its place.
    pub apache_master: Option<ApacheConfig>,
    /// The framework's scheduler (after BIRD).
    pub framework: Option<FrameworkConfig>,
    /// The proxy (after BIRD).
    pub proxy: Option<ProxyConfig>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_needs_a_clean_network_address() {
        assert_eq!(parse_cidr("198.19.3.0/24"), Ok((Ipv4Addr::new(198, 19, 3, 0), 24)));
        assert!(parse_cidr("198.19.3.7/24").is_err_and(|e| e.contains("198.19.3.0/24")));
        assert!(parse_cidr("198.19.3.0").is_err());
        assert!(parse_cidr("198.19.3.0/33").is_err());
    }
}

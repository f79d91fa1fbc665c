//! What a topology is like. Everything has a default; a TOML file may change any of it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stormbed::config::parse_cidr;

use super::mesos::MesosConfig;

/// A topology's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopologyConfig {
    /// Name of the cluster: part of ZooKeeper paths and etcd keys.
    pub cluster: String,
    /// Host names are `PREFIX-0 … PREFIX-n`.
    pub prefix: String,
    /// Number of nodes (slots).
    pub nodes: u32,
    /// Number of hosts; the shared volume has one replica on each.
    pub hosts: u8,
    /// Number of ZooKeeper servers.
    pub zookeepers: u8,
    /// Number of Mesos masters.
    pub masters: u8,
    /// Number of schedulers.
    pub frameworks: u8,
    /// The range of the underlays: run R gets its R-th /24.
    pub underlay: String,
    /// The range of the workload networks: run R gets its R-th /24.
    pub pool: String,
    /// Port of the proxy on this machine's loopback; any free one when absent.
    pub proxy_port: Option<u16>,
    /// The volume that outlives a topology.
    pub cache_volume: String,
    /// CPUs per node (Mesos scalar; shares, not a cap).
    pub node_cpus: f64,
    /// Memory per node.
    pub node_mem_mb: u32,
    /// Whose Mesos runs.
    pub mesos: MesosConfig,
    /// Times inside the topology.
    pub timing: Timing,
    /// How long each stage of the start may take.
    pub patience: Patience,
}

/// Times inside the topology: tighter than the programs' own defaults, so that failures are noticed in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// ZooKeeper's tick.
    pub zookeeper_tick_ms: u64,
    /// Ticks that a ZooKeeper follower may lag.
    pub zookeeper_sync_ticks: u32,
    /// ZooKeeper sessions of masters, agents and schedulers.
    pub session_ms: u64,
    /// Time between a master's pings of an agent.
    pub agent_ping_ms: u64,
    /// Missed pings after which an agent is unreachable.
    pub agent_pings: u32,
    /// How long GlusterFS waits for a silent brick.
    pub storage_ping_s: u32,
    /// Time between GlusterFS's looks for something to heal.
    pub storage_heal_s: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            zookeeper_tick_ms: 500,
            zookeeper_sync_ticks: 5,
            session_ms: 10_000,
            agent_ping_ms: 1_000,
            agent_pings: 10,
            storage_ping_s: 5,
            storage_heal_s: 5,
        }
    }
}

/// How long each stage of the start may take. Measured warm: machines 5 s, ZooKeeper 3 s, storage 5 s, Mesos 5 s,
/// nodes and Jupyter 8 s on two cores; the bounds leave room for a machine ten times as slow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Until ZooKeeper has a leader and all servers serve.
    pub zookeeper_s: u64,
    /// Until the volume is mounted on all hosts.
    pub storage_s: u64,
    /// Until a master leads and all agents are active.
    pub mesos_s: u64,
    /// Until all nodes run.
    pub nodes_s: u64,
    /// Until Jupyter answers through the proxy.
    pub jupyter_s: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { zookeeper_s: 60, storage_s: 90, mesos_s: 90, nodes_s: 120, jupyter_s: 120 }
    }
}

impl Default for TopologyConfig {
    fn default() -> Self {
        Self {
            cluster: "storm".into(),
            prefix: "storm".into(),
            nodes: 5,
            hosts: 3,
            zookeepers: 3,
            masters: 3,
            frameworks: 2,
            // Reserved for benchmarks (RFC 2544): never anybody's own network.
            underlay: "198.18.0.0/16".into(),
            pool: "198.19.0.0/16".into(),
            proxy_port: None,
            cache_volume: "stormbed-cache".into(),
            node_cpus: 0.5,
            node_mem_mb: 768,
            mesos: MesosConfig::default(),
            timing: Timing::default(),
            patience: Patience::default(),
        }
    }
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}")]
pub struct BadConfig {
    /// The file, or the key in it.
    pub place: String,
    /// What was expected and what was found.
    pub why: String,
}

impl TopologyConfig {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// If it can't be read, isn't valid TOML, or asks for something impossible.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| BadConfig {
            place: place.clone(),
            why: format!("{e}; give an existing TOML file with --config"),
        })?;
        let config: Self = toml::from_str(&text).map_err(|e| BadConfig { place: place.clone(), why: e.to_string() })?;
        config.validate().map_err(|e| BadConfig { place: format!("{place}: {}", e.place), why: e.why })?;
        Ok(config)
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Names the first key that doesn't fit, and what would.
    pub fn validate(&self) -> Result<(), BadConfig> {
        for (key, name) in [("cluster", &self.cluster), ("prefix", &self.prefix)] {
            if !is_label(name) {
                return Err(bad(
                    key,
                    format!(
                        "'{name}' can't be part of a host name; expected up to 40 lower-case letters, digits and inner dashes, a letter first"
                    ),
                ));
            }
        }
        for (key, value, least, most) in [
            ("nodes", self.nodes, 1, 99),
            ("hosts", self.hosts.into(), 3, 9),
            ("zookeepers", self.zookeepers.into(), 1, 9),
            ("masters", self.masters.into(), 1, 9),
            ("frameworks", self.frameworks.into(), 1, 9),
        ] {
            if !(least..=most).contains(&value) {
                return Err(bad(key, format!("expected {least} to {most}, found {value}")));
            }
        }
        for (key, range) in [("underlay", &self.underlay), ("pool", &self.pool)] {
            let (_, bits) = parse_cidr(range).map_err(|why| bad(key, why))?;
            if bits > 24 {
                return Err(bad(key, format!("'{range}' is too small: every run takes a /24 of it")));
            }
        }
        if self.node_cpus <= 0.0 || !self.node_cpus.is_finite() {
            return Err(bad("node_cpus", format!("expected more than 0, found {}", self.node_cpus)));
        }
        if self.node_mem_mb < 256 {
            return Err(bad(
                "node_mem_mb",
                format!("etcd, sshd and Jupyter need at least 256, found {}", self.node_mem_mb),
            ));
        }
        self.mesos.validate()
    }
}

pub(super) fn bad(key: &str, why: String) -> BadConfig {
    BadConfig { place: key.to_owned(), why }
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inner)
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_any_key_may_be_left_out() -> Result<(), Box<dyn std::error::Error>> {
        TopologyConfig::default().validate()?;
        let config: TopologyConfig = toml::from_str("nodes = 3\n[timing]\nsession_ms = 5000\n")?;
        assert_eq!((config.nodes, config.hosts), (3, 3));
        assert_eq!(config.timing.zookeeper_tick_ms, 500);
        Ok(())
    }

    #[test]
    fn errors_name_the_key_and_what_was_expected() {
        let check = |change: fn(&mut TopologyConfig)| {
            let mut config = TopologyConfig::default();
            change(&mut config);
            config.validate().expect_err("it is wrong").to_string()
        };
        assert!(check(|c| c.prefix = "Storm_1".into()).starts_with("prefix: 'Storm_1'"));
        assert_eq!(check(|c| c.nodes = 0), "nodes: expected 1 to 99, found 0");
        assert!(check(|c| c.pool = "198.19.0.0/28".into()).contains("too small"));
        assert!(check(|c| c.underlay = "10.1.2.3/8".into()).contains("did you mean 10.0.0.0/8"));
        assert!(toml::from_str::<TopologyConfig>("node = 3").is_err());
    }
}

//! What a topology is like. Everything has a default; a TOML file may change any of it.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stormbed::config::parse_cidr;

use super::mesos::MesosConfig;
use crate::document::diagnose::Mistakes;
use crate::document::grammar::{Format, Grammar, LABEL};
use crate::document::place::Place;
use crate::document::{self, typed};

/// The grammar of configuration files.
pub static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar::of::<TopologyConfig>(FORMATS));
const FORMATS: &[Format] = &[
    LABEL,
    Format {
        name: "cidr",
        check: |text| range(text).map(drop),
        allowed: "an IPv4 network of at least a /24, which every run takes of it: \"198.18.0.0/16\"",
    },
];

/// A topology's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a configuration")]
pub struct TopologyConfig {
    /// Name of the cluster: part of ZooKeeper paths and etcd keys.
    #[schemars(extend("format" = "label"))]
    pub cluster: String,
    /// Host names are `PREFIX-0 … PREFIX-n`; a scenario's own `[cluster] prefix` wins.
    #[schemars(extend("format" = "label"))]
    pub prefix: String,
    /// Number of nodes (slots); a scenario's own `[cluster] nodes` wins.
    #[schemars(range(min = 1, max = 99))]
    pub nodes: u32,
    /// Number of hosts; the shared volume has one replica on each.
    #[schemars(range(min = 3, max = 9))]
    pub hosts: u8,
    /// Number of ZooKeeper servers.
    #[schemars(range(min = 1, max = 9))]
    pub zookeepers: u8,
    /// Number of Mesos masters.
    #[schemars(range(min = 1, max = 9))]
    pub masters: u8,
    /// Number of schedulers.
    #[schemars(range(min = 1, max = 9))]
    pub frameworks: u8,
    /// The range of the underlays: run R gets its R-th /24.
    #[schemars(extend("format" = "cidr"))]
    pub underlay: String,
    /// The range of the workload networks: run R gets its R-th /24.
    #[schemars(extend("format" = "cidr"))]
    pub pool: String,
    /// Port of the proxy on this machine's loopback; any free one when left out.
    #[schemars(range(min = 1, max = 65535))]
    pub proxy_port: Option<u16>,
    /// The Docker volume that outlives a topology.
    #[schemars(length(min = 1, max = 200))]
    pub cache_volume: String,
    /// CPUs per node (Mesos's scalar: shares, not a cap).
    #[schemars(range(max = 64), extend("exclusiveMinimum" = 0))]
    pub node_cpus: f64,
    /// Memory per node; etcd, sshd and Jupyter need at least 256.
    #[schemars(range(min = 256, max = 65536))]
    pub node_mem_mb: u32,
    /// Whose Mesos runs.
    pub mesos: MesosConfig,
    /// Times inside the topology.
    pub timing: Timing,
    /// How long each stage of the start may take.
    pub patience: Patience,
}

/// Times inside the topology: tighter than the programs' own defaults, so that failures are noticed in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "[timing]")]
pub struct Timing {
    /// ZooKeeper's tick.
    #[schemars(range(min = 100, max = 10_000))]
    pub zookeeper_tick_ms: u64,
    /// Ticks that a ZooKeeper follower may lag.
    #[schemars(range(min = 2, max = 100))]
    pub zookeeper_sync_ticks: u32,
    /// ZooKeeper sessions of masters, agents and schedulers: from 2 to 20 ticks, as ZooKeeper grants them.
    #[schemars(range(min = 1_000, max = 120_000))]
    pub session_ms: u64,
    /// Time between a master's pings of an agent.
    #[schemars(range(min = 100, max = 60_000))]
    pub agent_ping_ms: u64,
    /// Missed pings after which an agent is unreachable.
    #[schemars(range(min = 1, max = 100))]
    pub agent_pings: u32,
    /// How long GlusterFS waits for a silent brick.
    #[schemars(range(min = 1, max = 1_013))]
    pub storage_ping_s: u32,
    /// Time between GlusterFS's looks for something to heal.
    #[schemars(range(min = 5, max = 3_600))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "[patience]")]
pub struct Patience {
    /// Until ZooKeeper has a leader and all servers serve.
    #[schemars(range(min = 1, max = 3_600))]
    pub zookeeper_s: u64,
    /// Until the volume is mounted on all hosts.
    #[schemars(range(min = 1, max = 3_600))]
    pub storage_s: u64,
    /// Until a master leads and all agents are active.
    #[schemars(range(min = 1, max = 3_600))]
    pub mesos_s: u64,
    /// Until all nodes run.
    #[schemars(range(min = 1, max = 3_600))]
    pub nodes_s: u64,
    /// Until Jupyter answers through the proxy.
    #[schemars(range(min = 1, max = 3_600))]
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
pub enum BadConfig {
    /// There is no such file, or none that can be read.
    #[error("{0}")]
    Unreadable(String),
    /// What is wrong with the file, each thing with its place.
    #[error("{:?}", miette::Report::new(.0.clone()))]
    File(Mistakes),
    /// What is wrong with a configuration that comes from no file.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Values(Vec<Objection>),
}

/// A key whose value doesn't fit the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The way to it.
    pub key: &'static [&'static str],
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key.join("."), self.why, self.help)
    }
}

impl TopologyConfig {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// If it can't be read, isn't valid TOML, or asks for something impossible: all mistakes at once.
    pub fn load(path: &Path) -> Result<Self, BadConfig> {
        let text = document::text_of(path, "TOML file with --config").map_err(BadConfig::Unreadable)?;
        Self::read(&path.display().to_string(), &text).map_err(BadConfig::File)
    }

    /// Reads and validates a file's text.
    ///
    /// # Errors
    /// All mistakes at once, each with its place.
    pub fn read(file: &str, text: &str) -> Result<Self, Mistakes> {
        let read = document::read(file, text, "a configuration", &GRAMMAR, |right, d| {
            let config: Self = typed(right, &Place::root(), d)?;
            for Objection { key, why, help } in config.objections() {
                let place = key.iter().fold(Place::root(), |place, key| place.key(*key));
                d.at(&place, why, help);
            }
            Some(config)
        });
        read.map(|(config, _)| config)
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Names the keys that don't fit, and what would.
    pub fn validate(&self) -> Result<(), BadConfig> {
        let objections = self.objections();
        if objections.is_empty() { Ok(()) } else { Err(BadConfig::Values(objections)) }
    }

    fn objections(&self) -> Vec<Objection> {
        let mut all = self.mesos.objections();
        let timing = &self.timing;
        let (least, most) = (2 * timing.zookeeper_tick_ms, 20 * timing.zookeeper_tick_ms);
        if !(least..=most).contains(&timing.session_ms) {
            all.push(Objection {
                key: &["timing", "session_ms"],
                why: format!(
                    "ZooKeeper grants sessions of 2 to 20 ticks of {} ms, not of {} ms",
                    timing.zookeeper_tick_ms, timing.session_ms
                ),
                help: format!("from {least} to {most}; or change 'zookeeper_tick_ms'"),
            });
        }
        if let (Ok(underlay), Ok(pool)) = (range(&self.underlay), range(&self.pool))
            && underlay.0.max(pool.0) <= underlay.1.min(pool.1)
        {
            all.push(Objection {
                key: &["pool"],
                why: format!("{} meets the underlay {}", self.pool, self.underlay),
                help: "give two ranges that have nothing in common".to_owned(),
            });
        }
        all
    }
}

/// First and last address of a range that runs take networks of.
fn range(text: &str) -> Result<(u32, u32), String> {
    let (address, bits) = parse_cidr(text)?;
    if bits > 24 {
        return Err(format!("'{text}' is too small: every run takes a /24 of it"));
    }
    let first = u32::from(address);
    Ok((first, first | u32::MAX.checked_shr(bits.into()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_any_key_may_be_left_out() -> Result<(), Box<dyn std::error::Error>> {
        TopologyConfig::default().validate()?;
        assert_eq!(TopologyConfig::read("c.toml", "")?, TopologyConfig::default());
        let config = TopologyConfig::read("c.toml", "nodes = 3\nnode_cpus = 1\n[timing]\nsession_ms = 5000\n")?;
        assert_eq!((config.nodes, config.hosts), (3, 3));
        assert_eq!((config.timing.zookeeper_tick_ms, config.timing.session_ms), (500, 5_000));
        let table = toml::to_string(&TopologyConfig::default())?;
        assert_eq!(TopologyConfig::read("c.toml", &table)?, TopologyConfig::default(), "what it writes it reads");
        Ok(())
    }

    #[test]
    fn a_configuration_without_a_file_is_checked_too() {
        let mut config = TopologyConfig::default();
        config.timing.session_ms = 11_000;
        let wrong = config.validate().expect_err("20 ticks are 10 s").to_string();
        assert!(wrong.starts_with("timing.session_ms: ZooKeeper grants sessions of 2 to 20 ticks"), "{wrong}");
    }
}

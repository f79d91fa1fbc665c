//! The agent inside each node container: process 1 of one incarnation of one slot.
//!
//! # Layout
//! * [`core`]: everything that is decided; pure.
//! * [`process`]: children, and the reaping of orphans.
//! * [`disk`]: the slot's data directory; [`files`]: files that are kept as written.
//! * [`etcd`], [`ssh`], [`jupyter`]: the three programs: commands, configuration, questions.
//! * [`session`]: the tasks around one run of the local etcd.
//! * `shell`: carries out what the core decides.

pub mod core;
pub mod disk;
pub mod etcd;
pub mod files;
pub mod jupyter;
pub mod process;
pub mod session;
mod shell;
pub mod ssh;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::core::{Event, NodeCore, Setup, TICK};
use self::shell::{Shell, Verdict};
use crate::clock::Clock;
use crate::config::{NODE_CONFIG_VARIABLE, NodeConfig, Slot};

/// Events that may wait for the core; their senders wait beyond that. The core takes microseconds for one.
const EVENTS_MAX: usize = 256;

/// Why a node agent ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No usable configuration.
    #[error("the environment variable {NODE_CONFIG_VARIABLE} must hold a node's configuration as JSON: {0}")]
    Config(String),
    /// This slot has no address.
    #[error("slot {0} has no address in the configuration's `addresses`; the framework gives one to every slot")]
    NoAddress(Slot),
    /// A file that the node can't do without.
    #[error("{what} ({path}): {source}; is the directory mounted?")]
    File {
        /// What it is.
        what: &'static str,
        /// Where it lies.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the system that is needed at the start.
    #[error("cannot prepare {what}: {source}")]
    Prepare {
        /// What was prepared.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node gave up; a new incarnation may do better.
    #[error("{0}")]
    GaveUp(String),
}

/// Reads the configuration that Mesos carried into this container.
///
/// # Errors
/// If there is none, or it isn't a node's configuration.
pub fn config_from_environment() -> Result<NodeConfig, NodeError> {
    let text = std::env::var(NODE_CONFIG_VARIABLE).map_err(|e| NodeError::Config(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| NodeError::Config(e.to_string()))
}

/// Runs a node until it is told to stop (SIGTERM, SIGINT) or a later incarnation takes its slot.
///
/// # Errors
/// If it can't start, or gives up.
pub async fn run(config: NodeConfig) -> Result<(), NodeError> {
    let setup = setup(config)?;
    tracing::info!(
        slot = setup.config.slot,
        incarnation = setup.config.incarnation,
        bootstrap = ?setup.config.bootstrap,
        "node starts"
    );
    let prepare = |what| move |source| NodeError::Prepare { what, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(prepare("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(prepare("SIGINT"))?;
    let keys = ssh::Keys::prepare(&setup.config.data_dir).await.map_err(prepare("ssh keys"))?;
    let clock = Clock::start();
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let mut core = NodeCore::new(&setup);
    let mut shell = Shell::start(setup, keys, clock, events).map_err(prepare("sshd"))?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let verdict = loop {
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => break Verdict::Stopped,
            _ = interrupt.recv() => break Verdict::Stopped,
            _ = tick.tick() => Event::Tick,
            Some(event) = inbox.recv() => event,
        };
        // What something else has damaged is repaired within a tick.
        let files = (event == Event::Tick).then(|| shell.tick());
        let mut actions = core.on(clock.now(), event);
        actions.extend(files.into_iter().flat_map(|files| core.on(clock.now(), files)));
        if let Some(verdict) = shell.act(actions).await {
            break verdict;
        }
    };
    tracing::info!("node stops: {verdict:?}");
    shell.stop(&verdict).await;
    match verdict {
        Verdict::GaveUp(why) => Err(NodeError::GaveUp(why)),
        Verdict::Stopped | Verdict::Fenced(_) => Ok(()),
    }
}

fn setup(config: NodeConfig) -> Result<Setup, NodeError> {
    let address: Ipv4Addr = *config.addresses.get(&config.slot).ok_or(NodeError::NoAddress(config.slot))?;
    let path = config.secrets.dir.join(&config.secrets.operator_key);
    let operator_key = std::fs::read_to_string(&path).map_err(|source| NodeError::File {
        what: "the operator's public key",
        path,
        source,
    })?;
    Ok(Setup { config, address, operator_key })
}

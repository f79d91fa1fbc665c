//! The scheduler that keeps N slots running.
//!
//! * [`core`]: every decision, as a pure state machine.
//! * [`task`]: what a slot's task looks like to Mesos; `calls`: the other words that are exchanged with it.
//! * [`store`]: the durable state in ZooKeeper; `etcd`: the bootstrap's probe and withdrawals; `shell`: all of it together.
//!
//! # High availability
//! Several schedulers may stand ready; the one that ZooKeeper elects leads. Under `state_zk` lie:
//!
//! ```text
//! <state_zk>/election/json.info_0000000007   {"instance":"framework-1","ip":"198.18.0.31"}   ephemeral; smallest number leads
//! <state_zk>/state                           core::state::State                              the leader's, by compare-and-set
//! ```
//! The next one reads the state, subscribes with the framework id in it, and asks Mesos about every task. Whoever led before is
//! fenced three times over: its writes are conditional on its candidate node ([`store`]), Mesos ends its subscription with
//! `Framework failed over`, and it stops by itself when its ZooKeeper session ends ([`FrameworkError::is_deposition`]).
//! Whoever supervises it starts it again, as a standby. One that is told to stop (SIGTERM) resigns, and the next one leads at once.

mod calls;
pub mod core;
mod etcd;
mod shell;
pub mod store;
pub mod task;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::watch;

use self::store::{Store, StoreError};
use crate::config::{FrameworkConfig, Slot};
use crate::mesos::contender::{Standing, contend};
use crate::mesos::detector::detect;
use crate::mesos::scheduler::{SchedulerError, connect};
use crate::mesos::types::MasterInfo;
use crate::mesos::zk::{ZkUrl, ZkUrlError};

/// Why the framework ended.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// A `zk://` URL in the configuration is wrong.
    #[error(transparent)]
    Url(#[from] ZkUrlError),
    /// The slots don't fit the pool.
    #[error("the cluster's addresses: {0}")]
    Addresses(String),
    /// Our ZooKeeper session ended: another scheduler may lead.
    #[error("this scheduler lost its ZooKeeper session and with it the lead; it must stop")]
    LostLeadership,
    /// The state can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that writes the state ended by itself.
    #[error("the writer of the state ended unexpectedly; see the log for a panic")]
    Writer,
    /// Mesos ends our subscription for good.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
}

/// Exit status of a scheduler that stopped only because another one leads, or may lead.
pub const EXIT_DEPOSED: u8 = 3;

impl FrameworkError {
    /// Whether this scheduler has nothing wrong with it, but another one leads, or may lead.
    #[must_use]
    pub fn is_deposition(&self) -> bool {
        matches!(
            self,
            Self::LostLeadership
                | Self::Store(StoreError::Fenced(_) | StoreError::Deposed(_))
                | Self::Scheduler(SchedulerError::Fenced(_))
        )
    }
}

/// Stands in the schedulers' election, and when elected runs the cluster. Returns when `stop` completes: it resigns, and the next
/// scheduler leads at once; the tasks go on.
///
/// # Errors
/// If the configuration can't be used, or this scheduler must stop ([`FrameworkError`]).
pub async fn run(config: FrameworkConfig, stop: impl Future<Output = ()>) -> Result<(), FrameworkError> {
    let addresses = task::addresses(&config.cluster).map_err(FrameworkError::Addresses)?;
    let state_url: ZkUrl = config.state_zk.parse()?;
    let mesos_url: ZkUrl = config.mesos_zk.parse()?;
    let session = Duration::from_millis(config.zk_session_timeout_ms);

    let candidate = serde_json::json!({ "instance": config.instance, "ip": config.ip });
    let data = candidate.to_string().into_bytes();
    let contender = contend(state_url.join("election"), data, session);
    let leader = detect(mesos_url, session);
    tracing::info!(instance = config.instance, "standing by");
    let mut standing = contender.standing.clone();
    let work = async {
        let node = match standing.wait_for(|standing| *standing != Standing::Standby).await.as_deref() {
            Ok(Standing::Elected { node }) => node.clone(),
            _ => return Err(FrameworkError::LostLeadership),
        };
        tokio::select! {
            biased;
            _ = standing.wait_for(|standing| *standing == Standing::Lost) => Err(FrameworkError::LostLeadership),
            ended = lead(config, addresses, &state_url, &node, leader) => ended,
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = stop => Ok(()),
    };
    // Nothing of ours is under way any more.
    contender.resign().await;
    ended
}

/// Leads, elected by `node`, until that ends.
async fn lead(
    config: FrameworkConfig,
    addresses: BTreeMap<Slot, Ipv4Addr>,
    state_url: &ZkUrl,
    node: &str,
    leader: watch::Receiver<Option<MasterInfo>>,
) -> Result<(), FrameworkError> {
    let session = Duration::from_millis(config.zk_session_timeout_ms);
    let nodes = config.cluster.nodes;
    let (store, state) = Store::take_over(state_url, node, session, &config.instance, nodes).await?;
    let framework = state.framework_id.as_deref();
    tracing::info!(instance = config.instance, node, framework, bootstrap = ?state.bootstrap, "leading");
    let signals = connect(calls::framework_info(&config, state.framework_id.as_ref()), leader);
    Err(shell::run(config, addresses, (store, state), signals).await)
}

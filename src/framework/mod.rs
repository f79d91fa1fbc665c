//! The scheduler that keeps N slots running.
//!
//! * [`core`]: every decision, as a pure state machine.
//! * [`task`]: what a slot's task looks like to Mesos; `calls`: the other words that are exchanged with it.
//! * [`store`]: the durable state in ZooKeeper; `etcd`: the bootstrap's probe and withdrawals; `shell`: all of it together.
//!
//! Several schedulers may stand ready; the one that ZooKeeper elects leads. A leader that loses its session, its state or its
//! subscription to another scheduler ends with an error; whoever supervises it starts it again, as a standby.

mod calls;
pub mod core;
mod etcd;
mod shell;
pub mod store;
pub mod task;

use std::time::Duration;

use self::store::{Store, StoreError};
use crate::config::FrameworkConfig;
use crate::mesos::contender::{Standing, contend};
use crate::mesos::detector::detect;
use crate::mesos::scheduler::{SchedulerError, connect};
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

/// Stands in the schedulers' election, and when elected runs the cluster. Returns only with an error.
///
/// # Errors
/// If the configuration can't be used, or this scheduler must stop ([`FrameworkError`]).
pub async fn run(config: FrameworkConfig) -> Result<(), FrameworkError> {
    let addresses = task::addresses(&config.cluster).map_err(FrameworkError::Addresses)?;
    let state_url: ZkUrl = config.state_zk.parse()?;
    let mesos_url: ZkUrl = config.mesos_zk.parse()?;
    let session = Duration::from_millis(config.zk_session_timeout_ms);

    let candidate = serde_json::json!({ "instance": config.instance, "ip": config.ip });
    let data = candidate.to_string().into_bytes();
    let mut standing = contend(state_url.join("election"), data, session);
    let leader = detect(mesos_url, session);
    tracing::info!(instance = config.instance, "standing by");
    let elected = standing.wait_for(|standing| *standing == Standing::Elected);
    if elected.await.is_err() {
        return Err(FrameworkError::LostLeadership);
    }
    let nodes = config.cluster.nodes;
    let (store, state) = Store::take_over(&state_url, session, &config.instance, nodes).await?;
    tracing::info!(instance = config.instance, bootstrap = ?state.bootstrap, "leading");
    let info = calls::framework_info(&config, state.framework_id.as_ref());
    let signals = connect(info, leader);
    Err(shell::run(config, addresses, (store, state), signals, standing).await)
}

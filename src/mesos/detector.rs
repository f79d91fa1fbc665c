//! Who leads? Follows an election in ZooKeeper and publishes the leader's data.
//!
//! The same rules as Mesos's detector: the smallest sequence number leads; a leader whose data can't be read as `T` is no
//! leader; a session that ended, or wasn't confirmed for its whole timeout, means "no leader known" until a new one is
//! open. A shorter disconnection changes nothing.

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use zookeeper_client::{Client, Error};

use super::types::MasterInfo;
use super::zk::{RETRY_MS, ZkUrl, ZkUrlError, ended, leading};

/// A text that names no master.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// It begins like a ZooKeeper URL and isn't one.
    #[error(transparent)]
    Url(#[from] ZkUrlError),
    /// It is neither.
    #[error("'{0}' names no master; expected zk://host:port,…/path, or the address ip:port of the only master")]
    Address(String),
}

/// Follows the master at a location as Mesos's agents are told it: `zk://…` is an election, `ip:port` the only master.
///
/// # Errors
/// If it is neither.
pub fn locate(location: &str, session_timeout: Duration) -> Result<watch::Receiver<Option<MasterInfo>>, LocationError> {
    if !is_fixed(location) {
        return Ok(detect(location.parse()?, session_timeout));
    }
    let only: SocketAddrV4 = location.parse().map_err(|_| LocationError::Address(location.to_owned()))?;
    let master = MasterInfo::announce("", *only.ip(), only.port(), &only.ip().to_string());
    // Nobody will ever publish another one, so the sender may go.
    let mut leader = watch::channel(Some(master)).1;
    leader.mark_changed();
    Ok(leader)
}

/// Whether a location names the only master, about which nobody tells whether it is there.
#[must_use]
pub fn is_fixed(location: &str) -> bool {
    !location.starts_with("zk://")
}

/// Follows the election at `url` in a task of its own; the receiver holds the leader's data, read from JSON, or `None`.
///
/// The task lives until every receiver is dropped, through expired sessions and while ZooKeeper is away.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// use stormbed::mesos::detector::detect;
/// let mut leader = detect::<serde_json::Value>("zk://zk-1:2181/mesos".parse()?, Duration::from_secs(10));
/// leader.changed().await?;
/// println!("{:?}", *leader.borrow_and_update());
/// # Ok(()) }
/// ```
#[must_use]
pub fn detect<T>(url: ZkUrl, session_timeout: Duration) -> watch::Receiver<Option<T>>
where
    T: DeserializeOwned + PartialEq + Send + Sync + 'static,
{
    let (publish, leader) = watch::channel(None);
    tokio::spawn(async move {
        tokio::select! {
            () = publish.closed() => {}
            () = follow(&url, session_timeout, &publish) => {}
        }
    });
    leader
}

async fn follow<T>(url: &ZkUrl, session_timeout: Duration, publish: &watch::Sender<Option<T>>)
where
    T: DeserializeOwned + PartialEq,
{
    loop {
        let client = url.open_patiently(session_timeout).await;
        tokio::select! {
            () = ended(&client, &url.path) => {}
            never = look_on(&client, &url.path, publish) => match never {},
        }
        tracing::warn!(%url, "the detector's session ended: no leader known");
        set(publish, None);
    }
}

async fn look_on<T>(client: &Client, path: &str, publish: &watch::Sender<Option<T>>) -> Infallible
where
    T: DeserializeOwned + PartialEq,
{
    loop {
        if let Err(error) = look(client, path, publish).await {
            tracing::debug!(path, %error, "looking for the leader failed");
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }
}

/// One look at the election, which returns when its children have changed since.
async fn look<T>(client: &Client, path: &str, publish: &watch::Sender<Option<T>>) -> Result<(), Error>
where
    T: DeserializeOwned + PartialEq,
{
    let (children, _, changed) = client.get_and_watch_children(path).await?;
    let leader = match leading(&children) {
        Some(child) => read(client, &format!("{path}/{child}")).await?,
        None => None,
    };
    set(publish, leader);
    changed.changed().await;
    Ok(())
}

/// A candidate's data; `None` when it is gone again or can't be understood.
async fn read<T: DeserializeOwned>(client: &Client, node: &str) -> Result<Option<T>, Error> {
    let data = match client.get_data(node).await {
        Ok((data, _)) => data,
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&data) {
        Ok(leader) => Ok(Some(leader)),
        Err(error) => {
            tracing::warn!(node, %error, "the leader's data can't be understood: no leader");
            Ok(None)
        }
    }
}

fn set<T: PartialEq>(publish: &watch::Sender<Option<T>>, leader: Option<T>) {
    publish.send_if_modified(|known| {
        let changed = *known != leader;
        *known = leader;
        changed
    });
}

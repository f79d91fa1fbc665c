//! The leader record, followed at every etcd endpoint at once: one task each, so that a frozen or dead endpoint holds up
//! nobody, and the first word of a new leader counts. The core sorts out which word is the newest.
//!
//! A watch tells of a new record within milliseconds, but a watch at a dead peer stays silent for ever. So each task also
//! reads the record every `CHECK`, and at once when a request could not reach the leader; a read that fails ends the
//! connection. That makes http2 keep-alive, which etcd answers with a hang-up when it comes too often, unnecessary.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions, GetResponse, WatchOptions, WatchResponse};
use futures_util::future::join_all;

use super::core::{Event, Sighting};
use super::hub::Hub;
use crate::config::ProxyConfig;
use crate::registry::{ETCD_CLIENT_PORT, Keys, LeaderRecord};

/// A silent watch is doubted after this time.
const CHECK: Duration = Duration::from_secs(2);
/// Connecting and reading take milliseconds at a live endpoint.
const READ_MAX: Duration = Duration::from_secs(1);
/// Between two attempts at one endpoint: a restarted etcd is followed again soon, a dead one costs five packets a second.
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the leader record at all endpoints; never ends.
pub async fn follow(config: &ProxyConfig, hub: Arc<Hub>) {
    let key = Keys::of(&config.cluster).leader();
    join_all(config.addresses.values().map(|address| {
        let (hub, key) = (Arc::clone(&hub), key.clone());
        async move {
            loop {
                let end = follow_one(*address, &key, &hub).await;
                tracing::debug!(%address, ?end, "following the leader here starts again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }))
    .await;
}

/// Why following ended.
#[derive(Debug)]
#[expect(dead_code, reason = "read in the log only, through Debug")]
enum End {
    Etcd(etcd_client::Error),
    Timeout,
    Closed,
    Canceled(String),
}

impl From<etcd_client::Error> for End {
    fn from(error: etcd_client::Error) -> Self {
        End::Etcd(error)
    }
}

async fn follow_one(address: Ipv4Addr, key: &str, hub: &Hub) -> Result<(), End> {
    let options = ConnectOptions::new().with_connect_timeout(READ_MAX);
    let endpoint = format!("http://{address}:{ETCD_CLIENT_PORT}");
    let mut client = Client::connect([endpoint], Some(options)).await?;
    let mut looks = hub.looks();
    let revision = read(&mut client, key, hub).await?;
    let from = WatchOptions::new().with_start_revision(revision + 1);
    let mut watch = soon(client.watch(key, Some(from))).await?;
    loop {
        tokio::select! {
            message = watch.message() => seen_in_watch(&message?.ok_or(End::Closed)?, hub)?,
            _ = looks.changed() => { read(&mut client, key, hub).await?; }
            () = tokio::time::sleep(CHECK) => { read(&mut client, key, hub).await?; }
        }
    }
}

/// Reads the record and returns the revision of the read. Serializable, so that it needs no quorum: what this endpoint
/// doesn't know yet, its watch tells.
async fn read(client: &mut Client, key: &str, hub: &Hub) -> Result<i64, End> {
    let got: GetResponse = soon(client.get(key, Some(GetOptions::new().with_serializable()))).await?;
    let header = got.header().ok_or(End::Closed)?;
    for kv in got.kvs() {
        seen(header.cluster_id(), kv.value(), hub);
    }
    Ok(header.revision())
}

fn seen_in_watch(message: &WatchResponse, hub: &Hub) -> Result<(), End> {
    if message.canceled() {
        // Most likely compacted away; the next read starts from the present.
        return Err(End::Canceled(message.cancel_reason().to_owned()));
    }
    let cluster_id = message.header().ok_or(End::Closed)?.cluster_id();
    for kv in message.events().iter().filter_map(|event| event.kv()) {
        // A deletion has no value, and no leader record is ever deleted.
        if !kv.value().is_empty() {
            seen(cluster_id, kv.value(), hub);
        }
    }
    Ok(())
}

fn seen(cluster_id: u64, record: &[u8], hub: &Hub) {
    match serde_json::from_slice::<LeaderRecord>(record) {
        Ok(leader) => hub.tell(Event::Seen(Sighting { cluster_id, leader })),
        Err(error) => tracing::warn!(%error, "the leader record in etcd is not one; it is ignored"),
    }
}

async fn soon<T>(call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, End> {
    tokio::time::timeout(READ_MAX, call).await.map_err(|_| End::Timeout)?.map_err(End::from)
}

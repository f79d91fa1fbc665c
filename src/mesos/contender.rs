//! Stands in an election in ZooKeeper, as Mesos's masters do, with an ephemeral sequential node `json.info_…`.
//!
//! ```text
//! Standby ──smallest number──► Elected ──session or node lost──► Lost (final)
//!    └──session or node lost──► stands again, still Standby
//! ```
//! Who was elected and isn't any more must stop: somebody else may lead already. A standby just stands again.

use std::time::Duration;

use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::zk::{RETRY_MS, ZkUrl, leading};

/// Mesos's label of a candidate whose data is JSON.
const LABEL: &str = "json.info_";

/// How we stand in an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not leading: not yet a candidate, or somebody else has a smaller number.
    Standby,
    /// Leading.
    Elected,
    /// We led, and our session or node is gone. Final: the contender has ended.
    Lost,
}

/// Stands in the election at `url` with `data` (JSON by convention) in a task of its own.
///
/// Resigns at once when every receiver is dropped, or the task's runtime ends.
#[must_use]
pub fn contend(url: ZkUrl, data: Vec<u8>, session_timeout: Duration) -> watch::Receiver<Standing> {
    let (publish, standing) = watch::channel(Standing::Standby);
    tokio::spawn(async move {
        tokio::select! {
            () = publish.closed() => {}
            () = stand(&url, &data, session_timeout, &publish) => {}
        }
    });
    standing
}

async fn stand(url: &ZkUrl, data: &[u8], timeout: Duration, publish: &watch::Sender<Standing>) {
    while *publish.borrow() == Standing::Standby {
        // A candidature is a session: where it is in doubt whether a node was created, the session goes, and it with it.
        let client = url.open_patiently(timeout).await;
        let ended = match enter(&client, &url.path, data).await {
            Ok(name) => hold(&client, &url.path, &name, publish).await,
            Err(error) => error,
        };
        tracing::warn!(%url, error = %ended, "the candidature ended");
        if *publish.borrow() == Standing::Elected {
            publish.send_replace(Standing::Lost);
            return;
        }
        drop(client);
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// Creates our node; returns its name.
async fn enter(client: &Client, path: &str, data: &[u8]) -> Result<String, Error> {
    let candidate = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, number) = client.create(&format!("{path}/{LABEL}"), data, &candidate).await?;
    Ok(format!("{LABEL}{number}"))
}

/// Watches the election while our node is in it; returns why it isn't any more.
async fn hold(client: &Client, path: &str, name: &str, publish: &watch::Sender<Standing>) -> Error {
    loop {
        let (children, _, changed) = match client.get_and_watch_children(path).await {
            Ok(answer) => answer,
            Err(error) if client.state().is_terminated() => return error,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
                continue;
            }
        };
        if !children.iter().any(|child| child == name) {
            return Error::NoNode;
        }
        let elected = leading(&children) == Some(name);
        publish.send_if_modified(|standing| {
            let won = elected && *standing == Standing::Standby;
            if won {
                *standing = Standing::Elected;
            }
            won
        });
        changed.changed().await;
    }
}

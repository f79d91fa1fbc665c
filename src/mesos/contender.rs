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

use super::zk::{RETRY_MS, ZkUrl, ended, leading};

/// Mesos's label of a candidate whose data is JSON.
const LABEL: &str = "json.info_";
/// The directory in an election where the replicas of Mesos's log find each other.
const REPLICAS: &str = "log_replicas";

/// How we stand in an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not leading: not yet a candidate, or somebody else has a smaller number.
    Standby,
    /// Leading, by this node.
    Elected {
        /// Its path. It goes with our session, before anybody else is elected: a write to ZooKeeper that checks it in the same
        /// transaction can't come from a former leader.
        node: String,
    },
    /// We led, and our session or node is gone. Final: the contender has ended.
    Lost,
}

/// What a candidate announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The content of its node; JSON by convention.
    pub data: Vec<u8>,
    /// The replica of Mesos's log that stands beside it in `log_replicas`, as `log-replica(1)@ip:port`. Only masters have one.
    pub log_replica: Option<String>,
}

impl From<Vec<u8>> for Candidate {
    fn from(data: Vec<u8>) -> Self {
        Self { data, log_replica: None }
    }
}

/// Stands in the election at `url` in a task of its own.
///
/// Resigns at once when every receiver is dropped, or the task's runtime ends.
#[must_use]
pub fn contend(url: ZkUrl, candidate: impl Into<Candidate>, session_timeout: Duration) -> watch::Receiver<Standing> {
    let (publish, standing) = watch::channel(Standing::Standby);
    let candidate = candidate.into();
    tokio::spawn(async move {
        tokio::select! {
            () = publish.closed() => {}
            () = stand(&url, &candidate, session_timeout, &publish) => {}
        }
    });
    standing
}

async fn stand(url: &ZkUrl, candidate: &Candidate, timeout: Duration, publish: &watch::Sender<Standing>) {
    while *publish.borrow() == Standing::Standby {
        // A candidature is a session: where it is in doubt whether a node was created, the session goes, and it with it.
        let client = url.open_patiently(timeout).await;
        let candidature = async {
            match enter(&client, &url.path, candidate).await {
                Ok(name) => hold(&client, &url.path, &name, publish).await,
                Err(error) => error,
            }
        };
        let ended = tokio::select! {
            () = ended(&client) => Error::SessionExpired,
            error = candidature => error,
        };
        tracing::warn!(%url, error = %ended, "the candidature ended");
        if *publish.borrow() != Standing::Standby {
            publish.send_replace(Standing::Lost);
            return;
        }
        drop(client);
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// Creates our nodes; returns the candidate's name.
async fn enter(client: &Client, path: &str, candidate: &Candidate) -> Result<String, Error> {
    let member = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    if let Some(replica) = &candidate.log_replica {
        let replicas = format!("{path}/{REPLICAS}");
        client.mkdir(&replicas, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
        client.create(&format!("{replicas}/"), replica.as_bytes(), &member).await?;
    }
    let (_, number) = client.create(&format!("{path}/{LABEL}"), &candidate.data, &member).await?;
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
                *standing = Standing::Elected { node: format!("{path}/{name}") };
            }
            won
        });
        changed.changed().await;
    }
}

//! Stands in an election in ZooKeeper, as Mesos's masters do, with an ephemeral sequential node `json.info_…`.
//!
//! ```text
//! Standby ──smallest number──► Elected ──session or node lost──► Lost (final)
//!    └──session or node lost──► stands again, still Standby
//! ```
//! Who was elected and isn't any more must stop: somebody else may lead already. A standby just stands again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::zk::{RETRY_MS, ZkUrl, ended, leading, terminated};

/// Mesos's label of a candidate whose data is JSON.
const LABEL: &str = "json.info_";
/// The directory in an election where the replicas of Mesos's log find each other.
const REPLICAS: &str = "log_replicas";

/// The servers close a session within this, or not at all.
const CLOSE_MAX: Duration = Duration::from_secs(2);

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

/// A place in an election, held by a task of its own. Dropping it resigns in the background.
#[derive(Debug)]
pub struct Contender {
    /// How it stands.
    pub standing: watch::Receiver<Standing>,
    resigns: CancellationToken,
    task: JoinHandle<()>,
}

impl Contender {
    /// Leaves the election. When this returns our nodes are gone and the next candidate leads; if ZooKeeper can't be reached,
    /// they go with the session.
    pub async fn resign(mut self) {
        self.resigns.cancel();
        // It may have panicked; then its session ends by itself.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.resigns.cancel();
    }
}

/// Stands in the election at `url`.
#[must_use]
pub fn contend(url: ZkUrl, candidate: impl Into<Candidate>, session_timeout: Duration) -> Contender {
    let (publish, standing) = watch::channel(Standing::Standby);
    let (candidate, resigns) = (candidate.into(), CancellationToken::new());
    let resigned = resigns.clone();
    let task = tokio::spawn(async move {
        while *publish.borrow() == Standing::Standby && !resigned.is_cancelled() {
            stand(&url, &candidate, session_timeout, &publish, &resigned).await;
        }
    });
    Contender { standing, resigns, task }
}

/// One candidature, which is a session: where it is in doubt whether a node was created, the session goes, and it with it.
async fn stand(
    url: &ZkUrl,
    candidate: &Candidate,
    timeout: Duration,
    publish: &watch::Sender<Standing>,
    resigned: &CancellationToken,
) {
    let Some(client) = resigned.run_until_cancelled(url.open_patiently(timeout)).await else {
        return;
    };
    let candidature = async {
        match enter(&client, &url.path, candidate).await {
            Ok(name) => hold(&client, &url.path, &name, publish).await,
            Err(error) => error,
        }
    };
    let ended = tokio::select! {
        () = resigned.cancelled() => return close(client).await,
        () = ended(&client, &url.path) => Error::SessionExpired,
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

/// Ends a session, and with it its nodes; waits for the servers to have done so.
async fn close(client: Client) {
    let closed = terminated(client.state_watcher());
    drop(client);
    if tokio::time::timeout(CLOSE_MAX, closed).await.is_err() {
        tracing::warn!("ZooKeeper doesn't answer: the candidature ends with its session");
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

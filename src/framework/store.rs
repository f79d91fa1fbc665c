//! The state in ZooKeeper: one document, replaced by compare-and-set.
//!
//! Every write is one transaction on two conditions:
//! * The scheduler's candidate node still stands, so nobody else has been elected. A scheduler that was frozen beyond its
//!   session writes nothing when it wakes up, not even if it was frozen between its election and its first write.
//! * The document has the version that this scheduler wrote or read itself.

use std::time::Duration;

use zookeeper_client::{Acls, CheckWriteError, CheckWriter, Client, CreateMode, Error, MultiWriteResult};

use super::core::state::State;
use crate::mesos::zk::{RETRY_MS, ZkUrl};

const NODE: &str = "state";

/// Why the state can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another scheduler writes.
    #[error("another scheduler has replaced the state at {0}; this one must stop")]
    Fenced(String),
    /// Another scheduler may have been elected.
    #[error("this scheduler's node {0} is gone from the election; it must stop")]
    Deposed(String),
    /// The document isn't ours, or from another release.
    #[error("the state at {path} can't be understood: {source}; remove it only if no task of this cluster runs")]
    Foreign {
        /// The znode.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// ZooKeeper refuses.
    #[error("ZooKeeper refuses to keep the state at {path}: {source}")]
    Refused {
        /// The znode.
        path: String,
        /// Why.
        source: Error,
    },
}

/// The document, as one scheduler holds it.
#[derive(Debug)]
pub struct Store {
    url: ZkUrl,
    path: String,
    candidate: String,
    session_timeout: Duration,
    client: Client,
    version: i32,
}

impl Store {
    /// Takes the document over as `scheduler`, elected by the node `candidate`; makes that of a new cluster of `nodes` slots
    /// where there is none.
    ///
    /// # Errors
    /// If another scheduler has been elected, or the document can't be used.
    pub async fn take_over(
        url: &ZkUrl,
        candidate: &str,
        session_timeout: Duration,
        scheduler: &str,
        nodes: u32,
    ) -> Result<(Self, State), StoreError> {
        let client = url.open_patiently(session_timeout).await;
        let mut store = Self {
            url: url.clone(),
            path: format!("{}/{NODE}", url.path),
            candidate: candidate.to_owned(),
            session_timeout,
            client,
            version: 0,
        };
        let mut state = match store.read().await? {
            Some((document, version)) => {
                store.version = version;
                store.understand(&document)?
            }
            None => {
                let state = State::new(nodes);
                store.create(&state).await?;
                state
            }
        };
        state.scheduler = scheduler.to_owned();
        for slot in 0..nodes {
            state.slots.entry(slot).or_default();
        }
        store.write(&state).await?;
        Ok((store, state))
    }

    /// Replaces the document. Returns when that is durable; a lost connection is waited out, because the scheduler can't do
    /// anything without its state, and stops by itself when its session ends.
    ///
    /// # Errors
    /// If another scheduler has replaced it, or may have been elected.
    pub async fn write(&mut self, state: &State) -> Result<(), StoreError> {
        let (path, expected) = (self.path.clone(), self.version);
        self.commit(state, |writer, document| writer.add_set_data(&path, document, Some(expected))).await
    }

    async fn create(&mut self, state: &State) -> Result<(), StoreError> {
        let (path, persistent) = (self.path.clone(), CreateMode::Persistent.with_acls(Acls::anyone_all()));
        self.commit(state, |writer, document| writer.add_create(&path, document, &persistent)).await
    }

    /// One write, on the condition that our candidate node stands.
    async fn commit(
        &mut self,
        state: &State,
        write: impl Fn(&mut CheckWriter<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), StoreError> {
        let document = serde_json::to_vec(state).expect("plain data is always JSON");
        loop {
            let checked = self.client.new_check_writer(&self.candidate, None);
            let committed = match checked.and_then(|mut writer| write(&mut writer, &document).map(|()| writer)) {
                Ok(writer) => writer.commit().await,
                Err(error) => Err(error.into()),
            };
            match committed {
                Ok(results) => {
                    let stat = results.into_iter().find_map(|result| match result {
                        MultiWriteResult::SetData { stat } => Some(stat),
                        _ => None,
                    });
                    // What was just created has version 0.
                    self.version = stat.map_or(0, |stat| stat.version);
                    return Ok(());
                }
                Err(CheckWriteError::CheckFailed { source: Error::NoNode }) => {
                    return Err(StoreError::Deposed(self.candidate.clone()));
                }
                Err(CheckWriteError::OperationFailed { source: Error::BadVersion | Error::NodeExists, .. }) => {
                    return self.is_ours(&document).await;
                }
                Err(error) => self.recover(error.into()).await?,
            }
        }
    }

    /// After a version that we don't know: a write of ours whose answer was lost, or somebody else's.
    async fn is_ours(&mut self, document: &[u8]) -> Result<(), StoreError> {
        match self.read().await? {
            Some((found, version)) if found == document => {
                self.version = version;
                Ok(())
            }
            _ => Err(StoreError::Fenced(self.path.clone())),
        }
    }

    async fn read(&mut self) -> Result<Option<(Vec<u8>, i32)>, StoreError> {
        loop {
            // Another server may lag behind the one that took the last write.
            let answer = match self.client.sync(&self.path).await {
                Ok(()) => self.client.get_data(&self.path).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok((document, stat)) => return Ok(Some((document, stat.version))),
                Err(Error::NoNode) => return Ok(None),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    fn understand(&self, document: &[u8]) -> Result<State, StoreError> {
        serde_json::from_slice(document).map_err(|source| StoreError::Foreign { path: self.path.clone(), source })
    }

    /// Waits before a failed operation is tried again, with a new session where the old one ended.
    async fn recover(&mut self, error: Error) -> Result<(), StoreError> {
        let passing = matches!(
            error,
            Error::ConnectionLoss
                | Error::SessionExpired
                | Error::SessionMoved
                | Error::Timeout
                | Error::ClientClosed
                | Error::Throttled
        );
        if !passing {
            return Err(StoreError::Refused { path: self.path.clone(), source: error });
        }
        tracing::warn!(path = %self.path, %error, "the state can't be reached");
        if self.client.state().is_terminated() {
            self.client = self.url.open_patiently(self.session_timeout).await;
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        Ok(())
    }
}

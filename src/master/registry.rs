//! The agents that the masters know of, in one znode beside the election: `<path>-registry`.
//!
//! A new leader writes it once before it serves, which fences its predecessor: every write names the version that it
//! follows, so a master that was replaced without noticing can't write any more.

use std::time::Duration;

use zookeeper_client::{Client, Error};

use super::core::model::Registry;
use crate::mesos::zk::{RETRY_MS, ZkUrl};

/// A registry that can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Somebody else wrote: this master doesn't lead any more.
    #[error("another master has written the registry {path}; it leads now")]
    Fenced {
        /// The znode.
        path: String,
    },
    /// What is there can't be understood.
    #[error(
        "the registry {path} holds something else than a list of agents: {source}; delete the znode to start afresh"
    )]
    Content {
        /// The znode.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The registry's znode, held by one leader.
#[derive(Debug)]
pub struct RegistryStore {
    url: ZkUrl,
    session: Duration,
    client: Client,
    version: i32,
}

impl RegistryStore {
    /// Reads the registry and fences the leader before. Patient with ZooKeeper: the caller ends it with its leadership.
    ///
    /// # Errors
    /// If the znode holds something else, or another master writes at the same time.
    pub async fn open(election: &ZkUrl, session: Duration) -> Result<(Self, Registry), RegistryError> {
        let url = ZkUrl { servers: election.servers.clone(), path: format!("{}-registry", election.path) };
        let client = url.open_patiently(session).await;
        let mut store = Self { url, session, client, version: 0 };
        let (data, version) = store.read().await;
        store.version = version;
        let known = if data.is_empty() {
            Registry::default()
        } else {
            serde_json::from_slice(&data)
                .map_err(|source| RegistryError::Content { path: store.url.path.clone(), source })?
        };
        store.save(&known).await?;
        Ok((store, known))
    }

    /// Makes a registry durable. Patient with ZooKeeper: the caller ends it with its leadership.
    ///
    /// # Errors
    /// If another master has written meanwhile.
    pub async fn save(&mut self, registry: &Registry) -> Result<(), RegistryError> {
        let data = serde_json::to_vec(registry).expect("a registry is plain data with text keys");
        loop {
            let written = self.client.set_data(&self.url.path, &data, Some(self.version)).await;
            match written {
                Ok(stat) => {
                    self.version = stat.version;
                    return Ok(());
                }
                Err(Error::BadVersion) => return Err(self.fenced()),
                Err(error) => tracing::warn!(%error, "the registry could not be written"),
            }
            // The write may have happened or not; what is there now tells.
            let (there, version) = self.read().await;
            if version == self.version + 1 && there == data {
                self.version = version;
                return Ok(());
            }
            if version != self.version {
                return Err(self.fenced());
            }
        }
    }

    async fn read(&mut self) -> (Vec<u8>, i32) {
        loop {
            match self.client.get_data(&self.url.path).await {
                Ok((data, stat)) => return (data, stat.version),
                Err(error) => tracing::warn!(%error, "the registry could not be read"),
            }
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            if self.client.state().is_terminated() {
                self.client = self.url.open_patiently(self.session).await;
            }
        }
    }

    fn fenced(&self) -> RegistryError {
        RegistryError::Fenced { path: self.url.path.clone() }
    }
}

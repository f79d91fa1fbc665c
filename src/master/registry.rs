//! The agents that the masters know of, in one znode beside the election, `<path>-registry`; or in a file, for a master
//! without ZooKeeper.
//!
//! A new leader writes it once before it serves, which fences its predecessor: every write names the version that it
//! follows, so a master that was replaced without noticing can't write any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zookeeper_client::{Client, Error};

use super::core::model::Registry;
use crate::files::replace;
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
    /// The file can't be read or written.
    #[error("the registry {path}: {source}; the master needs to write there")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The registry, held by one leader.
#[derive(Debug)]
pub enum RegistryStore {
    /// In ZooKeeper.
    Znode(Box<Znode>),
    /// In a file of the only master.
    File(PathBuf),
}

impl RegistryStore {
    /// Reads the registry in ZooKeeper and fences the leader before. Patient: the caller ends it with its leadership.
    ///
    /// # Errors
    /// If the znode holds something else, or another master writes at the same time.
    pub async fn open(election: &ZkUrl, session: Duration) -> Result<(Self, Registry), RegistryError> {
        let (znode, known) = Znode::open(election, session).await?;
        Ok((Self::Znode(Box::new(znode)), known))
    }

    /// Reads the registry in a file; an absent one is empty.
    ///
    /// # Errors
    /// If the file can't be read or holds something else.
    pub fn open_file(path: &Path) -> Result<(Self, Registry), RegistryError> {
        let unread = |source| RegistryError::File { path: path.display().to_string(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(unread)?;
        }
        let known = match std::fs::read(path) {
            Ok(data) => parse(&data, &path.display().to_string())?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Registry::default(),
            Err(error) => return Err(unread(error)),
        };
        Ok((Self::File(path.to_owned()), known))
    }

    /// Makes a registry durable. Patient with ZooKeeper: the caller ends it with its leadership.
    ///
    /// # Errors
    /// If another master has written meanwhile, or the file can't be written.
    pub async fn save(&mut self, registry: &Registry) -> Result<(), RegistryError> {
        let data = serde_json::to_vec(registry).expect("a registry is plain data with text keys");
        match self {
            Self::Znode(znode) => znode.save(&data).await,
            Self::File(path) => {
                let failed = |source| RegistryError::File { path: path.display().to_string(), source };
                replace(path, &data, 0o644).map_err(failed)
            }
        }
    }
}

fn parse(data: &[u8], path: &str) -> Result<Registry, RegistryError> {
    serde_json::from_slice(data).map_err(|source| RegistryError::Content { path: path.to_owned(), source })
}

/// The registry's znode.
#[derive(Debug)]
pub struct Znode {
    url: ZkUrl,
    session: Duration,
    client: Client,
    version: i32,
}

impl Znode {
    async fn open(election: &ZkUrl, session: Duration) -> Result<(Self, Registry), RegistryError> {
        let url = ZkUrl { servers: election.servers.clone(), path: format!("{}-registry", election.path) };
        let client = url.open_patiently(session).await;
        let mut store = Self { url, session, client, version: 0 };
        let (data, version) = store.read().await;
        store.version = version;
        let known = if data.is_empty() { Registry::default() } else { parse(&data, &store.url.path)? };
        store.save(&serde_json::to_vec(&known).expect("a registry is plain data with text keys")).await?;
        Ok((store, known))
    }

    async fn save(&mut self, data: &[u8]) -> Result<(), RegistryError> {
        loop {
            let written = self.client.set_data(&self.url.path, data, Some(self.version)).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_keeps_what_was_saved() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("work/registry.json");
        let (mut store, known) = RegistryStore::open_file(&path).expect("absent is empty");
        assert_eq!(known, Registry::default());
        let mut registry = Registry::default();
        registry.unreachable.insert("S0".into(), 7);
        store.save(&registry).await.expect("written");
        let (_, known) = RegistryStore::open_file(&path).expect("there");
        assert_eq!(known, registry);
        std::fs::write(&path, "no").expect("written");
        let refused = RegistryStore::open_file(&path);
        assert!(matches!(refused, Err(RegistryError::Content { .. })), "{refused:?}");
    }
}

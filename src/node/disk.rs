//! This slot's data directory: whose etcd data it holds, and how it is put out of use.
//!
//! ```text
//! <data>/etcd/            etcd's own
//! <data>/identity.json    which cluster, which member
//! <data>/ssh/             keys; they outlive the member
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::core::member::Disk;
use crate::files::replace;

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    token: String,
    /// Hexadecimal, as etcdctl prints it.
    member: Option<String>,
}

/// The data directory of one slot.
#[derive(Debug, Clone)]
pub struct DataDir(pub PathBuf);

impl DataDir {
    /// etcd's own directory.
    #[must_use]
    pub fn etcd(&self) -> PathBuf {
        self.0.join("etcd")
    }

    fn identity(&self) -> PathBuf {
        self.0.join("identity.json")
    }

    /// What lies here.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn inspect(&self) -> io::Result<Disk> {
        fs::create_dir_all(&self.0)?;
        let identity: Option<Identity> = match fs::read(self.identity()) {
            Ok(text) => serde_json::from_slice(&text).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Disk {
            // etcd makes its log elsewhere and renames it here: it exists whole or not at all.
            log: self.etcd().join("member/wal").try_exists()?,
            member: identity.as_ref().and_then(|i| u64::from_str_radix(i.member.as_deref()?, 16).ok()),
            token: identity.map(|i| i.token),
        })
    }

    /// Puts the member's data out of use in one step, then removes it.
    ///
    /// # Errors
    /// If it can't be moved away; a failed removal only wastes space and is tried at the next wipe.
    pub fn wipe(&self) -> io::Result<()> {
        let stale = self.0.join("etcd.stale");
        remove_all(&stale)?;
        match fs::rename(self.etcd(), &stale) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_all(&self.identity())?;
        remove_all(&stale)
    }

    /// Writes down whose data will be made here, before etcd makes it.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn remember(&self, token: &str, member: Option<u64>) -> io::Result<()> {
        let identity = Identity { token: token.to_owned(), member: member.map(|id| format!("{id:x}")) };
        let text = serde_json::to_string(&identity).expect("an identity is plain data");
        replace(&self.identity(), &text, 0o644)
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_remembered_and_wiped_with_the_data_but_not_the_keys() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let data = DataDir(dir.path().join("slot"));
        assert_eq!(data.inspect()?, Disk::default());
        data.remember("c-g1", Some(0xbeef))?;
        fs::create_dir_all(data.etcd().join("member/wal"))?;
        fs::create_dir_all(data.0.join("ssh"))?;
        let found = Disk { log: true, token: Some("c-g1".into()), member: Some(0xbeef) };
        assert_eq!(data.inspect()?, found);
        data.wipe()?;
        assert_eq!(data.inspect()?, Disk::default());
        assert!(data.0.join("ssh").exists());
        data.wipe()
    }
}

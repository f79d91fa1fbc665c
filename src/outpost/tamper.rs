//! Damage to what a node keeps: files, its registration, its etcd data. Nothing of it is undone here: the system must heal it.
//!
//! What was damaged is seen damaged right after the act, and looked at again until it isn't any more.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::containers::{inspect, pid};
use super::faults::Place;
use super::{etcd, inside, processes, text};
use crate::config::Slot;

/// What a damaged file says.
const DAMAGED: &str = "# damaged by a fault\n";
/// The node's agent may repair a file between the damage and the look; it does so ten times a second.
const TRIES: usize = 10;
/// A registration is looked at again within this time, or counts as it was.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// etcd's directory within a slot's, and what it is called when it is on its way out.
const ETCD: &str = "etcd";
const LOST: &str = "etcd.lost";

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Tamper {
    /// A file of a container is overwritten in place.
    File {
        /// Full id.
        container: String,
        /// Path in the container.
        path: String,
    },
    /// The lease of a registration is revoked, and with it the registration is gone.
    Registration {
        /// Members to ask, one after another.
        endpoints: Vec<Ipv4Addr>,
        /// Its key.
        key: String,
    },
    /// The data directory of a slot's etcd is removed, and its process killed.
    EtcdData {
        /// Full id of the container that runs the slot.
        container: String,
        /// The slot.
        slot: Slot,
    },
}

/// Something that was seen damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damaged {
    /// The file of a process' file system.
    File {
        /// The process.
        pid: i32,
        /// Path there.
        path: String,
    },
    /// The registration that stood under this lease.
    Registration {
        /// Members to ask.
        endpoints: Vec<Ipv4Addr>,
        /// Its key.
        key: String,
        /// The lease that is gone.
        lease: i64,
    },
    /// etcd's data in this directory.
    EtcdData {
        /// The directory.
        dir: PathBuf,
    },
}

/// Does the damage. Returns what was seen damaged then.
///
/// # Errors
/// If it can't be done, or was never seen.
pub async fn make(place: &Place, tamper: &Tamper) -> Result<Damaged, String> {
    match tamper {
        Tamper::File { container, path } => {
            let (pid, path) = (process(place, container).await?, path.clone());
            tokio::task::spawn_blocking(move || damage(pid, path)).await.map_err(text)?
        }
        Tamper::Registration { endpoints, key } => {
            let lease = place.etcd.lease(endpoints, key).await?;
            let lease = lease.ok_or_else(|| format!("there is no registration {key} to be lost"))?;
            place.etcd.revoke(endpoints, lease).await?;
            Ok(Damaged::Registration { endpoints: endpoints.clone(), key: key.clone(), lease })
        }
        Tamper::EtcdData { container, slot } => {
            let slots = place.slots.as_ref().ok_or("no slot keeps its data on this machine")?;
            let slot = slots.join(slot.to_string());
            let init = u32::try_from(process(place, container).await?).map_err(text)?;
            lose(&slot, init).await
        }
    }
}

pub(super) async fn process(place: &Place, container: &str) -> Result<i32, String> {
    let found = inspect(place.engine.as_ref()?, container).await?;
    found.as_ref().and_then(pid).ok_or_else(|| format!("container {container} isn't running"))
}

fn damage(pid: i32, path: String) -> Result<Damaged, String> {
    for _ in 0..TRIES {
        inside::overwrite(pid, &path, DAMAGED)?;
        if inside::read(pid, &path)? == DAMAGED {
            return Ok(Damaged::File { pid, path });
        }
    }
    Err(format!("{path} of process {pid} was never seen damaged: somebody repairs it at once"))
}

/// Puts etcd's directory out of the way first: whenever the process is started again, its data is gone.
async fn lose(slot: &Path, init: u32) -> Result<Damaged, String> {
    let etcd = processes::of_node(init).get(ETCD).map(|seen| seen.view);
    let etcd = etcd.ok_or_else(|| format!("etcd of {} doesn't run", slot.display()))?;
    let (dir, lost) = (slot.join(ETCD), slot.join(LOST));
    remove(&lost)?;
    fs::rename(&dir, &lost).map_err(|error| format!("{}: {error}", dir.display()))?;
    processes::end(etcd, Signal::SIGKILL).await?;
    remove(&lost)?;
    Ok(Damaged::EtcdData { dir })
}

fn remove(dir: &Path) -> Result<(), String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", dir.display())),
        _ => Ok(()),
    }
}

/// Removes what an outpost that was killed had only put out of the way, of all slots. Returns what that was.
///
/// # Errors
/// If something is there and can't be removed.
pub fn sweep(slots: &Path) -> Result<Vec<String>, String> {
    let mut swept = Vec::new();
    for slot in fs::read_dir(slots).into_iter().flatten().flatten() {
        let lost = slot.path().join(LOST);
        if lost.exists() {
            remove(&lost)?;
            swept.push(format!("removed {}", lost.display()));
        }
    }
    Ok(swept)
}

impl Damaged {
    /// It isn't healed yet. What can't be looked at counts as it was.
    pub async fn is_still(&self, endpoints: &etcd::Endpoints) -> bool {
        match self {
            Self::File { pid, path } => inside::read(*pid, path).map_or(true, |text| text == DAMAGED),
            Self::Registration { endpoints: members, key, lease } => {
                match timeout(LOOK_MAX, endpoints.lease(members, key)).await {
                    Ok(Ok(Some(now))) => now == *lease,
                    _ => true,
                }
            }
            // etcd makes its log elsewhere and renames it here.
            Self::EtcdData { dir } => !dir.join("member/wal").exists(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_damaged_until_somebody_repairs_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        fs::write(&path, "right, and longer than the damage\n").unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let damaged = damage(pid, path.display().to_string()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), DAMAGED);
        let endpoints = etcd::Endpoints::default();
        assert!(damaged.is_still(&endpoints).await);
        fs::write(&path, "right\n").unwrap();
        assert!(!damaged.is_still(&endpoints).await);
        fs::remove_file(&path).unwrap();
        assert!(damaged.is_still(&endpoints).await, "nobody can tell");
        assert!(damage(pid, path.display().to_string()).is_err(), "no file is made where there was none");
    }

    #[tokio::test]
    async fn lost_data_is_lost_until_there_is_a_log_again_and_without_etcd_nothing_is_touched() {
        let slot = tempfile::tempdir().unwrap();
        let wal = slot.path().join("etcd/member/wal");
        fs::create_dir_all(&wal).unwrap();
        let why = lose(slot.path(), std::process::id()).await.unwrap_err();
        assert!(why.contains("doesn't run") && wal.exists(), "{why}");
        let damaged = Damaged::EtcdData { dir: slot.path().join(ETCD) };
        let endpoints = etcd::Endpoints::default();
        assert!(!damaged.is_still(&endpoints).await);
        fs::remove_dir_all(&wal).unwrap();
        assert!(damaged.is_still(&endpoints).await);
    }

    #[test]
    fn what_a_killed_outpost_had_put_out_of_the_way_is_removed() {
        let slots = tempfile::tempdir().unwrap();
        fs::create_dir_all(slots.path().join("2/etcd.lost/member")).unwrap();
        fs::create_dir_all(slots.path().join("3/etcd")).unwrap();
        let swept = sweep(slots.path()).unwrap();
        assert!(swept.len() == 1 && swept[0].contains("2/etcd.lost"), "{swept:?}");
        assert!(!slots.path().join("2/etcd.lost").exists() && slots.path().join("3/etcd").exists());
        assert_eq!(sweep(slots.path()), Ok(vec![]));
        assert_eq!(sweep(&slots.path().join("none")), Ok(vec![]));
    }
}

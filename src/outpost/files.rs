//! Files of the ledger on the shared volume. A file is acknowledged when file and directories are fsynced: with
//! GlusterFS's write-behind a close proves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::mounts;

/// The volume's root, held open: whatever is mounted or unmounted at its path meanwhile, what is done through it meets this
/// one file system or fails.
#[derive(Debug)]
pub struct Volume {
    root: File,
    shown: PathBuf,
}

impl Volume {
    /// Opens the root of a mounted volume. A write to the bare directory would be acknowledged by the wrong disk.
    ///
    /// # Errors
    /// If what is there is no file system of this machine's GlusterFS client, or its server doesn't answer.
    pub fn open(root: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", root.display());
        let volume = Self::of_directory(root)?;
        let device = volume.root.metadata().map_err(failed)?.dev();
        let device = format!("{}:{}", major(device), minor(device));
        let table = fs::read_to_string(mounts::TABLE).map_err(failed)?;
        if mounts::is_device_of(&table, &device, mounts::GLUSTERFS) {
            Ok(volume)
        } else {
            Err(format!("{} is not a mount of GlusterFS: the shared volume is not mounted there", root.display()))
        }
    }

    fn of_directory(root: &Path) -> Result<Self, String> {
        let opened = File::open(root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(Self { root: opened, shown: root.to_owned() })
    }

    fn below(&self, path: &Path) -> Result<PathBuf, String> {
        below(&self.root_path(), path)
    }

    /// The open root: the kernel takes what is below from the descriptor, not from the root's name.
    fn root_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }

    /// Creates a file that must not exist, and returns when it is on stable storage, its name and new directories included.
    ///
    /// # Errors
    /// If it exists, or any step fails: then the outcome is unknown.
    pub fn write(&self, path: &Path, content: &str) -> Result<(), String> {
        let full = self.below(path)?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.shown.join(path).display());
        let dir = path.parent().ok_or("a file needs a directory")?;
        self.create_dirs(dir).map_err(failed)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&full).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.sync_dir(dir).map_err(failed)
    }

    /// Name → content of every file in a directory; nothing if the directory isn't there.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn read_all(&self, dir: &Path) -> Result<BTreeMap<String, String>, String> {
        let full = self.below(dir)?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.shown.join(dir).display());
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let content = fs::read(entry.path()).map_err(|error| format!("{name}: {error}"))?;
                files.insert(name, String::from_utf8_lossy(&content).into_owned());
            }
        }
        Ok(files)
    }

    /// Whether there is something of this name.
    ///
    /// # Errors
    /// If the volume doesn't tell.
    pub fn has(&self, path: &Path) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.shown.join(path).display());
        self.below(path)?.try_exists().map_err(failed)
    }

    fn create_dirs(&self, dir: &Path) -> std::io::Result<()> {
        let full = self.root_path().join(dir);
        if full.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(Path::new(""));
        self.create_dirs(parent)?;
        match fs::create_dir(full) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => result?,
        }
        self.sync_dir(parent)
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        File::open(self.root_path().join(dir))?.sync_all()
    }
}

/// A path below `root` that stays there.
///
/// # Errors
/// If it could lead elsewhere.
pub(super) fn below(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    if normal && path != Path::new("") {
        Ok(root.join(path))
    } else {
        Err(format!("'{}' must be a relative path without '..'", path.display()))
    }
}

/// Removes the files of a directory whose names begin so: what a process that was killed has left there. Returns what that was.
pub(super) fn remove_all(dir: &Path, prefix: &str) -> Vec<String> {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let gone = ours.filter(|entry| fs::remove_file(entry.path()).is_ok());
    gone.map(|entry| format!("removed {}", entry.path().display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(root: &Path) -> Volume {
        Volume::of_directory(root).expect("a directory")
    }

    #[test]
    fn a_file_is_written_once_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let volume = volume(root.path());
        let path = Path::new("ledger/host-1/0001");
        volume.write(path, "one").unwrap();
        assert!(volume.write(path, "two").unwrap_err().contains("exists"));
        volume.write(Path::new("ledger/host-1/0002"), "two").unwrap();
        let files = volume.read_all(Path::new("ledger/host-1")).unwrap();
        let expected = [("0001", "one"), ("0002", "two")];
        assert_eq!(files, BTreeMap::from(expected.map(|(k, v)| (k.into(), v.into()))));
        assert_eq!(volume.read_all(Path::new("ledger/host-2")), Ok(BTreeMap::new()));
        assert_eq!((volume.has(path), volume.has(Path::new("ledger/0001"))), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_was_opened_is_written_whatever_takes_its_place() {
        let here = tempfile::tempdir().unwrap();
        let (root, moved) = (here.path().join("shared"), here.path().join("moved"));
        fs::create_dir(&root).unwrap();
        let volume = volume(&root);
        // As when the volume is unmounted, and the bare directory shows.
        fs::rename(&root, &moved).unwrap();
        fs::create_dir(&root).unwrap();
        volume.write(Path::new("dir/f1"), "one").unwrap();
        assert_eq!(fs::read_to_string(moved.join("dir/f1")).unwrap(), "one");
        assert!(!root.join("dir").exists());
        assert_eq!(volume.read_all(Path::new("dir")).unwrap().len(), 1);
    }

    #[test]
    fn nothing_outside_of_the_volume_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let volume = volume(root.path());
        for path in ["../x", "/etc/x", "a/../../x", ""] {
            assert!(volume.write(Path::new(path), "").is_err(), "{path}");
            assert!(volume.read_all(Path::new(path)).is_err(), "{path}");
            assert!(volume.has(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_plain_directory_is_not_the_volume() {
        let root = tempfile::tempdir().unwrap();
        assert!(Volume::open(root.path()).unwrap_err().contains("not mounted"));
        assert!(Volume::open(&root.path().join("none")).is_err());
    }
}

//! Files of the ledger on the shared volume. A file is acknowledged when file and directories are fsynced: with
//! GlusterFS's write-behind a close proves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};

/// Makes sure that the volume is mounted there: a write beside it would be acknowledged by the wrong disk.
///
/// # Errors
/// If there is no FUSE file system at the path.
pub fn mounted(root: &Path) -> Result<(), String> {
    let system = statfs(root).map_err(|error| format!("{}: {error}", root.display()))?;
    if system.filesystem_type() == FUSE_SUPER_MAGIC {
        Ok(())
    } else {
        Err(format!("{} is not a FUSE mount: the shared volume is not mounted there", root.display()))
    }
}

/// Creates a file that must not exist, and returns when it is on stable storage, its name and new directories included.
///
/// # Errors
/// If it exists, or any step fails: then the outcome is unknown.
pub fn write(root: &Path, path: &Path, content: &str) -> Result<(), String> {
    let path = below(root, path)?;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let dir = path.parent().ok_or("a file needs a directory")?;
    create_dirs(root, dir).map_err(failed)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    sync_dir(dir).map_err(failed)
}

/// Name → content of every file in a directory; nothing if the directory isn't there.
///
/// # Errors
/// If a file can't be read.
pub fn read_all(root: &Path, dir: &Path) -> Result<BTreeMap<String, String>, String> {
    let dir = below(root, dir)?;
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let entries = match fs::read_dir(&dir) {
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

pub(super) fn below(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    if normal && path != Path::new("") {
        Ok(root.join(path))
    } else {
        Err(format!("'{}' must be a relative path without '..'", path.display()))
    }
}

fn create_dirs(root: &Path, dir: &Path) -> std::io::Result<()> {
    if dir == root || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(root);
    create_dirs(root, parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => result?,
    }
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let path = Path::new("ledger/host-1/0001");
        write(root.path(), path, "one").unwrap();
        assert!(write(root.path(), path, "two").unwrap_err().contains("exists"));
        write(root.path(), Path::new("ledger/host-1/0002"), "two").unwrap();
        let files = read_all(root.path(), Path::new("ledger/host-1")).unwrap();
        let expected = [("0001", "one"), ("0002", "two")];
        assert_eq!(files, BTreeMap::from(expected.map(|(k, v)| (k.into(), v.into()))));
        assert_eq!(read_all(root.path(), Path::new("ledger/host-2")), Ok(BTreeMap::new()));
    }

    #[test]
    fn nothing_outside_of_the_volume_is_touched() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a/../../x", ""] {
            assert!(write(root.path(), Path::new(path), "").is_err(), "{path}");
            assert!(read_all(root.path(), Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_plain_directory_is_not_the_volume() {
        let root = tempfile::tempdir().unwrap();
        assert!(mounted(root.path()).unwrap_err().contains("not mounted"));
        assert!(mounted(&root.path().join("none")).is_err());
    }
}

//! What lies on this machine's brick, past GlusterFS: replicas that agree have the same files with the same content.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::below;
use super::traces::hex;

/// Path relative to the volume → SHA-256 of the content, for every file in these directories (not below them). A directory
/// that isn't there has no files.
///
/// # Errors
/// If a directory or a file can't be read.
pub fn sums(brick: &Path, dirs: &[PathBuf]) -> Result<BTreeMap<String, String>, String> {
    let mut sums = BTreeMap::new();
    for dir in dirs {
        let full = below(brick, dir)?;
        let failed = |error: std::io::Error| format!("{}: {error}", full.display());
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                let content = fs::read(entry.path()).map_err(|error| format!("{}: {error}", entry.path().display()))?;
                sums.insert(dir.join(entry.file_name()).display().to_string(), hex(&Sha256::digest(content)));
            }
        }
    }
    Ok(sums)
}

/// Where GlusterFS's index translator notes what others must heal: a file for each entry, named by its id, links of one base file.
const INDEX: &str = ".glusterfs/indices/xattrop";
/// What the base file's name begins with.
const BASE: &str = "xattrop-";

/// How many entries the brick holds for others to heal from.
///
/// # Errors
/// If its index can't be read.
pub fn held(brick: &Path) -> Result<u64, String> {
    let index = brick.join(INDEX);
    let entries = match fs::read_dir(&index) {
        Ok(entries) => entries,
        // It was never written to.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(format!("{}: {error}", index.display())),
    };
    let is_entry = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with(BASE);
    Ok(entries.flatten().filter(is_entry).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_index_are_counted_without_its_base() {
        let brick = tempfile::tempdir().unwrap();
        assert_eq!(held(brick.path()), Ok(0));
        let index = brick.path().join(INDEX);
        fs::create_dir_all(&index).unwrap();
        for name in ["xattrop-8a1f", "41aa3deb-5e06-4745-b201-e05d6002a5ec"] {
            fs::write(index.join(name), "").unwrap();
        }
        assert_eq!(held(brick.path()), Ok(1));
    }

    #[test]
    fn a_files_sum_follows_its_content() {
        let brick = tempfile::tempdir().unwrap();
        let dirs = [PathBuf::from("ledger/files"), PathBuf::from("ledger/none")];
        fs::create_dir_all(brick.path().join("ledger/files/deeper")).unwrap();
        fs::write(brick.path().join("ledger/files/f1"), "abc").unwrap();
        let before = sums(brick.path(), &dirs).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(before, BTreeMap::from([("ledger/files/f1".to_owned(), abc.to_owned())]));
        fs::write(brick.path().join("ledger/files/f1"), "abd").unwrap();
        assert_ne!(sums(brick.path(), &dirs).unwrap(), before);
        assert!(sums(brick.path(), &["../elsewhere".into()]).is_err());
    }
}

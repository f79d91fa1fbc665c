//! Where a file of the volume lies, as one host sees it: what the report shows of an item that should be there and isn't.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{Volume, below};

/// Where a brick keeps its objects by id: a file has a link there beside its name.
const OBJECTS: &str = ".glusterfs";
/// Marks of what another brick has missed, and the object's id.
const MARKS: [&str; 2] = ["trusted.afr.", "trusted.gfid"];
/// Objects without a name that are looked into: a volume of a testbed has none, or a few.
const NAMELESS_MAX: usize = 1_000;

/// One file of the volume, seen from one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTrace {
    /// It lies on this host's brick under its name: its marks (`trusted.afr.*`, `trusted.gfid`), in hexadecimal.
    pub brick: Result<Option<BTreeMap<String, String>>, String>,
    /// Marks of its directory on this brick.
    pub directory: Result<BTreeMap<String, String>, String>,
    /// Objects of this brick that hold its content and have lost their name.
    pub nameless: Vec<String>,
    /// This host's mount shows it.
    pub mounted: Result<bool, String>,
}

/// Looks for files (path relative to the volume → content) on this machine's brick and through its mount.
#[must_use]
pub fn look(brick: &Path, mount: &Path, files: &BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, FileTrace> {
    let nameless = nameless(brick);
    let volume = Volume::open(mount);
    let trace = |(path, content): (&PathBuf, &String)| {
        let holding = nameless.iter().filter(|(_, held)| held.contains(content.as_str()));
        let trace = FileTrace {
            brick: on_brick(brick, path),
            directory: path.parent().map_or(Ok(BTreeMap::new()), |dir| marks(&brick.join(dir))),
            nameless: holding.map(|(object, _)| object.clone()).collect(),
            mounted: volume.as_ref().map_err(Clone::clone).and_then(|volume| volume.has(path)),
        };
        (path.clone(), trace)
    };
    files.iter().map(trace).collect()
}

fn on_brick(brick: &Path, path: &Path) -> Result<Option<BTreeMap<String, String>>, String> {
    let full = below(brick, path)?;
    match fs::symlink_metadata(&full) {
        Ok(_) => marks(&full).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", full.display())),
    }
}

fn marks(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let failed = |error: std::io::Error| format!("marks of {}: {error}", path.display());
    let mut marks = BTreeMap::new();
    for name in xattr::list(path).map_err(failed)? {
        let name = name.to_string_lossy().into_owned();
        if MARKS.iter().any(|mark| name.starts_with(mark)) {
            let value = xattr::get(path, &name).map_err(failed)?.unwrap_or_default();
            marks.insert(name, hex(&value));
        }
    }
    Ok(marks)
}

/// Objects whose only link is the one by id, and what they hold: `.glusterfs/ab/cd/abcd…`. What can't be read is left out: this is a
/// search, not a proof.
fn nameless(brick: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let of = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    let pair = |entry: &fs::DirEntry| entry.file_name().len() == 2;
    for outer in of(brick.join(OBJECTS)).filter(pair) {
        for inner in of(outer.path()).filter(pair) {
            for object in of(inner.path()) {
                let lone = object.metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1);
                if lone && found.len() < NAMELESS_MAX {
                    let content = fs::read(object.path()).unwrap_or_default();
                    let name = object.file_name().to_string_lossy().into_owned();
                    found.push((name, String::from_utf8_lossy(&content).into_owned()));
                }
            }
        }
    }
    found
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_its_name_or_by_what_it_holds() {
        let brick = tempfile::tempdir().unwrap();
        let objects = brick.path().join(".glusterfs/ab/cd");
        fs::create_dir_all(&objects).unwrap();
        fs::create_dir(brick.path().join("dir")).unwrap();
        fs::write(objects.join("abcd-1"), "one").unwrap();
        fs::hard_link(objects.join("abcd-1"), brick.path().join("dir/f1")).unwrap();
        fs::write(objects.join("abcd-2"), "two").unwrap();
        let files = [("dir/f1", "one"), ("dir/f2", "two"), ("dir/f3", "three")];
        let files = files.map(|(path, content)| (PathBuf::from(path), content.to_owned()));
        let traces = look(brick.path(), Path::new("/none"), &BTreeMap::from(files));
        let seen: Vec<_> = traces.values().map(|t| (t.brick.clone().unwrap().is_some(), t.nameless.clone())).collect();
        let nothing = Vec::<String>::new();
        assert_eq!(seen, [(true, nothing.clone()), (false, vec!["abcd-2".to_owned()]), (false, nothing)]);
        assert!(traces.values().all(|trace| trace.mounted.is_err() && trace.directory.is_ok()));
    }
}

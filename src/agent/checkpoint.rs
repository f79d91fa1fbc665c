//! The checkpoint on disk: one JSON file in the work directory, replaced atomically.

use std::path::{Path, PathBuf};

use super::core::Checkpoint;
use crate::files::replace;

const FILE: &str = "checkpoint.json";

/// Reads the checkpoint; an absent one is an empty one.
///
/// # Errors
/// If the file can't be read or isn't a checkpoint. Going on without it would kill every running task as an orphan.
pub fn load(work_dir: &Path) -> Result<Checkpoint, String> {
    let path = path(work_dir);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| {
            format!(
                "{} is not a checkpoint: {e}; remove the work directory to start anew (the tasks are lost)",
                path.display()
            )
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Checkpoint::default()),
        Err(e) => Err(format!("cannot read the checkpoint {}: {e}", path.display())),
    }
}

/// Writes the checkpoint: a reader finds the old or the new one, also after a loss of power.
///
/// # Errors
/// If it can't be written.
pub fn save(work_dir: &Path, checkpoint: &Checkpoint) -> Result<(), String> {
    let path = path(work_dir);
    let text = serde_json::to_vec(checkpoint).expect("a checkpoint is plain data with text keys");
    replace(&path, text, 0o644).map_err(|e| format!("cannot write the checkpoint {}: {e}", path.display()))
}

fn path(work_dir: &Path) -> PathBuf {
    work_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(load(dir.path()), Ok(Checkpoint::default()));
        save(dir.path(), &Checkpoint::default()).expect("written");
        assert_eq!(load(dir.path()), Ok(Checkpoint::default()));
        std::fs::write(dir.path().join(FILE), "no").expect("written");
        assert!(load(dir.path()).is_err());
    }
}

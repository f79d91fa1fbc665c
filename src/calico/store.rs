//! The allocation table on disk: one JSON file, replaced atomically.

use std::path::{Path, PathBuf};

use super::core::Table;
use crate::files::replace;

/// The file's name in the state directory.
const FILE: &str = "allocations.json";

/// Reads the table; an absent file, or one of another pool, gives an empty table.
///
/// # Errors
/// If the file can't be read or isn't a table: addresses in use would be given away, so this is the operator's to decide.
pub fn load(state_dir: &Path, pool: &str) -> Result<Table, String> {
    let path = path(state_dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Table::new(pool),
        Err(e) => {
            return Err(format!("cannot read the allocations in {}: {e}", path.display()));
        }
    };
    let table: Table = serde_json::from_str(&text).map_err(|e| {
        format!("{} is not a table of allocations: {e}; remove it if no container runs on this host", path.display())
    })?;
    if table.pool() == pool { Ok(table) } else { Table::new(pool) }
}

/// Writes the table: a reader finds the old or the new one, never half of it, also after a loss of power.
///
/// # Errors
/// If the directory or the file can't be written.
pub fn save(state_dir: &Path, table: &Table) -> Result<(), String> {
    let path = path(state_dir);
    let text = serde_json::to_vec_pretty(table).expect("a table is plain data with text keys");
    replace(&path, text, 0o644).map_err(|e| format!("cannot write the allocations to {}: {e}", path.display()))
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_another_pool_starts_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let pool = "198.19.0.0/24";
        let table = load(dir.path(), pool).expect("no file yet");
        save(dir.path(), &table).expect("written");
        assert_eq!(load(dir.path(), pool), Ok(table));
        assert_eq!(load(dir.path(), "198.19.1.0/24").map(|t| t.pool().to_owned()), Ok("198.19.1.0/24".to_owned()));
        std::fs::write(dir.path().join(FILE), "{").expect("written");
        assert!(load(dir.path(), pool).is_err_and(|e| e.contains("remove it")));
    }
}

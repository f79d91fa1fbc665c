//! Files that survive the loss of whoever writes them, and of power.

use std::fs::{File, OpenOptions, create_dir_all, rename};
use std::io::{Result, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file whole, and makes its directory if it isn't there: readers see the old or the new one. It is on the disk when
/// this returns.
///
/// # Errors
/// If it can't be written; the old one is there still.
pub fn replace(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    create_dir_all(dir)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = dir.join(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    file.write_all(content.as_ref())?;
    file.sync_all()?;
    rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_stays_beside_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("new/state.json");
        replace(&path, b"a long first text", 0o600)?;
        replace(&path, b"short", 0o600)?;
        assert_eq!(std::fs::read(&path)?, b"short");
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path().join("new"))?.count(), 1);
        Ok(())
    }
}

//! The files that the agent writes, and keeps as written.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::core::names::Write;
use crate::files::replace;

/// Rewrites a file in place, for bind mounts, which can't be renamed over. One write carries the whole text, padded with
/// empty lines to the old length, so that readers never see an end of the old text behind the new one.
///
/// # Errors
/// If it can't be written.
pub fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let old = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut padded = text.as_bytes().to_vec();
    padded.resize(padded.len().max(old), b'\n');
    let written = file.write_at(&padded, 0)?;
    if written != padded.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("{} took {written} of {} bytes", path.display(), padded.len()),
        ));
    }
    file.set_len(text.len() as u64)
}

/// Where names and keys go. Remembers their content and restores it when something else changes it.
#[derive(Debug)]
pub struct NameFiles {
    hosts: PathBuf,
    authorized_keys: PathBuf,
    known_hosts: PathBuf,
    written: BTreeMap<PathBuf, String>,
}

impl Default for NameFiles {
    fn default() -> Self {
        Self {
            hosts: "/etc/hosts".into(),
            authorized_keys: super::ssh::AUTHORIZED_KEYS.into(),
            known_hosts: super::ssh::KNOWN_HOSTS.into(),
            written: BTreeMap::new(),
        }
    }
}

impl NameFiles {
    /// Writes a file. What fails is loud, and tried again by [`NameFiles::restore`].
    pub fn write(&mut self, write: Write) {
        let (path, text) = match write {
            Write::AuthorizedKeys(text) => (&self.authorized_keys, text),
            Write::KnownHosts(text) => (&self.known_hosts, text),
            Write::Hosts(text) => (&self.hosts, text),
        };
        self.put(path, &text);
        self.written.insert(path.clone(), text);
    }

    /// Rewrites every file that doesn't say what was written.
    pub fn restore(&self) {
        for (path, text) in &self.written {
            if fs::read_to_string(path).ok().as_ref() != Some(text) {
                tracing::warn!("{} was changed by something else; it is written again", path.display());
                self.put(path, text);
            }
        }
    }

    fn put(&self, path: &Path, text: &str) {
        let done = if path == self.hosts { overwrite(path, text) } else { replace(path, text, 0o600) };
        if let Err(error) = done {
            tracing::error!("cannot write {}: {error}; it is tried again in a second", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_shorter_text_leaves_nothing_of_the_old_and_the_same_file() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("hosts");
        overwrite(&path, "a long first text\n")?;
        let inode = fs::metadata(&path)?.ino();
        overwrite(&path, "short\n")?;
        assert_eq!(fs::read_to_string(&path)?, "short\n");
        assert_eq!(fs::metadata(&path)?.ino(), inode);
        Ok(())
    }

    #[test]
    fn what_something_else_changed_is_restored() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut files = NameFiles {
            hosts: dir.path().join("hosts"),
            authorized_keys: dir.path().join("keys"),
            known_hosts: dir.path().join("known"),
            written: BTreeMap::new(),
        };
        files.write(Write::Hosts("right\n".into()));
        files.write(Write::KnownHosts("known\n".into()));
        fs::write(&files.hosts, "wrong, and longer\n")?;
        fs::remove_file(&files.known_hosts)?;
        files.restore();
        assert_eq!(fs::read_to_string(&files.hosts)?, "right\n");
        assert_eq!(fs::read_to_string(&files.known_hosts)?, "known\n");
        Ok(())
    }
}

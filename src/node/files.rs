//! The files that the agent writes, and finds changed or not.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::core::names::{Found, Write};
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

/// Where names and keys go.
#[derive(Debug)]
pub struct NameFiles {
    hosts: PathBuf,
    authorized_keys: PathBuf,
    known_hosts: PathBuf,
    /// Those whose last write failed: it is tried again in every tick, and told once.
    failing: BTreeSet<PathBuf>,
}

impl Default for NameFiles {
    fn default() -> Self {
        Self {
            hosts: "/etc/hosts".into(),
            authorized_keys: super::ssh::AUTHORIZED_KEYS.into(),
            known_hosts: super::ssh::KNOWN_HOSTS.into(),
            failing: BTreeSet::new(),
        }
    }
}

impl NameFiles {
    /// Writes a file. What fails is loud, and the core has it tried again when it finds the file different.
    pub fn write(&mut self, write: Write) {
        let (path, text) = match write {
            Write::AuthorizedKeys(text) => (&self.authorized_keys, text),
            Write::KnownHosts(text) => (&self.known_hosts, text),
            Write::Hosts(text) => (&self.hosts, text),
        };
        let done = if path == &self.hosts { overwrite(path, &text) } else { replace(path, &text, 0o600) };
        match done {
            Ok(()) => drop(self.failing.remove(path)),
            Err(error) => {
                if self.failing.insert(path.clone()) {
                    tracing::error!("cannot write {}: {error}; it is tried again until it works", path.display());
                }
            }
        }
    }

    /// What the files say now.
    #[must_use]
    pub fn look(&self) -> Found {
        let read = |path: &Path| fs::read_to_string(path).ok();
        Found {
            authorized_keys: read(&self.authorized_keys),
            known_hosts: read(&self.known_hosts),
            hosts: read(&self.hosts),
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
    fn what_was_written_is_found_and_what_is_gone_is_not() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut files = NameFiles {
            hosts: dir.path().join("hosts"),
            authorized_keys: dir.path().join("keys"),
            known_hosts: dir.path().join("none/known"),
            failing: BTreeSet::new(),
        };
        files.write(Write::Hosts("right\n".into()));
        files.write(Write::AuthorizedKeys("key\n".into()));
        fs::write(&files.hosts, "wrong, and longer\n")?;
        let found = files.look();
        assert_eq!(found.hosts.as_deref(), Some("wrong, and longer\n"));
        assert_eq!((found.authorized_keys.as_deref(), found.known_hosts), (Some("key\n"), None));
        files.write(Write::Hosts("right\n".into()));
        assert_eq!(files.look().hosts.as_deref(), Some("right\n"), "nothing of the longer text is left");
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_written_is_written_when_it_can() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut files = NameFiles { hosts: dir.path().join("later/hosts"), ..NameFiles::default() };
        files.write(Write::Hosts("right\n".into()));
        assert!(files.failing.contains(&files.hosts));
        fs::create_dir(dir.path().join("later"))?;
        files.write(Write::Hosts("right\n".into()));
        assert!(files.failing.is_empty());
        assert_eq!(fs::read_to_string(&files.hosts)?, "right\n");
        Ok(())
    }
}

//! A run's place on this machine: its id, its folder with the state and the secrets, and the lock that says that
//! somebody is responsible for it.
//!
//! # Layout
//! * [`home`]: where runs keep their state.
//! * [`id`]: names of runs.
//! * [`state`]: what is known about a run when nobody holds it.

pub mod home;
pub mod id;
pub mod state;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

pub use home::Home;
pub use state::{Phase, State};

/// A problem with a run's folder.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Reading or writing.
    #[error("{path}: {source}; the testbed keeps its state there (XDG_STATE_HOME moves it)")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state is of another version, or broken.
    #[error("{path} can't be understood ({why}); remove the run with the version of stormbed that made it")]
    State {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// Another process holds it.
    #[error("the run {id} is held by another stormbed process; wait for it, or stop it")]
    Held {
        /// The run.
        id: String,
    },
    /// No topology stands.
    #[error("no topology stands; start one with `stormbed up`")]
    NoneStands,
    /// More than one topology stands.
    #[error("several topologies stand: {ids}; name one of them")]
    SeveralStand {
        /// Which.
        ids: String,
    },
    /// A topology stands in the way.
    #[error("the topology {id} stands; remove it first (`stormbed down {id}`)")]
    Stands {
        /// Which.
        id: String,
    },
    /// No such run.
    #[error("there is no run {id}; `stormbed status` lists those that there are")]
    Unknown {
        /// What was asked for.
        id: String,
    },
}

impl RunError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// A run that this process is responsible for: it holds the lock until it is dropped or dies.
#[derive(Debug)]
pub struct Run {
    id: String,
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Run {
    /// Makes the folder of a new run and takes its lock.
    ///
    /// # Errors
    /// If the folder can't be made.
    pub fn create(home: &Home, id: &str) -> Result<Self, RunError> {
        let folder = home.folder(id);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(RunError::file(&folder))?;
        Self::lock(id, folder)
    }

    /// Takes the lock of a run that exists.
    ///
    /// # Errors
    /// [`RunError::Unknown`] or [`RunError::Held`].
    pub fn open(home: &Home, id: &str) -> Result<Self, RunError> {
        let folder = home.folder(id);
        if !folder.is_dir() {
            return Err(RunError::Unknown { id: id.to_owned() });
        }
        Self::lock(id, folder)
    }

    fn lock(id: &str, folder: PathBuf) -> Result<Self, RunError> {
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(RunError::file(&path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { id: id.to_owned(), folder, _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(RunError::Held { id: id.to_owned() }),
            Err((_, errno)) => Err(RunError::file(&path)(errno.into())),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder: state, secrets.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write_secret(&self, name: &str, content: &str) -> Result<PathBuf, RunError> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(RunError::file(&path))?;
        file.write_all(content.as_bytes()).map_err(RunError::file(&path))?;
        Ok(path)
    }

    /// Forgets the run: its folder goes, with the secrets in it.
    ///
    /// # Errors
    /// If it can't be removed.
    pub fn forget(self) -> Result<(), RunError> {
        std::fs::remove_dir_all(&self.folder).map_err(RunError::file(&self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_run_is_held_by_one_at_a_time() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let home = Home::at(dir.path());
        let run = Run::create(&home, "a")?;
        assert!(matches!(Run::open(&home, "a"), Err(RunError::Held { .. })));
        drop(run);
        Run::open(&home, "a")?.forget()?;
        assert!(matches!(Run::open(&home, "a"), Err(RunError::Unknown { .. })));
        Ok(())
    }

    #[test]
    fn secrets_are_for_their_owner_alone() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let run = Run::create(&Home::at(dir.path()), "a")?;
        let path = run.write_secret("key", "hush")?;
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path)?, "hush");
        Ok(())
    }
}

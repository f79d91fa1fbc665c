//! Where runs keep their state: one directory per user, whatever the working directory, so that a later `up` finds what
//! an earlier one left.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Run, RunError, State};

/// Between two looks at whether another start is done.
const CLAIM_AGAIN: Duration = Duration::from_millis(200);

/// See [`Home::claim`].
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct Claim(#[expect(dead_code, reason = "it is held, not read")] Flock<File>);

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    /// `$XDG_STATE_HOME/stormbed`, else `~/.local/state/stormbed`.
    #[must_use]
    pub fn of_user() -> Self {
        let of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let state = of("XDG_STATE_HOME")
            .or_else(|| of("HOME").map(|home| home.join(".local/state")))
            .unwrap_or_else(|| "/var/tmp".into());
        Self::at(&state.join("stormbed"))
    }

    /// A given directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of a run.
    #[must_use]
    pub fn folder(&self, id: &str) -> PathBuf {
        self.directory.join("runs").join(id)
    }

    /// The right to sweep, to make images and to claim a network: for one start at a time. Held until the claim is dropped.
    /// `wait` is called once if another start has it.
    ///
    /// # Errors
    /// If the lock's file can't be used.
    pub async fn claim(&self, wait: impl Fn()) -> Result<Claim, RunError> {
        let path = self.directory.join("claim.lock");
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(RunError::file(&path))?;
        let open = || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let mut told = false;
        // Ends with the other's start, which has bounds of its own, or with this command.
        loop {
            let file = open().map_err(RunError::file(&path))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Claim(lock)),
                Err((_, Errno::EWOULDBLOCK)) => {
                    if !std::mem::replace(&mut told, true) {
                        wait();
                    }
                    tokio::time::sleep(CLAIM_AGAIN).await;
                }
                Err((_, errno)) => return Err(RunError::file(&path)(errno.into())),
            }
        }
    }

    /// Ids of all runs that have a folder, oldest first.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn runs(&self) -> Result<Vec<String>, RunError> {
        let place = self.directory.join("runs");
        let entries = match std::fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(RunError::file(place)(e)),
        };
        let mut ids: Vec<String> =
            entries.flatten().filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// Runs that nobody is responsible for: their lock is free, and they aren't left standing on purpose.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn abandoned(&self) -> Result<Vec<Run>, RunError> {
        let mut found = Vec::new();
        for id in self.runs()? {
            match Run::open(self, &id) {
                Err(RunError::Held { .. } | RunError::Unknown { .. }) => {}
                Err(other) => return Err(other),
                Ok(run) => {
                    // A state that was never written, or is cut short, is no reason to keep anything.
                    let standing = State::read(run.folder()).is_ok_and(|s| s.phase.is_standing());
                    if !standing {
                        found.push(run);
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;

    #[tokio::test]
    async fn one_start_at_a_time_claims() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let home = Home::at(&dir.path().join("state"));
        let waited = std::sync::atomic::AtomicU32::new(0);
        let wait = || {
            waited.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let first = home.claim(wait).await?;
        let second = home.claim(wait);
        let free = async {
            tokio::time::sleep(3 * CLAIM_AGAIN).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, free);
        let _second = second?;
        assert_eq!(waited.into_inner(), 1, "it is told once that it waits");
        Ok(())
    }

    #[test]
    fn only_runs_that_nobody_holds_or_wants_are_abandoned() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let home = Home::at(dir.path());
        assert!(home.abandoned()?.is_empty());
        let held = Run::create(&home, "held")?;
        drop(Run::create(&home, "no-state")?);
        for (id, phase) in [
            ("standing", Phase::Standing),
            ("killed", Phase::Starting),
            ("half-removed", Phase::Removing),
            ("runner-died", Phase::Running),
        ] {
            let run = Run::create(&home, id)?;
            crate::run::state::tests::example(phase).write(run.folder())?;
        }
        let abandoned: Vec<String> = home.abandoned()?.iter().map(|r| r.id().to_owned()).collect();
        assert_eq!(abandoned, ["half-removed", "killed", "no-state", "runner-died"]);
        drop(held);
        Ok(())
    }
}

//! Where runs keep their state: one directory per user, whatever the working directory, so that a later `up` finds what
//! an earlier one left.

use std::path::{Path, PathBuf};

use super::{Run, RunError, State};

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

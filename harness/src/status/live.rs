//! `live.json` in a topology's folder: the runner's newest view, so that others can look on without asking the topology again.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::View;

const FILE: &str = "live.json";

/// What the runner sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The scenario that runs.
    pub scenario: String,
    /// Where it is: a step, or a phase of the runner.
    pub phase: String,
    /// The topology.
    pub view: View,
}

/// Writes views, at most one a second.
#[derive(Debug)]
pub struct Teller {
    path: PathBuf,
    told_unix_ms: u64,
}

/// Between two views: people look, not programs.
const EVERY_MS: u64 = 1_000;

impl Teller {
    /// Writes into a topology's folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE), told_unix_ms: 0 }
    }

    /// Writes a view, if it is time for one. That nobody can look on stops no run.
    pub fn tell(&mut self, scenario: &str, phase: &str, view: impl FnOnce() -> View) {
        let now = unix_ms();
        if now < self.told_unix_ms + EVERY_MS {
            return;
        }
        self.told_unix_ms = now;
        let live = Live { at_unix_ms: now, scenario: scenario.to_owned(), phase: phase.to_owned(), view: view() };
        let new = self.path.with_extension("new");
        let written = serde_json::to_vec(&live)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::debug!(%error, "{} is not written", self.path.display());
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // What nobody keeps up to date any more must not be taken for the present.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The newest view of the runner that uses this topology, and its age in milliseconds.
#[must_use]
pub fn read(folder: &Path) -> Option<(Live, u64)> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    let live: Live = serde_json::from_str(&text).ok()?;
    let age = unix_ms().saturating_sub(live.at_unix_ms);
    Some((live, age))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_there_while_its_runner_is() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut teller = Teller::new(folder.path());
        let view = super::super::screen::sample();
        teller.tell("leader-loss", "s1", || view.clone());
        teller.tell("leader-loss", "s2", || unreachable!("it is too soon for another"));
        let (live, age) = read(folder.path()).expect("it was written");
        assert_eq!((live.phase.as_str(), &live.view), ("s1", &view));
        assert!(age < 60_000);
        drop(teller);
        assert!(read(folder.path()).is_none());
    }
}

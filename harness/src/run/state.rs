//! What is known about a run when nobody holds it: enough to use it again or to remove it. No secrets.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::image::ImageSet;
use crate::topology::TopologyConfig;

const FILE: &str = "state.json";

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Being started; if its holder is gone, it is to be swept.
    Starting,
    /// Left standing on purpose; goes only by `down`.
    Standing,
    /// Used by a runner; if that is gone, it is to be swept.
    Running,
    /// Being removed.
    Removing,
}

impl Phase {
    /// It was left standing on purpose.
    #[must_use]
    pub fn is_standing(self) -> bool {
        self == Self::Standing
    }
}

/// A run's state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The run's id.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its number R: the third part of its networks' addresses.
    pub number: u8,
    /// What it was asked to be.
    pub config: TopologyConfig,
    /// The images it was made of.
    pub images: ImageSet,
    /// Port of the proxy on this machine's loopback.
    pub proxy_port: u16,
}

impl State {
    /// Reads the state in a run's folder.
    ///
    /// # Errors
    /// If it isn't there or can't be understood.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(RunError::file(&path))?;
        serde_json::from_str(&text).map_err(|e| RunError::State { path, why: e.to_string() })
    }

    /// Writes the state into a run's folder: all of it or nothing.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(FILE);
        let new = folder.join("state.json.new");
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| RunError::State { path: path.clone(), why: e.to_string() })?;
        std::fs::write(&new, text).map_err(RunError::file(&new))?;
        std::fs::rename(&new, &path).map_err(RunError::file(&path))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(phase: Phase) -> State {
        State {
            id: "x".into(),
            phase,
            number: 3,
            config: TopologyConfig::default(),
            images: ImageSet {
                zookeeper: "z:1".into(),
                node: "n:1".into(),
                node_id: "sha256:1".into(),
                host: "h:1".into(),
                router: "r:1".into(),
            },
            proxy_port: 40_000,
        }
    }

    #[test]
    fn a_state_survives_the_file() -> Result<(), RunError> {
        let dir = tempfile::tempdir().map_err(RunError::file("tmp"))?;
        let state = example(Phase::Standing);
        state.write(dir.path())?;
        assert_eq!(State::read(dir.path())?, state);
        Ok(())
    }
}

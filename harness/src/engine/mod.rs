//! The container engine of the user's machine, as the testbed uses it: a thin layer over its API that speaks in the
//! testbed's own terms and whose errors say what to do.
//!
//! # Layout
//! * [`error`]: what can go wrong, and what to do about it.
//! * [`container`]: describe, create, start, break and remove containers.
//! * [`exec`]: run commands in containers, with streams.
//! * [`build`]: build images from a context in memory.
//! * [`objects`]: networks and volumes, and everything that carries a run's label.
//! * [`terminal`]: run commands on this process's own streams.
//! * [`logs`]: what containers and the parts inside them wrote.

pub mod build;
pub mod container;
pub mod error;
pub mod exec;
pub mod logs;
pub mod objects;
pub mod terminal;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;

pub use container::ContainerSpec;
pub use error::EngineError;
pub use exec::{ExecOutput, ExecStream};

/// Label of every object of a run: its value is the run's id.
pub const LABEL_RUN: &str = "stormbed.run";
/// Label of every object of a run: the state directory that knows the run. Sweeping looks only at its own.
pub const LABEL_HOME: &str = "stormbed.home";
/// Label of a container: the machine's name in the topology.
pub const LABEL_MACHINE: &str = "stormbed.machine";
/// Label of the cache volume.
pub const LABEL_CACHE: &str = "stormbed.cache";
/// Label of our images: which one it is.
pub const LABEL_IMAGE: &str = "stormbed.image";

/// How long the engine may take to say that it is there: it answers in milliseconds or not at all.
const PING_MAX: Duration = Duration::from_secs(10);

/// A connection to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// Connects to the engine that `DOCKER_HOST` names, else to the local socket, and makes sure that it answers.
    ///
    /// # Errors
    /// [`EngineError::NotReachable`] or [`EngineError::NoRights`].
    pub async fn connect() -> Result<Self, EngineError> {
        let docker = Docker::connect_with_defaults()
            .map_err(|e| EngineError::from_connect(&e))?
            .with_timeout(Duration::from_secs(300));
        let docker = tokio::time::timeout(PING_MAX, docker.negotiate_version())
            .await
            .map_err(|_| EngineError::NotReachable {
                endpoint: error::endpoint(),
                why: format!("no answer within {} s", PING_MAX.as_secs()),
            })?
            .map_err(|e| EngineError::from_connect(&e))?;
        Ok(Self { docker })
    }

    /// The engine's own client, for what has no method here.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }
}

/// A label filter of the engine's list calls.
pub(crate) fn label_filter(label: &str, value: Option<&str>) -> HashMap<String, Vec<String>> {
    let text = value.map_or_else(|| label.to_owned(), |v| format!("{label}={v}"));
    HashMap::from([("label".to_owned(), vec![text])])
}

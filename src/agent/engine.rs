//! The agent's side of the engine: images, and containers that nobody runs any more. Running them is the [`executor`](super::executor)'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptions, ListContainersOptions, RemoveContainerOptions};
use futures_util::TryStreamExt;
use tracing::{info, warn};

use super::container::{PREFIX, name};
use super::reference;

/// The engine answers, apart from pulls and long waits, within this; starting a container on a busy machine takes seconds.
const CALL_MAX_S: u64 = 120;
/// Between two looks at an engine that is away.
const AWAY: Duration = Duration::from_secs(1);
const NOT_FOUND: u16 = 404;

/// A client of the engine behind a socket. It need not be up yet.
///
/// # Errors
/// If the socket's path can't be used.
pub fn connect(socket: &Path) -> Result<Docker, String> {
    Docker::connect_with_socket(&socket.to_string_lossy(), CALL_MAX_S, bollard::API_DEFAULT_VERSION)
        .map_err(|e| format!("cannot use the engine's socket {}: {e}", socket.display()))
}

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    socket: PathBuf,
    remove_delay: Duration,
}

impl Engine {
    /// The engine behind a socket.
    ///
    /// # Errors
    /// As for [`connect`].
    pub fn new(socket: &Path, remove_delay: Duration) -> Result<Self, String> {
        Ok(Self { docker: connect(socket)?, socket: socket.to_owned(), remove_delay })
    }

    /// All containers of an agent (`mesos-<id>`): id → runs. Waits for an engine that is away.
    pub async fn containers(&self) -> BTreeMap<String, bool> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        loop {
            match self.docker.list_containers(Some(options.clone())).await {
                Ok(all) => {
                    return all
                        .into_iter()
                        .filter_map(|container| {
                            let name = container.names?.into_iter().next()?;
                            let id = name.strip_prefix('/')?.strip_prefix(PREFIX)?.to_owned();
                            let runs = container.state.is_some_and(|s| s.to_string() == "running");
                            Some((id, runs))
                        })
                        .collect();
                }
                Err(error) => {
                    warn!(%error, "the engine doesn't list its containers yet");
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    /// Makes sure that the image is here: pulls it if it is missing, or anyway with `force`.
    ///
    /// # Errors
    /// What `docker pull` would have said.
    pub async fn prepare(&self, image: &str, force: bool) -> Result<(), String> {
        if !force && self.docker.inspect_image(image).await.is_ok() {
            return Ok(());
        }
        let reference = if image.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
            image.to_owned()
        } else {
            format!("{image}:latest")
        };
        let failed = |why: String| {
            let socket = self.socket.display();
            format!(
                "Failed to run 'docker -H unix://{socket} pull {reference}': exited with status 1; stderr='{why}\n'"
            )
        };
        reference::check(&reference).map_err(failed)?;
        let options = CreateImageOptions { from_image: Some(reference.clone()), ..CreateImageOptions::default() };
        let pull = self.docker.create_image(Some(options), None, None);
        pull.try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| failed(format!("Error response from daemon: {}", said(&error))))
    }

    /// Removes a container, running or not.
    pub async fn remove(&self, container: &str) {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        match self.docker.remove_container(&name(container), Some(options)).await {
            Ok(()) => info!(container, "removed"),
            Err(error) if is_missing(&error) => {}
            Err(error) => warn!(container, error = said(&error), "the container can't be removed"),
        }
    }

    /// A stopped container can be looked at for a while.
    pub async fn remove_later(&self, container: &str) {
        tokio::time::sleep(self.remove_delay).await;
        self.remove(container).await;
    }
}

/// Whether the engine says that there is no such thing.
#[must_use]
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: NOT_FOUND, .. })
}

/// What the engine said.
#[must_use]
pub fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

//! The engine's side of a task: image, container, output, end. One task per container, for as long as the container lives.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions,
    StopContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt};
use tracing::{info, warn};

use super::container::{PREFIX, Wanted, name};
use super::core::Progress;
use crate::supervisor::log::Log;

/// The engine answers, apart from pulls and long waits, within this; starting a container on a busy machine takes seconds.
const CALL_MAX_S: u64 = 120;
/// The status of a container that the engine couldn't make or start (as of `docker run`).
const CANNOT_RUN: i64 = 125;
/// Between two looks at an engine that is away.
const AWAY: Duration = Duration::from_secs(1);
const NOT_FOUND: u16 = 404;

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    remove_delay: Duration,
}

/// Where a container's output goes.
#[derive(Debug, Clone)]
pub struct Sandbox(PathBuf);

impl Sandbox {
    /// Makes the directory.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn make(path: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(path).map_err(|e| format!("cannot make the sandbox {}: {e}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    fn log(&self, stream: &str) -> Option<Log> {
        Log::at(&self.0.join(stream)).inspect_err(|error| warn!(%error, sandbox = %self.0.display(), "no log")).ok()
    }
}

impl Engine {
    /// The engine behind a socket. It need not be up yet.
    ///
    /// # Errors
    /// If the socket's path can't be used.
    pub fn new(socket: &Path, remove_delay: Duration) -> Result<Self, String> {
        let docker = Docker::connect_with_socket(&socket.to_string_lossy(), CALL_MAX_S, bollard::API_DEFAULT_VERSION)
            .map_err(|e| format!("cannot use the engine's socket {}: {e}", socket.display()))?;
        Ok(Self { docker, remove_delay })
    }

    /// All containers of an agent (`mesos-<id>`): id → runs. Waits for an engine that is away.
    pub async fn containers(&self) -> std::collections::BTreeMap<String, bool> {
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
    pub async fn prepare(&self, image: &str, force: bool) -> Progress {
        if !force && self.docker.inspect_image(image).await.is_ok() {
            return Progress::Prepared;
        }
        let reference = if image.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
            image.to_owned()
        } else {
            format!("{image}:latest")
        };
        let options = CreateImageOptions { from_image: Some(reference), ..CreateImageOptions::default() };
        let pull = self.docker.create_image(Some(options), None, None);
        match pull.try_for_each(|_| async { Ok(()) }).await {
            Ok(()) => Progress::Prepared,
            Err(e) => Progress::Unavailable(format!("Failed to pull image '{image}': {}", said(&e))),
        }
    }

    /// Makes and starts a container and reports its life; returns when it has ended.
    pub async fn run(&self, container: &str, wanted: Wanted, sandbox: &Sandbox, report: impl Fn(Progress)) {
        let name = name(container);
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let started = async {
            self.docker.create_container(Some(options), wanted.body).await?;
            self.docker.start_container(&name, None).await
        };
        if let Err(error) = started.await {
            warn!(container, error = said(&error), "the container can't be run");
            if let Some(log) = sandbox.log("stderr") {
                log.write(format!("docker: {}.\n", said(&error)).as_bytes());
            }
            self.remove(container).await;
            return report(Progress::Exited(CANNOT_RUN));
        }
        let output = tokio::spawn(copy_output(self.docker.clone(), name, sandbox.clone(), 0));
        self.watch_from_start(container, &wanted.network, &report).await;
        // The last lines are on their way once the container has ended.
        let _ = tokio::time::timeout(AWAY, output).await;
        self.remove_later(container);
    }

    /// Follows a container that was there before; reports as [`Engine::run`] does.
    pub async fn watch(
        &self,
        container: &str,
        network: &str,
        sandbox: &Sandbox,
        since_s: i32,
        report: impl Fn(Progress),
    ) {
        let output = copy_output(self.docker.clone(), name(container), sandbox.clone(), since_s);
        let output = tokio::spawn(output);
        self.watch_from_start(container, network, &report).await;
        let _ = tokio::time::timeout(AWAY, output).await;
        self.remove_later(container);
    }

    async fn watch_from_start(&self, container: &str, network: &str, report: &impl Fn(Progress)) {
        loop {
            match self.docker.inspect_container(&name(container), None).await {
                // The agent ended between making and starting it; nobody will start it now.
                Ok(found) if was_never_started(&found) => {
                    self.remove(container).await;
                    return report(Progress::Exited(CANNOT_RUN));
                }
                Ok(found) => {
                    report(Progress::Started { inspect: encoded(&found), address: address(&found, network) });
                    break;
                }
                Err(error) if is_missing(&error) => return report(Progress::Exited(137)),
                Err(error) => {
                    warn!(container, error = said(&error), "the engine is away");
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
        report(Progress::Exited(self.ended(container).await));
    }

    /// Waits for the container's end, through restarts of the engine.
    async fn ended(&self, container: &str) -> i64 {
        let name = name(container);
        loop {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            match self.docker.wait_container(&name, Some(options)).next().await {
                Some(Ok(end)) => return end.status_code,
                Some(Err(Error::DockerContainerWaitError { code, .. })) => return code,
                // Removed by force: killed on the way.
                Some(Err(error)) if is_missing(&error) => return 137,
                Some(Err(error)) => warn!(container, error = said(&error), "the engine is away"),
                None => warn!(container, "the engine ended the wait"),
            }
            tokio::time::sleep(AWAY).await;
        }
    }

    /// Stops a container: TERM, and KILL after the grace. A failure shows as a container that goes on running; the framework repeats its kill.
    pub async fn stop(&self, container: &str, grace: Duration) {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
        if let Err(error) = self.docker.stop_container(&name(container), Some(options)).await {
            warn!(container, error = said(&error), "the container can't be stopped");
        }
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

    /// A stopped container can be looked at for a while. After a restart of the agent it is an orphan and goes at once.
    fn remove_later(&self, container: &str) {
        let (engine, container) = (self.clone(), container.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(engine.remove_delay).await;
            engine.remove(&container).await;
        });
    }
}

async fn copy_output(docker: Docker, name: String, sandbox: Sandbox, since_s: i32) {
    let options = LogsOptions { follow: true, stdout: true, stderr: true, since: since_s, ..LogsOptions::default() };
    let (Some(stdout), Some(stderr)) = (sandbox.log("stdout"), sandbox.log("stderr")) else {
        return;
    };
    let mut output = docker.logs(&name, Some(options));
    while let Some(Ok(piece)) = output.next().await {
        match piece {
            LogOutput::StdErr { message } => stderr.write(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.write(&message),
            LogOutput::StdIn { .. } => {}
        }
    }
}

/// What `docker inspect` prints, as the scheduler API carries it.
fn encoded(found: &ContainerInspectResponse) -> String {
    let document = serde_json::to_vec(&[found]).unwrap_or_else(|_| b"[]".to_vec());
    BASE64_STANDARD.encode(document)
}

fn address(found: &ContainerInspectResponse, network: &str) -> Option<String> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    let address = networks.get(network)?.ip_address.as_ref()?.to_string();
    (!address.is_empty()).then_some(address)
}

fn was_never_started(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|state| state.status);
    status.is_some_and(|status| status.to_string() == "created")
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: NOT_FOUND, .. })
}

fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

//! The container of one task: `docker run` and `docker stop`, through the engine's API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    CreateContainerOptions, LogsOptions, RemoveContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use serde_json::Value;
use tracing::warn;

use super::ExecutorError;
use super::core::Progress;
use crate::agent::container::{Refusal, Wanted, name, translate};
use crate::agent::engine::{connect, is_missing, said};
use crate::agent::inspect::inspect;
use crate::mesos::types::TaskInfo;
use crate::supervisor::log::Log;

/// Between two looks at a container, or at an engine that is away.
const LOOK: Duration = Duration::from_millis(500);
/// The last lines of a container that has ended are on their way no longer than this.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// What `docker run` prints after everything that it refuses.
const HINT: &str = "Run 'docker run --help' for more information";
/// The status of a container that was removed by force: killed on the way.
const KILLED: i64 = 137;

/// A task's container.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    socket: PathBuf,
    id: String,
    name: String,
    sandbox: PathBuf,
}

impl Container {
    /// A container that may not exist yet.
    ///
    /// # Errors
    /// If the engine's socket can't be used.
    pub fn new(socket: &Path, id: &str, sandbox: &Path) -> Result<Self, ExecutorError> {
        let docker = connect(socket).map_err(ExecutorError::Engine)?;
        Ok(Self { docker, socket: socket.to_owned(), id: id.to_owned(), name: name(id), sandbox: sandbox.to_owned() })
    }

    /// Makes and starts the container and reports its life; returns when it has ended.
    pub async fn run(&self, task: &TaskInfo, report: impl Fn(Progress)) {
        // Both are there whatever comes.
        let (stdout, stderr) = (self.log("stdout"), self.log("stderr"));
        let wanted = match translate(task, &self.id, &self.sandbox) {
            Ok(wanted) => wanted,
            Err(Refusal::Options(why)) => return report(Progress::Refused(why)),
            Err(Refusal::CommandLine(why)) => {
                self.complain(&why);
                return report(Progress::CannotRun);
            }
        };
        let Wanted { body, network } = wanted;
        let options = CreateContainerOptions { name: Some(self.name.clone()), ..CreateContainerOptions::default() };
        let started = async {
            self.docker.create_container(Some(options), body).await?;
            self.docker.start_container(&self.name, None).await
        };
        if let Err(error) = started.await {
            self.complain(&format!("docker: Error response from daemon: {}", said(&error)));
            self.remove().await;
            return report(Progress::CannotRun);
        }
        let output = tokio::spawn(copy_output(self.docker.clone(), self.name.clone(), stdout, stderr));
        if let Some(found) = self.look().await {
            report(Progress::Started { inspect: encoded(&found), address: address(&found, &network) });
        }
        let code = self.ended().await;
        // Who hears of the end finds the output complete.
        let _ = tokio::time::timeout(LAST_LINES_MAX, output).await;
        report(Progress::Exited(code));
    }

    /// Stops the container: TERM, and KILL after the grace. A failure shows as a container that goes on running; the framework repeats its kill.
    pub async fn stop(&self, grace: Duration) {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
        if let Err(error) = self.docker.stop_container(&self.name, Some(options)).await {
            warn!(error = said(&error), "the container can't be stopped");
        }
    }

    /// The engine's document of the container; none if it is gone.
    async fn look(&self) -> Option<Value> {
        loop {
            match inspect(&self.socket, &self.name).await {
                Ok(found) => return found,
                Err(error) => warn!(error, "the engine is away"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the container's end, through restarts of the engine.
    async fn ended(&self) -> i64 {
        loop {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            match self.docker.wait_container(&self.name, Some(options)).next().await {
                Some(Ok(end)) => return end.status_code,
                Some(Err(Error::DockerContainerWaitError { code, .. })) => return code,
                Some(Err(error)) if is_missing(&error) => return KILLED,
                Some(Err(error)) => warn!(error = said(&error), "the engine is away"),
                None => warn!("the engine ended the wait"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes a container that was made but can't be started.
    async fn remove(&self) {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        match self.docker.remove_container(&self.name, Some(options)).await {
            Err(error) if !is_missing(&error) => warn!(error = said(&error), "the container can't be removed"),
            _ => {}
        }
    }

    fn complain(&self, why: &str) {
        warn!(why, "the container can't be run");
        if let Some(log) = self.log("stderr") {
            log.write(format!("{why}\n\n{HINT}\n").as_bytes());
        }
    }

    fn log(&self, stream: &str) -> Option<Log> {
        Log::at(&self.sandbox.join(stream)).inspect_err(|error| warn!(%error, "no log in the sandbox")).ok()
    }
}

async fn copy_output(docker: Docker, name: String, stdout: Option<Log>, stderr: Option<Log>) {
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return;
    };
    let options = LogsOptions { follow: true, stdout: true, stderr: true, ..LogsOptions::default() };
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
fn encoded(found: &Value) -> String {
    BASE64_STANDARD.encode(Value::Array(vec![found.clone()]).to_string())
}

fn address(found: &Value, network: &str) -> Option<String> {
    let address = found.get("NetworkSettings")?.get("Networks")?.get(network)?.get("IPAddress")?.as_str()?;
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_network_of_its_own_gives_an_address() {
        let found = json!({"NetworkSettings": {"Networks": {"calico": {"IPAddress": "198.19.0.10"}, "host": {"IPAddress": ""}}}});
        assert_eq!(address(&found, "calico").as_deref(), Some("198.19.0.10"));
        assert_eq!(address(&found, "host"), None);
        assert_eq!(address(&found, "other"), None);
    }
}

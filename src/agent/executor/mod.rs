//! `stormd docker-executor`: runs one DOCKER task, as Mesos's docker executor does: a process of its own, which outlives its agent.
//!
//! # Layout
//! * [`core`]: the task's life, updates that the agent doesn't keep yet. Pure.
//! * [`protocol`]: what executor and agent say to each other.
//! * `run`: the container.
//!
//! # Not here
//! Health checks: a task with one fails. General checks end the executor, as in Mesos. The image is the agent's to get, orphans are its to remove.

pub mod core;
pub mod protocol;
mod run;
mod shell;

use std::path::PathBuf;
use std::time::Duration;

pub use shell::run;

/// Arguments of `stormd docker-executor`; the agent gives them.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Arguments {
    /// The agent's socket.
    #[arg(long, value_name = "SOCKET")]
    pub agent: PathBuf,
    /// The container's id, a uuid.
    #[arg(long)]
    pub container: String,
    /// The container's sandbox.
    #[arg(long, value_name = "DIRECTORY")]
    pub sandbox: PathBuf,
    /// The engine's socket.
    #[arg(long, value_name = "SOCKET")]
    pub docker_socket: PathBuf,
    /// Grace of a kill without a policy.
    #[arg(long)]
    pub grace_ms: u64,
    /// How long to wait for an agent that is away; without it, the executor ends with its agent.
    #[arg(long)]
    pub recovery_ms: Option<u64>,
}

impl Arguments {
    /// The command line that means these.
    #[must_use]
    pub fn words(&self) -> Vec<std::ffi::OsString> {
        let mut words = vec![
            "docker-executor".into(),
            "--agent".into(),
            self.agent.clone().into_os_string(),
            "--container".into(),
            self.container.clone().into(),
            "--sandbox".into(),
            self.sandbox.clone().into_os_string(),
            "--docker-socket".into(),
            self.docker_socket.clone().into_os_string(),
            "--grace-ms".into(),
            self.grace_ms.to_string().into(),
        ];
        if let Some(recovery) = self.recovery_ms {
            words.extend(["--recovery-ms".into(), recovery.to_string().into()]);
        }
        words
    }

    fn settings(&self) -> core::Settings {
        core::Settings {
            container: self.container.clone(),
            grace: Duration::from_millis(self.grace_ms),
            recovery: self.recovery_ms.map(Duration::from_millis),
        }
    }
}

/// Why an executor ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The engine can't be used.
    #[error("the executor cannot start: {0}")]
    Engine(String),
    /// What Mesos's executor dies of, too.
    #[error("the executor ends: {0}")]
    Unsupported(&'static str),
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn the_words_mean_the_arguments() {
        for recovery_ms in [None, Some(900_000)] {
            let arguments = Arguments {
                agent: "/var/lib/a/executors.sock".into(),
                container: "c1".into(),
                sandbox: "/var/lib/a/slaves".into(),
                docker_socket: "/var/run/docker.sock".into(),
                grace_ms: 5_000,
                recovery_ms,
            };
            assert_eq!(Program::parse_from(arguments.words()).arguments, arguments);
        }
    }
}

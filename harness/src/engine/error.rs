//! What can go wrong between the testbed and the engine, and what the user does about it.

use std::error::Error as StdError;
use std::io::ErrorKind;

/// A call to the engine that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers.
    #[error(
        "the Docker engine at {endpoint} can't be reached ({why}); start it (`systemctl start docker`), or name another one in DOCKER_HOST"
    )]
    NotReachable {
        /// Where it was looked for.
        endpoint: String,
        /// What the system said.
        why: String,
    },
    /// The socket is there, but not for us.
    #[error(
        "no right to use the Docker engine at {endpoint} ({why}); run as root, or add this user to the group `docker` and log in again"
    )]
    NoRights {
        /// The socket.
        endpoint: String,
        /// What the system said.
        why: String,
    },
    /// The disk is full.
    #[error(
        "{what}: no space left on the engine's disk; free some (`docker system df` shows what takes it), then try again ({why})"
    )]
    NoSpace {
        /// What was being done.
        what: String,
        /// What the engine said.
        why: String,
    },
    /// The engine refused.
    #[error("{what}: {source}")]
    Call {
        /// What was being done.
        what: String,
        /// What the engine said.
        source: Box<bollard::errors::Error>,
    },
    /// A command in a container failed.
    #[error("{what} failed with exit code {code}: {output}")]
    Command {
        /// What was being done.
        what: String,
        /// Its exit code.
        code: i64,
        /// The end of its output.
        output: String,
    },
    /// An image build failed.
    #[error("the image {image} can't be built; its last lines:\n{tail}\n{advice}")]
    Build {
        /// The image.
        image: String,
        /// Last lines of the build.
        tail: String,
        /// What to do.
        advice: String,
    },
    /// Bounded, and the bound is over.
    #[error("{what}: no answer from the engine within {seconds} s")]
    Slow {
        /// What was being done.
        what: String,
        /// The bound.
        seconds: u64,
    },
    /// Input or output on a stream of the engine.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The endpoint that [`bollard`] uses by default, for messages.
#[must_use]
pub fn endpoint() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

impl EngineError {
    /// Tells "not there" from "not allowed".
    #[must_use]
    pub fn from_connect(error: &bollard::errors::Error) -> Self {
        let endpoint = endpoint();
        let mut why = error.to_string();
        // This variant shows its cause's text, but hides the cause itself from the chain.
        let mut source: Option<&(dyn StdError + 'static)> = match error {
            bollard::errors::Error::IOError { err } => Some(err),
            other => Some(other),
        };
        while let Some(e) = source {
            why = e.to_string();
            if let Some(io) = e.downcast_ref::<std::io::Error>()
                && io.kind() == ErrorKind::PermissionDenied
            {
                return Self::NoRights { endpoint, why };
            }
            source = e.source();
        }
        Self::NotReachable { endpoint, why }
    }

    /// Wraps what the engine said about `what`.
    #[must_use]
    pub fn call(what: impl Into<String>, source: bollard::errors::Error) -> Self {
        let what = what.into();
        let why = source.to_string();
        if is_no_space(&why) {
            return Self::NoSpace { what, why };
        }
        Self::Call { what, source: Box::new(source) }
    }

    /// The HTTP status that the engine answered with, if this is a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Call { source, .. } => match **source {
                bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(status_code),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The ways in which engines and tools say that a disk is full.
#[must_use]
pub fn is_no_space(text: &str) -> bool {
    text.contains("no space left on device") || text.contains("No space left on device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        let error = EngineError::call(
            "making the volume v",
            bollard::errors::Error::DockerResponseServerError {
                status_code: 500,
                message: "write /x: no space left on device".into(),
            },
        );
        assert!(matches!(error, EngineError::NoSpace { .. }));
        assert!(error.to_string().contains("free some"));
    }

    #[test]
    fn no_rights_is_told_from_not_there() {
        let io = |kind| bollard::errors::Error::IOError { err: std::io::Error::new(kind, "x") };
        assert!(matches!(EngineError::from_connect(&io(ErrorKind::PermissionDenied)), EngineError::NoRights { .. }));
        assert!(matches!(
            EngineError::from_connect(&io(ErrorKind::ConnectionRefused)),
            EngineError::NotReachable { .. }
        ));
    }
}

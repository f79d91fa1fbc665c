//! Why a topology doesn't stand.

use super::config::BadConfig;
use super::ready::Stage;
use crate::engine::EngineError;
use crate::fault::heal::HealError;
use crate::image::ImageError;
use crate::run::RunError;

/// A topology that can't be started, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The engine can't.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image can't be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A fault that a run before has left.
    #[error(transparent)]
    Heal(#[from] HealError),
    /// The configuration asks for something impossible.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// A secret can't be made or read.
    #[error("the topology's secrets can't be made or read: {0}")]
    Secrets(String),
    /// Every network of the ranges is taken.
    #[error(
        "no free network: every /24 of {underlay} or {pool} meets a network of the engine or a route of this machine; remove old networks (`docker network prune`), or set other ranges in the configuration"
    )]
    NoNetwork {
        /// Range of the underlays.
        underlay: String,
        /// Range of the pools.
        pool: String,
    },
    /// The proxy's port can't be had.
    #[error(
        "port {port} of this machine's loopback can't be had for the proxy ({why}); set another `proxy_port`, or none for any free one"
    )]
    Port {
        /// The port.
        port: u16,
        /// What the system said.
        why: String,
    },
    /// A machine's container ended while the topology came up.
    #[error("{machine} ended while the topology came up ({status}); the end of what it wrote:\n{log}")]
    Died {
        /// The machine.
        machine: String,
        /// What the engine says.
        status: String,
        /// The tails of its logs.
        log: String,
    },
    /// A stage isn't reached in time.
    #[error("{stage} not ready within {seconds} s: {why}; the end of what {machine} wrote:\n{log}")]
    NotReady {
        /// The stage.
        stage: Stage,
        /// Its bound.
        seconds: u64,
        /// What is missing.
        why: String,
        /// The machine to look at.
        machine: String,
        /// The tails of its logs.
        log: String,
    },
    /// A machine was named where only a node will do.
    #[error("only nodes run sshd: name one (storm-0, slot-3); `stormbed attach-shell` opens a shell on any machine")]
    NoNode,
    /// No machine has that name.
    #[error("there is no machine `{name}`; there are: {known}")]
    NoMachine {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl TopologyError {
    /// The exit code of a command that ends with this: 64 for what was asked for, 3 for what went wrong.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::NoMachine { .. }
            | Self::NoNode
            | Self::Run(
                RunError::Unknown { .. }
                | RunError::NoneStands
                | RunError::SeveralStand { .. }
                | RunError::Stands { .. },
            ) => 64,
            _ => 3,
        }
    }
}

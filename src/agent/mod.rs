//! The embedded Mesos agent: registers with the leading master and runs DOCKER tasks through an engine, as Mesos's docker
//! containerizer and executor do together.
//!
//! # Layout
//! * [`protocol`]: what agent and master say to each other.
//! * [`core`]: registration, tasks, status updates. Pure.
//! * [`container`]: from a task to what the engine is asked for. Pure.
//! * [`engine`]: images, containers, output.
//! * [`connection`]: the subscription to a master.
//! * [`checkpoint`]: what outlives the agent's process.
//! * [`http`]: the agent's own endpoints.
//!
//! # Not here
//! Custom executors and executor processes of their own (the agent is its tasks' executor; [`core`] already tells the two
//! sources of statuses apart), health checks, `max_completion_time`, fetching, disk quotas, the Mesos containerizer.

pub mod checkpoint;
pub mod connection;
pub mod container;
pub mod core;
pub mod engine;
pub mod http;
mod parameters;
pub mod protocol;
mod shell;

pub use parameters::SUPPORTED as SUPPORTED_PARAMETERS;
pub use shell::run;

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration can't be used.
    #[error("the agent cannot start: {0}")]
    Configuration(String),
    /// The state of before can't be taken up.
    #[error("Failed to perform recovery: {0}")]
    Recovery(String),
    /// The state can't be kept: going on would promise what a restart forgets.
    #[error("the agent cannot go on: {0}")]
    Checkpoint(String),
    /// The port can't be had.
    #[error("the agent cannot listen on {address}: {source}")]
    Listen {
        /// The address and port.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

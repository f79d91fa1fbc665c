//! The embedded Mesos agent: registers with the leading master and runs DOCKER tasks through an engine, as Mesos's agent does with its
//! docker containerizer: one executor process per task, which outlives the agent.
//!
//! ```text
//! master ◄─ protocol ─► agent ◄─ executor::protocol ─► stormd docker-executor ─► container
//!                         └─ images, orphans                └─ run, stop, wait
//! ```
//!
//! # Layout
//! * [`protocol`]: what agent and master say to each other.
//! * [`core`]: registration, tasks, status updates. Pure.
//! * [`executor`]: the program that runs one task; [`executors`]: the agent's side of it.
//! * [`container`]: from a task to what the engine is asked for. Pure.
//! * [`engine`]: images (`reference`: their names), and containers that nobody runs; [`inspect`]: the engine's own words about a container.
//! * [`connection`]: the subscription to a master.
//! * [`checkpoint`]: what outlives the agent's process.
//! * [`http`]: the agent's own endpoints.
//!
//! # Different from Mesos
//! An executor that dies leaves its container behind, as in Mesos; here it counts as an orphan at once, so that with
//! `docker_kill_orphans` it goes before somebody else gets its address.
//!
//! # Not here
//! Executors of frameworks, health checks (a task with one fails), fetching, disk quotas, the Mesos containerizer (a task for it
//! fails as on an agent that has it not enabled).

pub mod checkpoint;
pub mod connection;
pub mod container;
pub mod core;
pub mod engine;
pub mod executor;
pub mod executors;
pub mod http;
pub mod inspect;
mod parameters;
pub mod protocol;
mod reference;
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

//! Process 1 of every container of the topology: starts the parts that are configured, in dependency order, starts a part that
//! ended again after a second, and keeps down what a fault holds.
//!
//! # Layout
//! * [`core`]: which part to start, stop or signal when. Pure.
//! * [`plan`]: from the configuration to parts: commands, dependencies, signs of readiness.
//! * [`cgroup`]: what a nested engine needs of the container's mounts (cgroup v1 and v2).
//! * [`seed`]: the engine's data-root with the images, by hard links.
//! * [`network`]: the workload network in the engine.
//! * [`process`], [`log`]: children and their logs.
//! * [`init`]: the real process 1: reaps orphans and passes signals on, so that everything else can use ordinary child processes.
//! * [`control`], [`cli`]: the socket behind `stormd supervise status | hold | release`, and those.
//!
//! ```text
//! init (1) ── supervisor ─┬─ bird
//!                         ├─ calico ─► docker ─► network ─┐
//!                         ├─ seed   ──┘                   ├─► agent
//!                         └─ glusterd ─► mount ───────────┘
//! ```
//! Limits are left as the container has them: raising them needs CAP_SYS_RESOURCE, which the topology does without.

pub mod cgroup;
pub mod cli;
pub mod control;
pub mod core;
pub mod init;
pub mod log;
pub mod network;
pub mod plan;
pub mod process;
mod ready;
pub mod seed;
mod shell;

pub use shell::{enter, run};

/// Where the parts' configuration files and the control socket lie.
pub const RUN_DIR: &str = "/run/stormbed";

/// Why the supervisor ended.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The container isn't as a nested engine needs it.
    #[error("cannot prepare the container for a nested engine: {0}")]
    Nested(String),
    /// A file that the parts need can't be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part's configuration can't be written as TOML.
    #[error("the configuration of the part '{part}' cannot be written as TOML: {source}")]
    Toml {
        /// The part.
        part: String,
        /// Why.
        source: toml::ser::Error,
    },
    /// Something of the system failed.
    #[error("the supervisor cannot go on: {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

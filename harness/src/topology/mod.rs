//! The topology: machines, their network and their storage, started for real, watched while they come up, and removed
//! without a trace.
//!
//! # Layout
//! * [`config`]: what a topology is like; everything has a default.
//! * [`subnet`]: which networks are free; pure.
//! * [`plan`]: names, addresses, and what each machine is told; pure.
//! * [`mesos`]: whose Mesos runs, and with which flags.
//! * [`machines`]: each machine as a container.
//! * [`secrets`]: the token and the operator's key.
//! * [`storage`]: the GlusterFS volume over the hosts.
//! * [`ready`]: waiting for each part, bounded, with errors that name it.
//! * [`up`], [`down`]: the way up and the way down.
//! * [`handle`]: a topology that stands, for the runner.

pub mod config;
pub mod down;
pub mod error;
pub mod handle;
pub mod machines;
pub mod mesos;
pub mod plan;
pub mod ready;
pub mod secrets;
pub mod storage;
pub mod subnet;
pub mod up;

pub use config::TopologyConfig;
pub use error::TopologyError;
pub use handle::Topology;
pub use plan::{Machine, Plan, Role};
pub use ready::Stage;

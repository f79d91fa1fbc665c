//! The embedded Mesos agent.

pub mod protocol;

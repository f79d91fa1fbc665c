//! The agent inside each node container.

pub mod core;

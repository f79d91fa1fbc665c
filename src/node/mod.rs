//! The agent inside each node container.

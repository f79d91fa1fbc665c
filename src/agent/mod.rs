//! The embedded Mesos agent.

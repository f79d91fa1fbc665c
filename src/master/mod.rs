//! The embedded Mesos master.

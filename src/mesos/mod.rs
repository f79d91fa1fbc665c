//! A Mesos client library.

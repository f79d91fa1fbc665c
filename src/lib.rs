//! The system under test of Stormbed: a Mesos framework that keeps a cluster of containers together, and every program
//! that it needs around it. One binary, `stormd`, runs them all.
//!
//! # Layout
//! * [`clock`]: monotonic milliseconds; the cores' only notion of time.
//! * [`mounts`]: what is mounted where.
//! * [`files`]: files that are replaced whole.
//! * [`config`]: what each program is told at its start.
//! * [`registry`]: what the nodes tell each other through etcd.
//! * [`mesos`]: a Mesos client library: v1 types, RecordIO, detection and contention in ZooKeeper, the scheduler's connection.
//! * [`master`], [`agent`]: the embedded Mesos master and agent.
//! * [`framework`]: the scheduler that keeps N slots running.
//! * [`node`]: the agent inside each node container: etcd member, names and keys, Jupyter on the leader.
//! * [`proxy`]: the way in from outside; follows the leader.
//! * [`calico`]: the Docker network and IPAM plugin with Calico's data path, and BIRD's configuration.
//! * [`supervisor`]: process 1 of every container of the topology.
//! * [`outpost`]: the testbed's eyes and hands inside a host: its protocol, probes and faults.

pub mod agent;
pub mod calico;
pub mod clock;
pub mod config;
pub mod files;
pub mod framework;
pub mod master;
pub mod mesos;
pub mod mounts;
pub mod node;
pub mod outpost;
pub mod proxy;
pub mod registry;
pub mod supervisor;

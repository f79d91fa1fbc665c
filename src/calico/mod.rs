//! The Docker network and IPAM plugin with Calico's data path, and BIRD's configuration.
//!
//! Calico's own Docker plugin needs a cluster store that Docker no longer has; this one answers under the same names
//! (`calico`, `calico-ipam`) and builds the same data path, with `Scope: local` and allocations kept per host.
//!
//! # Layout
//! * [`wire`]: what Docker asks and what it is answered.
//! * [`core`]: the allocation table; request → reply and actions. Pure.
//! * [`datapath`]: interfaces, routes, sysctls and the netfilter chain.
//! * [`store`]: the table on disk.
//! * [`server`]: the two sockets.
//! * [`bird`]: BIRD's configuration.
//!
//! # Not here
//! IPv6, /26 block affinity (the framework alone allocates addresses), profiles and policy chains, endpoint records in etcd.

pub mod bird;
pub mod core;
pub mod datapath;
pub mod server;
pub mod store;
pub mod wire;

pub use server::{CalicoError, run};

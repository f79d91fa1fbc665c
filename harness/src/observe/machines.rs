//! What the testbed needs of a standing topology in order to look at it and to break it: streams to its outposts, and the
//! outer engine's view and verbs. The Docker topology implements it; tests stand in for it with an in-memory fake.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::BoxFuture;
use stormbed::outpost::protocol::Hello;
use tokio::io::{AsyncRead, AsyncWrite};

use super::observation::PartView;

/// The two halves of a stream to an outpost: its standard output and its standard input.
pub struct OutpostStream {
    /// Answers come from here.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// Requests go here; closing it tells the outpost to undo its faults and to exit.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for OutpostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutpostStream")
    }
}

/// A verb of the outer engine, by container id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// SIGKILL to process 1.
    Kill,
    /// SIGTERM to process 1, and SIGKILL when it doesn't end.
    Stop,
    /// Freeze.
    Pause,
    /// Thaw.
    Unpause,
    /// Start again, with its data.
    Start,
}

/// A standing topology, as far as observer, faults and ledger need it.
pub trait Machines: Send + Sync + 'static {
    /// Names of the machines that have an outpost: hosts and edge.
    fn outposts(&self) -> Vec<String>;

    /// What the outpost on this machine is told first. Holds secrets: it goes to standard input only. None: it has no outpost.
    fn hello(&self, machine: &str) -> Option<Hello>;

    /// Starts an outpost on a machine.
    fn open_outpost<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>>;

    /// The topology's own containers, by name.
    fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>>;

    /// Does something to one of the topology's own containers. Returns once the engine has acknowledged it.
    fn act<'a>(&'a self, container: &'a str, verb: Verb) -> BoxFuture<'a, Result<(), String>>;
}

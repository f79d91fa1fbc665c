//! The testbed's eyes and hands inside a host or the edge: one `stormd outpost` per machine, speaking JSON lines on its
//! standard streams. It reads files, sockets, the engine and foreign APIs; it never asks the system's own programs what
//! they think of themselves, except where that is the thing to be judged (Mesos).
//!
//! # Layout
//! * [`protocol`]: what is said on the streams; [`act`]: the faults among that.
//! * [`session`]: one stream from its first line to its end: order, bounds, heartbeat.
//! * [`machine`]: which call goes to which of the following.
//! * Looks: [`containers`], [`etcd`], [`routes`], [`mesos`], [`zookeeper`], [`logins`], [`reach`], [`gluster`], [`bricks`],
//!   [`traces`], [`logs`].
//! * Acts: [`files`] (the ledger's), [`faults`], and what those need of the machine: [`cut`] (made of `netfilter`'s rules, and
//!   tried by a [`crossing`]), [`slow`] ([`link`]s, by way of `nfqueue`), [`parts`] (the supervisor's), [`processes`], [`tamper`],
//!   [`full`] (a brick's disk), [`cpu`] and [`oom`] (limits of a `control_group`), [`syncs`] (a bad disk). [`marks`]: how those show that leave nothing else to be seen.
//! * [`commands`]: those of the runner's own invariants.
//! * [`inside`], [`listening`]: files and listening sockets of another process.
//!
//! Every look has a bound of its own below a second, so that one stuck part doesn't hide the others; logins, echoes,
//! heal state and files have the request's.

pub mod act;
pub mod bricks;
pub mod commands;
pub mod containers;
mod control_group;
pub mod cpu;
pub mod crossing;
pub mod cut;
pub mod etcd;
pub mod faults;
pub mod files;
pub mod full;
pub mod gluster;
pub mod inside;
pub mod link;
pub mod listening;
pub mod logins;
pub mod logs;
pub mod machine;
pub mod marks;
pub mod mesos;
mod neighbours;
mod netfilter;
mod nfqueue;
pub mod oom;
pub mod parts;
pub mod processes;
pub mod protocol;
pub mod reach;
pub mod routes;
pub mod session;
pub mod slow;
pub mod syncs;
pub mod tamper;
pub mod traces;
pub mod zookeeper;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Runs an outpost on this process's standard streams until its input ends, its heartbeat stops, or it is told to stop.
/// Then everything that it holds is undone, and the process exits with 0.
///
/// # Errors
/// If the process can't take signals.
pub async fn run() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    session::serve(input, output, stop, machine::Machine::new).await;
    // Not by returning: a runtime waits for its blocking threads, and one may sit in a read of standard input or of a
    // frozen mount for ever.
    std::process::exit(0)
}

/// What a look that may hang gets of its request's time: that nobody answered is then said by the look itself, before the request
/// ends without an answer.
pub(crate) fn own_time(within: Duration) -> Duration {
    within * 9 / 10
}

/// An error and its causes in one line, for an answer.
pub(crate) fn text(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

//! The real process 1: reaps orphans and passes signals on to the supervisor, its only child.
//!
//! Kept apart from the supervisor because who reaps everybody would also reap the supervisor's own children before it can ask how
//! they ended.

use std::io;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process is the first of its container.
#[must_use]
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Runs `command` as the only child until it ends; returns its exit code (128 + signal if one ended it).
///
/// # Errors
/// If the child can't be started or signals can't be handled.
pub async fn run(command: &mut Command) -> io::Result<i32> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let child = i32::try_from(command.spawn()?.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let mut ended = tokio::task::spawn_blocking(move || reap_until(child));
    loop {
        tokio::select! {
            _ = terminate.recv() => pass(child),
            _ = interrupt.recv() => pass(child),
            code = &mut ended => return code.map_err(io::Error::other)?,
        }
    }
}

fn pass(child: Pid) {
    // It may be gone already; then its end is on the way.
    let _ = kill(child, Signal::SIGTERM);
}

/// Waits for every child, orphans among them, until this one ends.
fn reap_until(child: Pid) -> io::Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

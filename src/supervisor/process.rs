//! Children: started with their streams going to the part's log, signalled by pid.

use std::process::{ExitStatus, Stdio};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::core::Signal;
use super::log::Log;
use super::plan::Before;

/// Does what has to be done before a part starts.
///
/// # Errors
/// What failed; the part counts as ended.
pub fn before(steps: &[Before]) -> Result<(), String> {
    for step in steps {
        let (done, path) = match step {
            Before::Remove(path) => (
                std::fs::remove_file(path)
                    .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }),
                path,
            ),
            Before::Dir(path) => (std::fs::create_dir_all(path), path),
            Before::Unmount(path) => {
                detach(path);
                (std::fs::create_dir_all(path), path)
            }
        };
        done.map_err(|e| format!("cannot prepare {}: {e}", path.display()))?;
    }
    Ok(())
}

/// Detaches a mount whose server is gone. Nothing mounted there is the usual case, and no failure.
fn detach(path: &std::path::Path) {
    let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
}

/// Starts a part in a process group of its own, so that a signal to the supervisor's group doesn't reach it.
///
/// # Errors
/// If the program can't be started.
pub fn start(command: &[String], log: &Log) -> Result<Child, String> {
    let (program, args) = command.split_first().ok_or("a part without a command")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot start '{}': {e}", command.join(" ")))?;
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(log.clone().pump(stdout));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(log.clone().pump(stderr));
    }
    Ok(child)
}

/// Sends a signal; a process that is gone already is no failure.
pub fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), nix::sys::signal::Signal::from(signal));
    }
}

/// How a process ended, for people.
#[must_use]
pub fn how(status: ExitStatus) -> String {
    status.to_string()
}

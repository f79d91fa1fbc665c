//! The guard: a small process beside the runner that undoes what the outer engine did, when the runner can't any more.
//!
//! Nothing of a runner that is killed with SIGKILL is left to undo its faults. What outposts hold ends with their streams; what the
//! outer engine did to containers (killed, frozen) is undone by the guard: `stormbed guard FOLDER RUN`, in a session of its own,
//! with a pipe from the runner on its standard input. When the pipe ends, however the runner ended, it replays the journal of that
//! run. It also pays each debt whose lease is over: a runner that hangs keeps nothing broken.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::heal::heal;
use super::lease::monotonic_ms;
use crate::observe::machines::Machines;

/// What the guard says when it stands.
const READY: &str = "ready";
/// It must connect to the engine and list containers.
const READY_MAX: Duration = Duration::from_secs(20);
/// Between two looks for leases that are over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After the runner's end, what can't be undone at once is tried again for this long: an engine that is busy answers within seconds.
const LAST_MAX: Duration = Duration::from_secs(60);
/// What it says beyond [`READY`] goes to this file in the topology's folder.
const LOG: &str = "guard.log";

/// A guard that stands. When this is dropped, the guard undoes what is still owed, and ends.
#[derive(Debug)]
pub struct Guard {
    child: Mutex<Child>,
}

impl Guard {
    /// Starts a guard (this same program) over the topology in `folder`, for the debts of `run`.
    ///
    /// # Errors
    /// If it doesn't come to stand.
    pub async fn start(folder: &Path, run: &str) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            format!(
                "the guard that undoes what a killed run leaves {what}: {error}; see {}",
                folder.join(LOG).display()
            )
        };
        let log = std::fs::File::options().create(true).append(true).open(folder.join(LOG));
        let log = log.map_err(|error| failed("has no log", &error))?;
        let program = std::env::current_exe().map_err(|error| failed("has no program", &error))?;
        let mut child = Command::new(program)
            .arg("guard")
            .args([folder.as_os_str(), run.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed("can't be started", &error))?;
        let output = child.stdout.take().ok_or_else(|| failed("has no output", &"no pipe"))?;
        let mut line = String::new();
        let said = timeout(READY_MAX, BufReader::new(output).read_line(&mut line)).await;
        match said {
            Ok(Ok(_)) if line.trim() == READY => Ok(Self { child: Mutex::new(child) }),
            Ok(Ok(_)) => Err(failed("ended", &"it never stood")),
            Ok(Err(error)) => Err(failed("can't be heard", &error)),
            Err(late) => Err(failed("doesn't stand", &late)),
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// What the guard's own process does, until its standard input ends and nothing of the run is owed any more.
///
/// # Errors
/// If something is still owed at the end.
pub async fn stand(folder: PathBuf, run: String, machines: &dyn Machines) -> Result<(), String> {
    // Ctrl-C goes to the runner's session, and a terminal's end as well. One that leads its group already has a session to itself.
    let _ = nix::unistd::setsid();
    println!("{READY}");
    let mut input = tokio::io::stdin();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut byte = [0; 1];
    loop {
        tokio::select! {
            read = input.read(&mut byte) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            },
            _ = look.tick() => {
                let over = heal(&folder, machines, |debt| debt.run == run && debt.until_ms <= monotonic_ms()).await;
                tell(over.map_err(|error| error.to_string()), "its lease is over: ");
            }
        }
    }
    let end = Instant::now() + LAST_MAX;
    loop {
        let healed = heal(&folder, machines, |debt| debt.run == run).await.map_err(|error| error.to_string());
        let failed = healed.as_ref().err().cloned();
        tell(healed, "the runner has ended: ");
        match failed {
            None => return Ok(()),
            Some(why) if Instant::now() >= end => return Err(why),
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn tell(did: Result<Vec<String>, String>, why: &str) {
    match did {
        Ok(done) => done.iter().for_each(|text| eprintln!("{why}{text}")),
        Err(error) => eprintln!("{why}{error}"),
    }
}

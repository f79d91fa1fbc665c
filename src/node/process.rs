//! Child processes: started in groups of their own, stopped with a bounded grace, kept alive when wanted; and, because
//! the agent is process 1, the reaping of orphans.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// First pause before a kept process is started again; doubles up to [`RESTART_MAX`].
const RESTART_MIN: Duration = Duration::from_millis(200);
/// Longest pause between starts.
const RESTART_MAX: Duration = Duration::from_secs(5);
/// A process that ran this long starts its pauses anew.
const SETTLED: Duration = Duration::from_secs(10);

/// The children of this agent; knows which ended processes are somebody else's to reap.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    ours: Arc<Mutex<BTreeSet<i32>>>,
}

impl Processes {
    /// Starts a child in a process group of its own.
    ///
    /// # Errors
    /// If the program can't be started.
    fn spawn(&self, mut command: Command) -> std::io::Result<(Child, Pid)> {
        // Held while spawning: a child that ends at once must not look like an orphan.
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        ours.insert(pid);
        Ok((child, Pid::from_raw(pid)))
    }

    /// Reaps every ended process that isn't a child of ours: kernels and logins whose parents are gone. Call it at every
    /// SIGCHLD and at every tick (signals merge).
    pub fn reap_orphans(&self) {
        let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Ends at the first child of ours: its owner reaps it, and the next tick goes on.
        while let Some(pid) = waitid(Id::All, look).ok().and_then(|status| status.pid()) {
            if ours.contains(&pid.as_raw()) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
    }

    /// Runs one child until it ends or is to stop; then nothing of its group is left.
    async fn run(&self, command: Command, stop: &CancellationToken, grace: Duration) -> String {
        let (mut child, pid) = match self.spawn(command) {
            Ok(started) => started,
            Err(error) => return format!("could not be started: {error}"),
        };
        let end = tokio::select! {
            status = child.wait() => describe(status),
            () = stop.cancelled() => {
                // The group may have ended on its own: then there is nothing to signal.
                let _ = killpg(pid, Signal::SIGTERM);
                let in_time = tokio::time::timeout(grace, child.wait()).await;
                in_time.map_or_else(|_| "was killed after its grace".into(), describe)
            }
        };
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = child.wait().await;
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid.as_raw());
        end
    }
}

fn describe(status: std::io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|e| format!("was lost: {e}"), |status| format!("ended ({status})"))
}

/// A program that runs until it is stopped.
#[derive(Debug)]
pub struct Service {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Service {
    /// Runs a program once; `ended` is called when it ended by itself.
    pub fn once(
        processes: &Processes,
        name: &'static str,
        grace: Duration,
        command: Command,
        ended: impl FnOnce() + Send + 'static,
    ) -> Self {
        let (processes, stop) = (processes.clone(), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let end = processes.run(command, &token, grace).await;
            tracing::info!("{name} {end}");
            if !token.is_cancelled() {
                ended();
            }
        });
        Self { stop, task }
    }

    /// Keeps a program running, once `after` has stopped; `make` builds the command for every start.
    pub fn keep(
        processes: &Processes,
        name: &'static str,
        grace: Duration,
        after: Option<Service>,
        make: impl Fn() -> std::io::Result<Command> + Send + 'static,
    ) -> Self {
        let (processes, stop) = (processes.clone(), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(after) = after {
                after.stopped().await;
            }
            let mut pause = RESTART_MIN;
            while !token.is_cancelled() {
                let began = tokio::time::Instant::now();
                let end = match make() {
                    Ok(command) => processes.run(command, &token, grace).await,
                    Err(error) => format!("could not be prepared: {error}"),
                };
                pause = if began.elapsed() > SETTLED { RESTART_MIN } else { pause };
                tracing::info!("{name} {end}");
                let _ = tokio::time::timeout(pause, token.cancelled()).await;
                pause = (pause * 2).min(RESTART_MAX);
            }
        });
        Self { stop, task }
    }

    /// Begins to stop it; returns at once.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it and waits until it has: at most its grace and a moment.
    pub async fn stopped(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!("a service's task failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kept_program_comes_back_and_goes_when_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("starts");
        let path = log.clone();
        let service = Service::keep(&Processes::default(), "test", RESTART_MIN, None, move || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo >> \"$0\"; test $(wc -l < \"$0\") -lt 2 || exec sleep 100"]);
            command.arg(&path);
            Ok(command)
        });
        let lines = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        for _ in 0..100 {
            if lines() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(lines(), 2);
        tokio::time::timeout(Duration::from_secs(2), service.stopped()).await.expect("it stops in time");
    }

    #[tokio::test]
    async fn a_program_that_ends_by_itself_is_reported() {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let ended = move || tx.send(()).expect("the test waits");
        let _service = Service::once(&Processes::default(), "test", RESTART_MIN, Command::new("true"), ended);
        tokio::time::timeout(Duration::from_secs(5), rx).await.expect("in time").expect("sent");
    }
}

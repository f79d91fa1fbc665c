//! Processes as `/proc` shows them: which of them they are, whether they are stopped, and signals that meet the right one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A process that is told to end has this long: etcd hands its leadership over, dockerd ends its containers.
const END_MAX: Duration = Duration::from_secs(8);
/// A stop shows within the kernel's next tick.
const STOP_MAX: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where glusterd notes the processes of its bricks.
const BRICK_PIDS: &str = "/var/run/gluster/vols";
/// The brick's program.
const BRICK: &str = "glusterfsd";
/// The programs of a node, as the kernel names them.
const NODE_PROGRAMS: [(&str, &str); 3] = [("etcd", "etcd"), ("sshd", "sshd"), ("jupyter-server", "jupyter")];

/// A process. Two views are equal if and only if it is the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its id on this machine.
    pub pid: u32,
    /// When it started, in clock ticks since the machine's boot: ids are used again, pairs aren't.
    pub started_ticks: u64,
}

/// A process that runs, and whether it is stopped (SIGSTOP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub view: ProcessView,
    /// It is stopped.
    pub stopped: bool,
}

/// A process by its id; none if it has ended, reaped or not.
#[must_use]
pub fn look(pid: u32) -> Option<Seen> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, started_ticks) = parse(&stat)?;
    Some(Seen { view: ProcessView { pid, started_ticks }, stopped: state == "T" })
}

/// It runs, and is still the same one.
#[must_use]
pub fn lives(process: ProcessView) -> bool {
    look(process.pid).is_some_and(|seen| seen.view == process)
}

/// State and start of `/proc/<pid>/stat`; none of a zombie. The second field may hold anything, but ends with the last `)`.
fn parse(stat: &str) -> Option<(&str, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some((state, started))
}

/// The programs of the node whose process 1 this is, by name: `agent` is that process itself.
#[must_use]
pub fn of_node(init: u32) -> BTreeMap<&'static str, Seen> {
    let mut found = BTreeMap::new();
    found.extend(look(init).map(|seen| ("agent", seen)));
    for pid in children(init) {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let program = NODE_PROGRAMS.iter().find(|(program, _)| *program == comm.trim_end());
        if let (Some((_, name)), Some(seen)) = (program, look(pid)) {
            found.insert(name, seen);
        }
    }
    found
}

/// Children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The process of this machine's brick.
#[must_use]
pub fn brick(volume: &str) -> Option<Seen> {
    let notes = std::fs::read_dir(Path::new(BRICK_PIDS).join(volume)).into_iter().flatten().flatten();
    let files = notes.map(|note| note.path()).filter(|path| path.extension().is_some_and(|end| end == "pid"));
    let pids = files.filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    // A note may outlive its process, and the id may be anybody's by then.
    let is_brick = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == BRICK
    };
    pids.filter(is_brick).find_map(look)
}

/// The port on which a brick's process serves, by its own command line.
///
/// # Errors
/// If the process has ended, or names none.
pub fn brick_port(process: ProcessView) -> Result<u16, String> {
    let path = format!("/proc/{}/cmdline", process.pid);
    let line = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut words = line.split('\0').skip_while(|word| *word != "--brick-port").skip(1);
    let port = words.next().and_then(|word| word.parse().ok());
    port.ok_or_else(|| format!("the brick's process {} was not told its port with --brick-port", process.pid))
}

/// Ends a process and waits until it has ended. One that is gone already, or whose id is another's by now, is fine.
///
/// # Errors
/// If it can't be signalled, or doesn't end.
pub async fn end(process: ProcessView, signal: Signal) -> Result<(), String> {
    send(process, signal)?;
    ended(process).await.map_err(|why| format!("{why} after {signal}"))
}

/// Waits until a process has ended.
///
/// # Errors
/// If it doesn't in time.
pub async fn ended(process: ProcessView) -> Result<(), String> {
    until(END_MAX, || !lives(process))
        .await
        .map_err(|()| format!("process {} still runs {} s", process.pid, END_MAX.as_secs()))
}

/// Stops a process where it is, and waits until the kernel says so.
///
/// # Errors
/// If it has ended, or can't be stopped.
pub async fn stop(process: ProcessView) -> Result<(), String> {
    send(process, Signal::SIGSTOP)?;
    let stopped = || look(process.pid).is_none_or(|seen| seen.view != process || seen.stopped);
    until(STOP_MAX, stopped).await.map_err(|()| format!("process {} doesn't stop", process.pid))?;
    if lives(process) { Ok(()) } else { Err(format!("process {} has ended", process.pid)) }
}

/// Lets a stopped process go on. One that is gone meanwhile, or whose id is another's by now, is fine.
///
/// # Errors
/// If it can't be signalled.
pub fn go_on(process: ProcessView) -> Result<(), String> {
    send(process, Signal::SIGCONT)
}

/// Lets every stopped process of this machine go on. Returns which.
#[must_use]
pub fn go_on_all() -> Vec<String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stopped = pids.filter_map(look).filter(|seen| seen.stopped);
    stopped.filter(|seen| go_on(seen.view).is_ok()).map(|seen| format!("let process {} go on", seen.view.pid)).collect()
}

/// Sends a signal, if it is still the same process.
pub(super) fn send(process: ProcessView, signal: Signal) -> Result<(), String> {
    if !lives(process) {
        return Ok(());
    }
    let pid = i32::try_from(process.pid).map_err(|error| format!("process {}: {error}", process.pid))?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(format!("{signal} to process {pid}: {errno}")),
    }
}

async fn until(within: Duration, condition: impl Fn() -> bool) -> Result<(), ()> {
    let end = Instant::now() + within;
    while !condition() {
        if Instant::now() >= end {
            return Err(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_is_itself() {
        let seen = look(std::process::id()).expect("it runs");
        assert_eq!(look(std::process::id()), Some(seen));
        assert!(!seen.stopped);
        assert_eq!(look(u32::MAX), None);
    }

    #[test]
    fn a_zombie_is_no_process_and_names_may_hold_anything() {
        let stat = |state| format!("7 (a) b ( c) {state} 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0");
        assert_eq!(parse(&stat("S")), Some(("S", 123_456)));
        assert_eq!(parse(&stat("T")), Some(("T", 123_456)));
        assert_eq!(parse(&stat("Z")), None);
    }

    #[tokio::test]
    async fn a_signal_meets_the_process_that_was_meant_and_no_other() {
        let mut child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        let view = look(pid).unwrap().view;
        assert!(children(std::process::id()).contains(&pid));
        let another = ProcessView { started_ticks: view.started_ticks + 1, ..view };
        end(another, Signal::SIGKILL).await.unwrap();
        assert!(stop(another).await.unwrap_err().contains("has ended"));
        stop(view).await.unwrap();
        assert!(look(pid).unwrap().stopped);
        go_on(another).unwrap();
        assert!(look(pid).unwrap().stopped);
        go_on(view).unwrap();
        until(STOP_MAX, || !look(pid).unwrap().stopped).await.unwrap();
        end(view, Signal::SIGTERM).await.unwrap();
        child.wait().await.unwrap();
    }
}

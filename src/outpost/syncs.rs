//! A bad disk under one program, as that program meets it: its syncs (fsync, fdatasync) take longer, or fail with EIO. `strace` stops
//! the program at each of them and lets it wait, or answers in the kernel's place; everything else goes on as it does.
//!
//! A program that is started again meanwhile has the same disk: whoever has its place is traced, until the fault is over. When the
//! tracer is gone, however that came, the kernel lets the program go on by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::cut::chain;
use super::faults::Place;
use super::files::remove_all;
use super::processes::{self, ProcessView};
use super::{tamper, text};

/// Whoever writes anything syncs it within this time; somebody makes it write.
const MEETS_MAX: Duration = Duration::from_secs(8);
/// Between two writes that make it do so.
const PROVOKE_EVERY: Duration = Duration::from_secs(1);
/// After a tracer that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks: for a new process, and for a sync.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The tracer.
const TRACER: &str = "strace";
/// How it is told what becomes of syncs.
const INJECT: &str = "inject=fsync,fdatasync:";
/// What it says of a sync that it has touched.
const TOUCHED: [&str; 2] = ["(DELAYED)", "(INJECTED)"];
/// What is traced.
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
/// Files that are written to have a brick sync begin so.
const PROBE: &str = ".stormbed-sync-";

/// What becomes of a program's syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syncs {
    /// Each takes so much longer.
    Late {
        /// Milliseconds.
        delay_ms: u32,
    },
    /// Each fails with EIO.
    Failing,
}

/// A program, whichever process has its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// Process 1 of this machine.
    Init,
    /// This machine's brick.
    Brick,
    /// A program of a node.
    InNode {
        /// Full id of the node's container.
        container: String,
        /// Its name, e.g. `etcd`.
        program: String,
    },
}

/// Programs that are traced, by fault.
#[derive(Debug, Default)]
pub struct BadDisks {
    all: Mutex<BTreeMap<String, BadDisk>>,
}

#[derive(Debug)]
struct BadDisk {
    tracer: Arc<Tracer>,
    thread: JoinHandle<()>,
}

/// One program's tracer, which is another process for each process of the program.
#[derive(Debug, Default)]
struct Tracer {
    over: AtomicBool,
    /// Syncs that it has touched.
    touched: AtomicU64,
    /// Its process, while there is one.
    child: Mutex<Option<Child>>,
    /// What it said last that was no sync.
    said: Mutex<String>,
}

/// Gives a program a bad disk. Returns when a sync was seen to meet it.
///
/// # Errors
/// If it can't be traced, or syncs nothing.
pub async fn make(place: &Place, fault: &str, program: &Program, syncs: Syncs) -> Result<(), String> {
    let find = finder(place, program).await?;
    let first = find().ok_or_else(|| format!("{} doesn't run", name(program)))?;
    let tracer = Arc::<Tracer>::default();
    let (told, traced) = (Arc::clone(&tracer), first.pid);
    let thread = std::thread::spawn(move || told.keep(find, syncs));
    let bad = BadDisk { tracer: Arc::clone(&tracer), thread };
    if let Some(before) = place.disks.lock().insert(fault.to_owned(), bad) {
        // The name was free: nobody knows of it any more.
        close(before);
    }
    let end = Instant::now() + MEETS_MAX;
    let mut provoke_at = Instant::now();
    while tracer.touched.load(Ordering::Relaxed) == 0 {
        if Instant::now() >= end {
            let (said, max) = (tracer.said(), MEETS_MAX.as_secs());
            let said = if said.is_empty() { said } else { format!(": {said}") };
            return Err(format!("{} was not seen to sync anything for {max} s{said}", name(program)));
        }
        // Once isn't enough: its threads come under the tracer's eye one after another.
        if Instant::now() >= provoke_at && is_traced(traced) {
            provoke_at = Instant::now() + PROVOKE_EVERY;
            provoke(place, program, fault);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Takes the bad disk away. Returns when nobody traces the program any more. One that isn't there is fine.
///
/// # Errors
/// If the tracer can't be ended.
pub async fn unmake(place: &Place, fault: &str) -> Result<(), String> {
    let bad = place.disks.lock().remove(fault);
    match bad {
        Some(bad) => spawn_blocking(move || close(bad)).await.map_err(text),
        None => Ok(()),
    }
}

/// Ends the tracers of an outpost before this one, and removes what it has written. Returns what that was.
#[must_use]
pub fn sweep(mount: Option<&Path>) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_tracer = |pid: &u32| line(*pid).split('\0').any(|word| word.starts_with(INJECT));
    let found = pids.filter(is_tracer).filter_map(processes::look);
    let ended = found.filter(|seen| processes::send(seen.view, Signal::SIGKILL).is_ok());
    let ended = ended.map(|seen| format!("ended the tracer {}", seen.view.pid));
    ended.chain(mount.into_iter().flat_map(|mount| remove_all(mount, PROBE))).collect()
}

impl BadDisks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BadDisk>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close(bad: BadDisk) {
    bad.tracer.over.store(true, Ordering::Relaxed);
    if let Some(child) = bad.tracer.child().as_mut() {
        // It may have ended with its program.
        let _ = child.kill();
    }
    let _ = bad.thread.join();
}

impl Tracer {
    /// Traces whoever has the program's place, until it is told to end.
    fn keep(&self, find: impl Fn() -> Option<ProcessView>, syncs: Syncs) {
        while !self.over.load(Ordering::Relaxed) {
            let traced = find().map_or(Ok(()), |process| self.trace(process, syncs));
            if let Err(why) = traced {
                tracing::warn!(why, "a program with a bad disk can't be traced");
                self.say(why);
                std::thread::sleep(AGAIN);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Traces one process to its end.
    fn trace(&self, process: ProcessView, syncs: Syncs) -> Result<(), String> {
        let stream = {
            let mut place = self.child();
            if self.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut child = command(process.pid, syncs).spawn().map_err(|error| format!("setpriv: {error}"))?;
            let stream = child.stderr.take();
            *place = Some(child);
            stream.ok_or("its output is missing")?
        };
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            match TOUCHED.iter().any(|word| line.contains(word)) {
                true => drop(self.touched.fetch_add(1, Ordering::Relaxed)),
                // A sync that is under way is no word of its own.
                false if SYNCS.iter().any(|word| line.contains(word)) => {}
                false => self.say(line),
            }
        }
        let Some(mut child) = self.child().take() else {
            return Ok(());
        };
        let status = child.wait().map_err(text)?;
        let ended = self.over.load(Ordering::Relaxed) || !processes::lives(process);
        match status.success() || ended {
            true => Ok(()),
            false => Err(format!("{TRACER} of process {} ended with {status}: {}", process.pid, self.said())),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn say(&self, line: String) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}

/// The tracer of one process and all its threads, which ends with the thread that starts it.
fn command(pid: u32, syncs: Syncs) -> Command {
    let what = match syncs {
        Syncs::Late { delay_ms } => format!("{INJECT}delay_enter={delay_ms}ms"),
        Syncs::Failing => format!("{INJECT}error=EIO"),
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", TRACER, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-e"])
        .args([&what, "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Somebody traces this process.
fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// How the process that has the program's place is found.
async fn finder(
    place: &Place,
    program: &Program,
) -> Result<Box<dyn Fn() -> Option<ProcessView> + Send + Sync>, String> {
    Ok(match program.clone() {
        Program::Init => Box::new(|| processes::look(1).map(|seen| seen.view)),
        Program::Brick => {
            let volume = place.volume.clone();
            Box::new(move || processes::brick(&volume).map(|seen| seen.view))
        }
        Program::InNode { container, program } => {
            let pid = u32::try_from(tamper::process(place, &container).await?).map_err(text)?;
            let init = processes::look(pid).ok_or_else(|| format!("container {container} has ended"))?.view;
            Box::new(move || {
                // A container isn't started again: when its process 1 is gone, so is the program.
                let programs = processes::lives(init).then(|| processes::of_node(init.pid))?;
                programs.get(program.as_str()).map(|seen| seen.view)
            })
        }
    })
}

/// Has the program write something, so that what its disk does shows at once. etcd always has something to write: the testbed's
/// own entries.
fn provoke(place: &Place, program: &Program, fault: &str) {
    match program {
        Program::InNode { .. } => {}
        // A new session is an entry in every server's log.
        Program::Init => {
            let servers = place.zookeepers.join(",");
            tokio::spawn(async move {
                let session = tokio::time::timeout(MEETS_MAX, zookeeper_client::Client::connect(&servers)).await;
                drop(session);
            });
        }
        Program::Brick => {
            let Some(mount) = place.disk.as_ref().map(|disk| disk.mount.clone()) else {
                return;
            };
            let path = mount.join(format!("{PROBE}{}", chain(fault)));
            spawn_blocking(move || {
                if let Err(why) = write(&path) {
                    tracing::warn!(why, "a file can't be synced");
                }
            });
        }
    }
}

fn write(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let written = fs::File::create(path).and_then(|file| {
        std::io::Write::write_all(&mut &file, b"sync")?;
        file.sync_all()
    });
    fs::remove_file(path).map_err(failed)?;
    written.map_err(failed)
}

fn name(program: &Program) -> String {
    match program {
        Program::Init => "process 1".to_owned(),
        Program::Brick => "the brick".to_owned(),
        Program::InNode { program, .. } => program.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracer_ends_with_whoever_started_it_and_is_known_by_what_it_is_told() {
        let words = |syncs| {
            let command = command(7, syncs);
            let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
            words.collect::<Vec<_>>()
        };
        let late = words(Syncs::Late { delay_ms: 200 });
        assert_eq!(late[..3], ["--pdeathsig", "KILL", TRACER]);
        assert!(
            late.contains(&"inject=fsync,fdatasync:delay_enter=200ms".to_owned())
                && late.ends_with(&["-p".into(), "7".into()])
        );
        assert!(words(Syncs::Failing).contains(&"inject=fsync,fdatasync:error=EIO".to_owned()));
        assert!([late, words(Syncs::Failing)].iter().all(|words| words.iter().any(|word| word.starts_with(INJECT))));
    }

    #[test]
    fn a_tracer_that_is_told_to_end_does_so_whatever_became_of_it() {
        let tracer = Arc::<Tracer>::default();
        let told = Arc::clone(&tracer);
        // There is no such process: whatever tracer this machine has, it fails.
        let nobody = ProcessView { pid: 4_194_305, started_ticks: 1 };
        let thread = std::thread::spawn(move || told.keep(move || Some(nobody), Syncs::Failing));
        std::thread::sleep(LOOK_EVERY * 2);
        let begun = Instant::now();
        close(BadDisk { tracer: Arc::clone(&tracer), thread });
        assert!(begun.elapsed() < AGAIN * 4, "it was told to end");
        assert_eq!(tracer.touched.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn files_that_were_left_are_removed_and_no_others() {
        let mount = tempfile::tempdir().unwrap();
        let path = mount.path().join(format!("{PROBE}x"));
        write(&path).unwrap();
        assert!(!path.exists());
        for name in [".stormbed-sync-left", "kept"] {
            fs::write(mount.path().join(name), "").unwrap();
        }
        assert_eq!(remove_all(mount.path(), PROBE).len(), 1);
        assert!(mount.path().join("kept").exists());
    }
}

//! Commands of the runner's own invariants: run to their end or their bound, with the beginning of what they wrote. Nothing of a
//! command outlives it: whatever it left behind is found by a mark in its environment, and killed.
//!
//! A node's command runs as root in the namespaces of its container, with the container's environment, but outside of its cgroup: it
//! neither takes of the node's share of CPU and memory, nor is it frozen with the node. A frozen container runs no command.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::Docker;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::containers::{inspect, pid, state};
use super::protocol::ContainerState;
use super::{processes, text};

/// Enters a container's namespaces (util-linux). Named whole, because programs are looked for in the container's directories.
const NSENTER: &str = "/usr/bin/nsenter";
/// What an engine gives to a command where its container says nothing else.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root")];
/// Set in the environment of every command, and so of everything that it starts.
const MARK: &str = "STORMBED_COMMAND";
/// At most this much of what a command writes is kept: its beginning. It may write more, which is thrown away.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Of its standard error, for messages.
const ERROR_BYTES_MAX: usize = 2 * 1024;
/// A process that is killed is gone within milliseconds, unless the kernel holds it (a frozen node, a file that hangs).
const END_MAX: Duration = Duration::from_secs(10);
/// Between two looks for what is left.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks in a row that find nothing: a process that is just being made may escape one.
const EMPTY_LOOKS: u32 = 2;
/// When all of a command is gone, its pipes end; whoever holds them open after that isn't ours.
const PIPES_MAX: Duration = Duration::from_millis(200);
/// An environment is some kilobytes; the kernel's bound on a program's arguments and environment is 128 KiB for each of them.
const ENVIRONMENT_BYTES_MAX: u64 = 256 * 1024;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// The beginning of its standard output.
    pub output: String,
    /// The beginning of its standard error.
    pub errors: String,
}

/// The commands of one outpost.
#[derive(Debug)]
pub struct Commands {
    /// What the marks of this outpost's commands begin with.
    ours: String,
}

/// The next command's number, unique in this process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Default for Commands {
    fn default() -> Self {
        let own = std::process::id();
        let started = processes::look(own).map_or(0, |seen| seen.view.started_ticks);
        Self { ours: format!("{own}-{started}.") }
    }
}

impl Commands {
    /// Runs a command in a node's container, or on this machine itself. When its time is over it is killed, and so is at its end
    /// whatever it left behind, even if nobody waits for the answer any more.
    ///
    /// # Errors
    /// If it can't be started, or doesn't end in time.
    pub async fn run(
        &self,
        engine: Option<&Docker>,
        container: Option<&str>,
        words: &[String],
        within: Duration,
    ) -> Result<Ran, String> {
        let due = Instant::now() + within;
        let mark = format!("{}{}", self.ours, SERIAL.fetch_add(1, Ordering::Relaxed));
        let mut command = match container {
            Some(id) => in_container(engine.ok_or("this machine has no engine")?, id, words).await?,
            None => plain(words)?,
        };
        command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|error| format!("{} can't be run: {error}", words.join(" ")))?;
        let late = format!("it did not end within {} ms, and was killed", within.as_millis());
        // A task of its own: the request may be given up, the killing not.
        let (answer, answered) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let ran = attended(child, &mark, due).await;
            let _ = answer.send(ran);
        });
        // Killing takes a moment more, which is none of the answer's business.
        match timeout_at(due + PIPES_MAX, answered).await {
            Ok(Ok(Ok(Some(ran)))) => Ok(ran),
            Ok(Ok(Err(why))) => Err(why),
            Ok(Ok(Ok(None)) | Err(_)) | Err(_) => Err(late),
        }
    }

    /// Kills whatever is left of this outpost's commands.
    ///
    /// # Errors
    /// If something can't be killed.
    pub async fn end_all(&self) -> Result<(), String> {
        end(Which::Mark(self.ours.clone())).await.map(drop)
    }

    /// Kills what other outposts' commands have left. Returns what that was.
    ///
    /// # Errors
    /// If something can't be killed.
    pub async fn sweep(&self) -> Result<Vec<String>, String> {
        let ended = end(Which::Others(self.ours.clone())).await?.into_iter();
        Ok(ended.map(|(pid, name)| format!("ended process {pid} of a command: {name}")).collect())
    }
}

/// The command as this machine runs it.
fn plain(words: &[String]) -> Result<Command, String> {
    let (program, arguments) = words.split_first().ok_or("a command needs a program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// The command as it runs in a container: in the namespaces, the root directory and the environment of its process 1.
async fn in_container(engine: &Docker, id: &str, words: &[String]) -> Result<Command, String> {
    let container = inspect(engine, id).await?.ok_or_else(|| format!("there is no container {id} any more"))?;
    let pid = match (state(&container), pid(&container)) {
        (ContainerState::Running, Some(pid)) => pid.to_string(),
        (other, _) => return Err(format!("container {id} isn't running: {other:?}")),
    };
    let mut command = Command::new(NSENTER);
    command.args(["-t", &pid, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]).args(words);
    let variables = container.config.and_then(|config| config.env).unwrap_or_default();
    command.env_clear().envs(ENVIRONMENT).envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    Ok(command)
}

/// Waits for a command and kills what is left of it. None: its time was over.
async fn attended(mut child: Child, mark: &str, due: Instant) -> Result<Option<Ran>, String> {
    let output = child.stdout.take().map(|pipe| tokio::spawn(beginning(pipe, OUTPUT_BYTES_MAX)));
    let errors = child.stderr.take().map(|pipe| tokio::spawn(beginning(pipe, ERROR_BYTES_MAX)));
    let ended = timeout_at(due, child.wait()).await;
    // Before its output is read to the end: what it left in the background may hold its pipes.
    let killed = end(Which::Mark(mark.to_owned())).await;
    let _ = child.start_kill();
    let pipes = Instant::now() + PIPES_MAX;
    let (mut kept, mut said) = (String::new(), String::new());
    for (pipe, text) in [(output, &mut kept), (errors, &mut said)] {
        let Some(reading) = pipe else {
            continue;
        };
        let stop = reading.abort_handle();
        match timeout_at(pipes, reading).await {
            Ok(Ok(read)) => *text = read,
            _ => stop.abort(),
        }
    }
    if let Err(why) = &killed {
        tracing::error!(why, "a command left something behind");
    }
    match ended {
        Ok(status) => Ok(Some(Ran { code: code(status.map_err(text)?), output: kept, errors: said })),
        Err(_) => {
            // Reaps it.
            let _ = timeout_at(Instant::now() + END_MAX, child.wait()).await;
            Ok(None)
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// The beginning of what a pipe carries, read to its end.
async fn beginning(mut pipe: impl AsyncRead + Unpin, bytes_max: usize) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    // Ends with the pipe, or with whoever waits for it.
    while let Ok(read) = pipe.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let room = bytes_max.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Which marked processes are meant.
#[derive(Debug, Clone)]
enum Which {
    /// Those whose mark begins so.
    Mark(String),
    /// Those whose mark doesn't.
    Others(String),
}

impl Which {
    fn is(&self, mark: &str) -> bool {
        match self {
            Self::Mark(whole) if !whole.ends_with('.') => mark == whole,
            Self::Mark(begin) => mark.starts_with(begin.as_str()),
            Self::Others(begin) => !mark.starts_with(begin.as_str()),
        }
    }
}

/// Kills marked processes until there are none. Returns which there were.
async fn end(which: Which) -> Result<BTreeMap<u32, String>, String> {
    let until = Instant::now() + END_MAX;
    let mut ended = BTreeMap::new();
    let mut empty = 0;
    loop {
        let these = which.clone();
        let found = spawn_blocking(move || marked(&these)).await.map_err(text)?;
        empty = if found.is_empty() { empty + 1 } else { 0 };
        if empty == EMPTY_LOOKS {
            return Ok(ended);
        }
        if Instant::now() >= until {
            let left: Vec<String> = found.iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
            return Err(format!("still there {} s after SIGKILL: {}", END_MAX.as_secs(), left.join(", ")));
        }
        for pid in found.keys() {
            // One that has ended meanwhile is fine: ids are used again only after all others were.
            let _ = i32::try_from(*pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
        ended.extend(found);
        if empty == 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The marked processes of this machine, containers and all, with their names. Ended ones have no environment.
fn marked(which: &Which) -> BTreeMap<u32, String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let marked = pids.filter(|pid| mark_of(*pid).is_some_and(|mark| which.is(&mark)));
    let name = |pid: u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        (pid, comm.trim_end().to_owned())
    };
    marked.map(name).collect()
}

fn mark_of(pid: u32) -> Option<String> {
    let file = std::fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    let mut environment = Vec::new();
    file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let mark = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(mark).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn run(line: &str, within: Duration) -> Result<Ran, String> {
        let words = ["sh", "-c", line].map(str::to_owned);
        Commands::default().run(None, None, &words, within).await
    }

    /// The process whose id a command has written into a file ends.
    async fn ends(file: &tempfile::NamedTempFile) {
        let pid = std::fs::read_to_string(file.path()).unwrap().trim().parse().unwrap();
        let gone = async {
            while processes::look(pid).is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(5 * SECOND, gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_tells_its_exit_code_and_what_it_wrote() {
        let ran = run("echo out; echo err >&2; exit 3", 10 * SECOND).await.unwrap();
        assert_eq!(ran, Ran { code: 3, output: "out\n".into(), errors: "err\n".into() });
        assert_eq!(run("kill -9 $$", 10 * SECOND).await.unwrap().code, 137);
        let missing = Commands::default().run(None, None, &["no-such-program".into()], SECOND).await;
        assert!(missing.unwrap_err().contains("no-such-program can't be run"));
        assert!(Commands::default().run(None, Some("c"), &["true".into()], SECOND).await.is_err(), "no engine");
    }

    #[tokio::test]
    async fn only_the_beginning_of_a_long_output_is_kept_and_the_command_goes_on() {
        let ran = run("head -c 1000000 /dev/zero | tr '\\0' x; echo; exit 0", 10 * SECOND).await.unwrap();
        assert_eq!((ran.code, ran.output.len()), (0, OUTPUT_BYTES_MAX));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
        let child = tempfile::NamedTempFile::new().unwrap();
        let line = format!("setsid sleep 60 & echo $! > {}; sleep 60", child.path().display());
        let begin = Instant::now();
        let late = run(&line, SECOND).await.unwrap_err();
        assert!(late.contains("did not end within 1000 ms"), "{late}");
        assert!(begin.elapsed() < 2 * SECOND);
        ends(&child).await;
    }

    #[tokio::test]
    async fn what_a_command_leaves_in_the_background_ends_with_it_and_holds_nobody_up() {
        let child = tempfile::NamedTempFile::new().unwrap();
        let line = format!("sleep 60 & echo $! > {}; echo done", child.path().display());
        let begin = Instant::now();
        let ran = run(&line, 10 * SECOND).await.unwrap();
        assert_eq!(ran.output, "done\n");
        assert!(begin.elapsed() < 5 * SECOND);
        ends(&child).await;
    }

    #[tokio::test]
    async fn a_sweep_finds_what_another_outpost_has_left_and_spares_its_own() {
        let sleep = |mark: &str| {
            let mut command = Command::new("sleep");
            command.arg("61").env(MARK, mark).kill_on_drop(true);
            command.spawn().unwrap()
        };
        // Other tests of this process run commands at the same time: this one has an outpost of its own name.
        let ours = Commands { ours: "test-1.".into() };
        let (mut own, mut other) = (sleep("test-1.7"), sleep("test-12.7"));
        let found = marked(&Which::Others("test-1.".into()));
        assert!(found.contains_key(&other.id().unwrap()) && !found.contains_key(&own.id().unwrap()));
        assert!(!marked(&Which::Mark("test-1.70".into())).contains_key(&own.id().unwrap()));
        ours.end_all().await.unwrap();
        tokio::time::timeout(5 * SECOND, own.wait()).await.unwrap().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        let ended = end(Which::Mark("test-12.".into())).await.unwrap();
        assert_eq!(ended.into_values().collect::<Vec<_>>(), ["sleep"]);
        other.wait().await.unwrap();
    }
}

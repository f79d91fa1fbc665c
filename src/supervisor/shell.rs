//! The supervisor's shell: carries out what the core decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::control::{Answer, Request};
use super::core::{Action, Event, Signal, Supervisor};
use super::log::Log;
use super::plan::{ConfigFile, DOCKER_SOCKET, Part, Plan, Run, plan};
use super::{RUN_DIR, SuperviseError, cgroup, control, init, network, process, ready, seed};
use crate::clock::Clock;
use crate::config::{SuperviseConfig, load};

/// Parts report a handful of events each; more than this waiting means that the loop hangs.
const EVENTS_MAX: usize = 256;
/// With nothing due the loop still looks around this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// `stormd supervise`: as process 1, starts itself once more and reaps; otherwise supervises until SIGTERM.
///
/// # Errors
/// If the configuration can't be used, the container can't be prepared, or a file can't be written.
pub async fn enter(config: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if !init::is_init() {
        return Ok(run(load(config)?).await?);
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    match init::run(again.arg("supervise").arg("--config").arg(config)).await? {
        0 => Ok(()),
        code => Err(format!("the supervisor ended with status {code}; its own message is above").into()),
    }
}

/// Supervises until SIGTERM.
///
/// # Errors
/// See [`SuperviseError`].
pub async fn run(config: SuperviseConfig) -> Result<(), SuperviseError> {
    if config.nested_engine {
        cgroup::prepare().map_err(SuperviseError::Nested)?;
    }
    let stormd =
        std::env::current_exe().map_err(|source| SuperviseError::System { what: "finding its own program", source })?;
    let Plan { parts, files } = plan(&config, &stormd.to_string_lossy())?;
    for file in &files {
        write(file)?;
    }
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let shell = Shell {
        clock: Clock::start(),
        core: Supervisor::new(parts.iter().map(|part| part.spec.clone()).collect()),
        parts: parts.into_iter().map(|part| (part.spec.name.clone(), part)).collect(),
        log_dir: config.log_dir,
        running: BTreeMap::new(),
        events,
    };
    info!(machine = config.name, parts = shell.parts.len(), "the supervisor starts");
    shell.work(inbox).await
}

fn write(file: &ConfigFile) -> Result<(), SuperviseError> {
    let written = || {
        std::fs::create_dir_all(RUN_DIR)?;
        std::fs::write(&file.path, &file.text)
    };
    written().map_err(|source| SuperviseError::Write { path: file.path.clone(), source })
}

/// What runs of a part.
enum Running {
    Process(u32),
    Step(JoinHandle<()>),
}

struct Shell {
    clock: Clock,
    core: Supervisor,
    parts: BTreeMap<String, Part>,
    log_dir: std::path::PathBuf,
    running: BTreeMap<String, Running>,
    events: mpsc::Sender<Event>,
}

impl Shell {
    async fn work(mut self, mut inbox: mpsc::Receiver<Event>) -> Result<(), SuperviseError> {
        let handler = |source| SuperviseError::System { what: "handling SIGTERM", source };
        let mut terminate = signal(SignalKind::terminate()).map_err(handler)?;
        let (asked, mut asks) = mpsc::channel(16);
        std::fs::create_dir_all(RUN_DIR)
            .and_then(|()| control::listen(Path::new(control::SOCKET), asked))
            .map_err(|source| SuperviseError::Write { path: control::SOCKET.into(), source })?;
        let mut event = Event::Tick;
        while !self.feed(event) {
            let now = self.clock.now();
            let idle = self.core.deadline().map_or(IDLE_MAX, |due| due.since(now));
            event = tokio::select! {
                Some(event) = inbox.recv() => event,
                Some((request, back)) = asks.recv() => {
                    // A caller that hung up doesn't need the answer.
                    let _ = back.send(self.answer(request));
                    Event::Tick
                }
                _ = terminate.recv() => Event::Terminate,
                () = tokio::time::sleep(idle) => Event::Tick,
            };
        }
        info!("every part is down");
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Answer {
        let event = match request {
            Request::Status => Event::Tick,
            Request::Hold { part, signal } => Event::Hold { part, signal },
            Request::Release { part } => Event::Release { part },
        };
        if let Event::Hold { part, .. } | Event::Release { part } = &event
            && !self.parts.contains_key(part)
        {
            let names: Vec<&str> = self.parts.keys().map(String::as_str).collect();
            return Answer::Refused(format!("no part '{part}' here; there are {}", names.join(", ")));
        }
        self.feed(event);
        Answer::Parts(self.core.status())
    }

    /// Hands an event to the core and carries out what it says, with what that brings; true when it is time to end.
    fn feed(&mut self, event: Event) -> bool {
        let mut events = vec![event];
        let mut exit = false;
        while let Some(event) = events.pop() {
            match &event {
                Event::Ended { part, how, well } => {
                    self.running.remove(part);
                    if !well {
                        warn!(part, how, "ended");
                    }
                }
                Event::Ready { part } => info!(part, at = %self.clock.now(), "ready"),
                Event::Terminate => info!("told to stop"),
                _ => {}
            }
            for action in self.core.on(self.clock.now(), event) {
                match action {
                    Action::Start(name) => events.extend(self.start(&name)),
                    Action::Signal(name, signal) => events.extend(self.signal(&name, signal)),
                    Action::Exit => exit = true,
                }
            }
        }
        exit
    }

    fn start(&mut self, name: &str) -> Option<Event> {
        let part = self.parts.get(name)?.clone();
        info!(part = name, "starts");
        let started = process::before(&part.before).and_then(|()| match &part.run {
            Run::Process(command) => self.start_process(&part, command),
            Run::Seed(_) | Run::Network { .. } => Ok(self.start_step(part.clone())),
        });
        Some(started.unwrap_or_else(|how| Event::Ended { part: name.to_owned(), well: false, how }))
    }

    fn start_process(&mut self, part: &Part, command: &[String]) -> Result<Event, String> {
        let name = part.spec.name.clone();
        let log = Log::open(&self.log_dir, &name)
            .map_err(|e| format!("cannot open a log in {}: {e}", self.log_dir.display()))?;
        let child = process::start(command, &log)?;
        let pid = child.id();
        if let Some(pid) = pid {
            self.running.insert(name.clone(), Running::Process(pid));
        }
        tokio::spawn(watch(part.clone(), child, self.events.clone()));
        Ok(Event::Started { part: name, pid })
    }

    fn start_step(&mut self, part: Part) -> Event {
        let (name, events) = (part.spec.name.clone(), self.events.clone());
        let task = tokio::spawn(async move {
            let done = match &part.run {
                Run::Seed(config) => seed::seed(config).await,
                Run::Network { name, pool } => network::ensure(Path::new(DOCKER_SOCKET), name, pool).await,
                Run::Process(_) => Ok(()),
            };
            let ended = Event::Ended {
                part: part.spec.name,
                well: done.is_ok(),
                how: done.err().unwrap_or_else(|| "done".to_owned()),
            };
            let _ = events.send(ended).await;
        });
        self.running.insert(name.clone(), Running::Step(task));
        Event::Started { part: name, pid: None }
    }

    fn signal(&mut self, name: &str, signal: Signal) -> Option<Event> {
        match self.running.get(name)? {
            Running::Process(pid) => {
                process::send(*pid, signal);
                None
            }
            Running::Step(task) => {
                task.abort();
                Some(Event::Ended { part: name.to_owned(), well: false, how: "stopped".to_owned() })
            }
        }
    }
}

/// Reports a process's readiness and end. If nobody listens any more, the supervisor has ended, and with it the machine.
async fn watch(part: Part, mut child: Child, events: mpsc::Sender<Event>) {
    let name = part.spec.name;
    let early = tokio::select! {
        status = child.wait() => Some(status),
        () = ready::shown(&part.sign) => None,
    };
    let status = match early {
        Some(status) => status,
        None => {
            let _ = events.send(Event::Ready { part: name.clone() }).await;
            child.wait().await
        }
    };
    let ended = Event::Ended {
        part: name,
        well: status.as_ref().is_ok_and(std::process::ExitStatus::success),
        how: status.map_or_else(|e| e.to_string(), process::how),
    };
    let _ = events.send(ended).await;
}

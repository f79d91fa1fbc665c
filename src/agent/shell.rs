//! The agent's shell: feeds the core and carries out what it says.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::connection::{Connection, Heard};
use super::core::{Action, Agent, Event, Fresh, Settings};
use super::engine::Engine;
use super::executor::Arguments;
use super::executor::protocol::SOCKET;
use super::executors::{Executors, Report};
use super::protocol::{RegisterAgent, TaskRef};
use super::{AgentError, checkpoint, executors, http};
use crate::clock::Clock;
use crate::config::AgentConfig;
use crate::mesos::attributes;
use crate::mesos::detector::{self, locate};
use crate::mesos::resources::Resources;
use crate::mesos::types::{MESOS_VERSION, MasterInfo};

/// Fixed for agents in Mesos.
const ZK_SESSION: Duration = Duration::from_secs(10);
/// With nothing due the loop still looks around this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Runs the agent until the master shuts it down, the operator does (SIGUSR1), or an error ends it. On SIGTERM it just ends, as
/// by any other signal: its executors and containers go on.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(config: AgentConfig) -> Result<(), AgentError> {
    let resources = Resources::parse(&config.resources).map_err(AgentError::Configuration)?;
    let attributes = attributes::parse(&config.attributes).map_err(AgentError::Configuration)?;
    let leader = locate(&config.master, ZK_SESSION).map_err(|e| AgentError::Configuration(e.to_string()))?;
    std::fs::create_dir_all(&config.work_dir)
        .map_err(|e| AgentError::Recovery(format!("cannot make {}: {e}", config.work_dir.display())))?;
    let info = RegisterAgent {
        id: None,
        hostname: config.hostname.clone(),
        ip: config.ip,
        port: config.port,
        resources: resources.to_wire(None),
        attributes,
        version: MESOS_VERSION.to_owned(),
    };
    let settings = Settings {
        agent: info.clone(),
        fixed_master: detector::is_fixed(&config.master),
        backoff: Duration::from_millis(config.registration_backoff_ms),
        retry: Duration::from_millis(config.status_update_retry_ms),
        registration: Duration::from_millis(config.executor_registration_timeout_ms),
        reregistration: Duration::from_millis(config.executor_reregistration_timeout_ms),
        docker: config.containerizers.iter().any(|name| name == "docker"),
        kill_orphans: config.docker_kill_orphans,
    };
    let saved = checkpoint::load(&config.work_dir).map_err(AgentError::Recovery)?;
    let agent = Agent::restore(settings, saved).map_err(AgentError::Recovery)?;
    let remove_delay = Duration::from_millis(config.docker_remove_delay_ms);
    let engine = Engine::new(&config.docker_socket, remove_delay).map_err(AgentError::Configuration)?;
    let listener = tokio::net::TcpListener::bind((config.ip, config.port))
        .await
        .map_err(|source| AgentError::Listen { address: (config.ip, config.port).into(), source })?;
    let started_s = wall_s();
    let (publish, state) = watch::channel(Arc::new(http::state(&agent, &info, started_s)));
    tokio::spawn(async move { axum::serve(listener, http::router(state)).await });
    let (reports, executors) = mpsc::unbounded_channel();
    let socket = config.work_dir.join(SOCKET);
    executors::listen(&socket, reports.clone())
        .map_err(|e| AgentError::Recovery(format!("cannot listen on {}: {e}", socket.display())))?;
    let (events, inbox) = mpsc::unbounded_channel();
    let shell = Shell {
        clock: Clock::start(),
        agent,
        info,
        engine,
        config,
        events,
        executors: Executors::default(),
        reports,
        connection: None,
        publish,
        started_s,
    };
    shell.work(inbox, executors, leader).await
}

/// Seconds since 1970.
pub(super) fn wall_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

struct Dice;

impl Fresh for Dice {
    fn container(&mut self) -> String {
        Uuid::new_v4().to_string()
    }
    fn update(&mut self) -> String {
        BASE64_STANDARD.encode(Uuid::new_v4().as_bytes())
    }
    fn fraction(&mut self) -> f64 {
        rand::random_range(0.0..1.0)
    }
    fn wall_s(&self) -> f64 {
        wall_s()
    }
}

struct Shell {
    clock: Clock,
    agent: Agent,
    info: RegisterAgent,
    engine: Engine,
    config: AgentConfig,
    /// Unbounded, yet bounded by what feeds it: a master's stream, and one message per image.
    events: mpsc::UnboundedSender<Event>,
    executors: Executors,
    /// For new executors; bounded by their few updates.
    reports: mpsc::UnboundedSender<Report>,
    connection: Option<Connection>,
    publish: watch::Sender<Arc<Value>>,
    started_s: f64,
}

impl Shell {
    async fn work(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        mut executors: mpsc::UnboundedReceiver<Report>,
        mut leader: watch::Receiver<Option<MasterInfo>>,
    ) -> Result<(), AgentError> {
        let mut leave = signal(SignalKind::user_defined1())
            .map_err(|e| AgentError::Configuration(format!("SIGUSR1 can't be handled: {e}")))?;
        let (engine, events) = (self.engine.clone(), self.events.clone());
        tokio::spawn(async move { events.send(Event::Containers(engine.containers().await)) });
        let mut event = Event::Begin;
        while !self.feed(event)? {
            let now = self.clock.now();
            let idle = self.agent.deadline().map_or(IDLE_MAX, |due| due.since(now)).min(IDLE_MAX);
            event = tokio::select! {
                Some(event) = inbox.recv() => event,
                Some(report) = executors.recv() => self.executors.on(report).unwrap_or(Event::Tick),
                Ok(()) = leader.changed() => {
                    let leader = leader.borrow_and_update().as_ref().map(MasterInfo::authority);
                    info!(?leader, "leading master");
                    Event::Leader(leader)
                }
                Some(()) = leave.recv() => {
                    info!("unregisters");
                    Event::Unregister
                }
                () = tokio::time::sleep(idle) => Event::Tick,
            };
        }
        info!("shut down");
        Ok(())
    }

    /// Hands an event to the core and carries out what it says; true when it is time to end.
    fn feed(&mut self, event: Event) -> Result<bool, AgentError> {
        tracing::debug!(?event);
        for action in self.agent.on(self.clock.now(), event, &mut Dice) {
            tracing::debug!(?action);
            match action {
                Action::Persist => {
                    checkpoint::save(&self.config.work_dir, &self.agent.checkpoint()).map_err(AgentError::Checkpoint)?
                }
                Action::Disconnect => self.connection = None,
                Action::Connect { attempt, leader, register } => {
                    info!(leader, tasks = register.tasks.len(), id = ?register.agent_info.id, "registers");
                    let events = self.events.clone();
                    let heard = move |heard| {
                        let event = match heard {
                            Heard::Message(message) => Event::FromMaster { attempt, message },
                            Heard::Lost(why) => {
                                warn!(why, "the master is lost");
                                Event::Lost { attempt }
                            }
                        };
                        // Nobody listens: the agent ends.
                        let _ = events.send(event);
                    };
                    self.connection = Some(Connection::open(leader, *register, heard));
                }
                Action::Send(call) => {
                    if let Some(connection) = &self.connection {
                        connection.send(call);
                    }
                }
                Action::Exit => return Ok(true),
                other => self.task(other),
            }
        }
        self.publish.send_replace(Arc::new(http::state(&self.agent, &self.info, self.started_s)));
        Ok(false)
    }

    /// What concerns one task, its executor or its container.
    fn task(&self, action: Action) {
        let engine = self.engine.clone();
        match action {
            Action::Prepare(key) => self.prepare(key),
            Action::StartExecutor(key) => self.start_executor(&key),
            Action::Tell(container, message) => {
                info!(container, message = message.name(), "to its executor");
                self.executors.tell(&container, message);
            }
            Action::Remove(id) => {
                info!(container = id, "removes an orphan");
                tokio::spawn(async move { engine.remove(&id).await });
            }
            Action::RemoveLater(id) => {
                tokio::spawn(async move { engine.remove_later(&id).await });
            }
            _ => {}
        }
    }

    fn prepare(&self, key: TaskRef) {
        let Some((task, _)) = self.agent.task(&key) else {
            return;
        };
        info!(task = %key.task_id, container = task.container, "launches");
        let Some(docker) = task.info.container.as_ref().and_then(|c| c.docker.clone()) else {
            return;
        };
        let (engine, events) = (self.engine.clone(), self.events.clone());
        tokio::spawn(async move {
            let prepared = engine.prepare(&docker.image, docker.force_pull_image).await;
            events.send(Event::Prepared(key, prepared))
        });
    }

    fn start_executor(&self, key: &TaskRef) {
        let Some((task, framework)) = self.agent.task(key) else {
            return;
        };
        let agent = self.agent.id().map_or("unregistered", |id| id.as_str());
        let sandbox = self
            .config
            .work_dir
            .join(format!("slaves/{agent}/frameworks/{}", key.framework_id))
            .join(format!("executors/{}/runs/{}", key.task_id, task.container));
        if let Err(error) = std::fs::create_dir_all(&sandbox) {
            // The executor's start fails, and with it the task.
            warn!(%error, sandbox = %sandbox.display(), "cannot make the sandbox");
        }
        let checkpoint = framework.is_some_and(|framework| framework.checkpoint);
        let arguments = Arguments {
            agent: self.config.work_dir.join(SOCKET),
            container: task.container.clone(),
            sandbox,
            docker_socket: self.config.docker_socket.clone(),
            grace_ms: self.config.executor_shutdown_grace_ms,
            recovery_ms: checkpoint.then_some(self.config.recovery_timeout_ms),
        };
        executors::start(&arguments, self.reports.clone());
    }
}

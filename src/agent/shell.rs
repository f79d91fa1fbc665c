//! The agent's shell: feeds the core and carries out what it says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::connection::{Connection, Heard};
use super::container::translate;
use super::core::{Action, Agent, Event, Fresh, Progress, Settings};
use super::engine::{Engine, Sandbox};
use super::protocol::{RegisterAgent, TaskRef};
use super::{AgentError, checkpoint, http};
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

/// Runs the agent until the master shuts it down, or an error ends it. On SIGTERM it just ends: its containers go on.
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
        grace: Duration::from_millis(config.executor_shutdown_grace_ms),
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
    let (events, inbox) = mpsc::unbounded_channel();
    let shell = Shell {
        clock: Clock::start(),
        agent,
        info,
        engine,
        work_dir: config.work_dir,
        events,
        connection: None,
        publish,
        started_s,
    };
    shell.work(inbox, leader).await
}

fn wall_s() -> f64 {
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
    work_dir: PathBuf,
    /// Unbounded, yet bounded by what feeds it: a master's stream, and three messages per container.
    events: mpsc::UnboundedSender<Event>,
    connection: Option<Connection>,
    publish: watch::Sender<Arc<Value>>,
    started_s: f64,
}

impl Shell {
    async fn work(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        mut leader: watch::Receiver<Option<MasterInfo>>,
    ) -> Result<(), AgentError> {
        let mut event = Event::Recovered(self.engine.containers().await);
        while !self.feed(event)? {
            let now = self.clock.now();
            let idle = self.agent.deadline().map_or(IDLE_MAX, |due| due.since(now)).min(IDLE_MAX);
            event = tokio::select! {
                Some(event) = inbox.recv() => event,
                Ok(()) = leader.changed() => {
                    let leader = leader.borrow_and_update().as_ref().map(MasterInfo::authority);
                    info!(?leader, "leading master");
                    Event::Leader(leader)
                }
                () = tokio::time::sleep(idle) => Event::Tick,
            };
        }
        info!("the master has shut this agent down");
        Ok(())
    }

    /// Hands an event to the core and carries out what it says; true when it is time to end.
    fn feed(&mut self, event: Event) -> Result<bool, AgentError> {
        tracing::debug!(?event);
        for action in self.agent.on(self.clock.now(), event, &mut Dice) {
            tracing::debug!(?action);
            match action {
                Action::Persist => {
                    checkpoint::save(&self.work_dir, &self.agent.checkpoint()).map_err(AgentError::Checkpoint)?
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
                other => self.container(other),
            }
        }
        self.publish.send_replace(Arc::new(http::state(&self.agent, &self.info, self.started_s)));
        Ok(false)
    }

    fn container(&self, action: Action) {
        let engine = self.engine.clone();
        match action {
            Action::RemoveOrphan(id) => {
                info!(container = id, "removes an orphan");
                tokio::spawn(async move { engine.remove(&id).await });
            }
            Action::Stop(key, grace) => {
                if let Some((task, _)) = self.agent.task(&key) {
                    let id = task.container.clone();
                    info!(task = %key.task_id, container = id, ?grace, "stops");
                    tokio::spawn(async move { engine.stop(&id, grace).await });
                }
            }
            Action::Prepare(key) => self.prepare(key),
            Action::Run(key) => self.run(&key),
            Action::Watch(key) => self.watch(&key),
            _ => {}
        }
    }

    fn reporter(&self, key: &TaskRef) -> impl Fn(Progress) + Send + Sync + use<> {
        let (events, key) = (self.events.clone(), key.clone());
        move |progress| {
            // Nobody listens: the agent ends.
            let _ = events.send(Event::Container(key.clone(), progress));
        }
    }

    fn prepare(&self, key: TaskRef) {
        let Some((task, _)) = self.agent.task(&key) else {
            return;
        };
        let (engine, report) = (self.engine.clone(), self.reporter(&key));
        let docker = task.info.container.as_ref().and_then(|c| c.docker.clone());
        info!(task = %key.task_id, container = task.container, "launches");
        tokio::spawn(async move {
            report(match docker {
                Some(docker) => engine.prepare(&docker.image, docker.force_pull_image).await,
                // Refused with its reason by the translation.
                None => Progress::Prepared,
            });
        });
    }

    fn sandbox(&self, key: &TaskRef, container: &str) -> PathBuf {
        let agent = self.agent.id().map_or("unregistered", |id| id.as_str());
        self.work_dir
            .join(format!("slaves/{agent}/frameworks/{}", key.framework_id))
            .join(format!("executors/{}/runs/{container}", key.task_id))
    }

    fn run(&self, key: &TaskRef) {
        let Some((task, _)) = self.agent.task(key) else {
            return;
        };
        let (engine, report, id) = (self.engine.clone(), self.reporter(key), task.container.clone());
        let path = self.sandbox(key, &id);
        let wanted = Sandbox::make(&path).and_then(|sandbox| Ok((translate(&task.info, &id, &path)?, sandbox)));
        match wanted {
            Ok((wanted, sandbox)) => {
                tokio::spawn(async move { engine.run(&id, wanted, &sandbox, report).await });
            }
            Err(why) => report(Progress::Refused(why)),
        }
    }

    fn watch(&self, key: &TaskRef) {
        let Some((task, _)) = self.agent.task(key) else {
            return;
        };
        let (engine, report, id) = (self.engine.clone(), self.reporter(key), task.container.clone());
        let path = self.sandbox(key, &id);
        let network = translate(&task.info, &id, &path).map_or_else(|_| String::new(), |w| w.network);
        match Sandbox::make(&path) {
            Ok(sandbox) => {
                let since_s = wall_s() as i32;
                tokio::spawn(async move { engine.watch(&id, &network, &sandbox, since_s, report).await });
            }
            Err(why) => report(Progress::Refused(why)),
        }
    }
}

//! The machines of a topology that stands on the user's engine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use stormbed::clock::unix_ms;
use stormbed::config::STORMD;
use stormbed::outpost::protocol::{ContainerState, Hello};

use super::machines::{Machines, OutpostStream, Verb};
use super::observation::PartView;
use crate::engine::{Engine, EngineError, LABEL_MACHINE, LABEL_RUN};
use crate::topology::secrets::HostSecrets;

/// Containers of one run, reached through the engine.
#[derive(Debug)]
pub struct DockerMachines {
    engine: Engine,
    run: String,
    /// Machine → container id, of those that have an outpost.
    outposts: BTreeMap<String, String>,
    hellos: BTreeMap<String, Hello>,
    secrets: HostSecrets,
    /// Start of each container that was running when it was listed last: asking for it takes a call per container.
    starts: Mutex<BTreeMap<String, u64>>,
}

impl DockerMachines {
    /// The machines of the run with this id. `outposts` are machine → container id of hosts and edge, `hellos` what each is told.
    #[must_use]
    pub fn new(
        engine: Engine,
        run: &str,
        outposts: BTreeMap<String, String>,
        hellos: BTreeMap<String, Hello>,
        secrets: HostSecrets,
    ) -> Self {
        Self { engine, run: run.to_owned(), outposts, hellos, secrets, starts: Mutex::default() }
    }

    async fn list(&self) -> Result<BTreeMap<String, PartView>, String> {
        let listed = self.engine.containers(LABEL_RUN, Some(&self.run)).await;
        let listed = listed.map_err(|error| error.to_string())?;
        let mut parts = BTreeMap::new();
        for container in listed {
            if let Some(name) = container.labels.get(LABEL_MACHINE) {
                let view = PartView { id: container.id, state: state(&container.state), started_unix_ms: 0 };
                parts.insert(name.clone(), view);
            }
        }
        self.fill_starts(&mut parts).await?;
        Ok(parts)
    }

    /// Asks for the start of what has not been running before.
    async fn fill_starts(&self, parts: &mut BTreeMap<String, PartView>) -> Result<(), String> {
        let known = self.known();
        let runs = |part: &&PartView| is_up(part.state);
        let fresh = parts.values().filter(runs);
        let fresh = fresh.filter(|part| !known.contains_key(&part.id));
        let asked = fresh.map(|part| async {
            let started = self.started(&part.id).await?;
            Ok::<_, String>((part.id.clone(), started))
        });
        let asked: BTreeMap<String, u64> = try_join_all(asked).await?.into_iter().collect();
        let mut starts = BTreeMap::new();
        for part in parts.values_mut() {
            let start = asked.get(&part.id).or_else(|| known.get(&part.id));
            if let (true, Some(start)) = (is_up(part.state), start) {
                starts.insert(part.id.clone(), *start);
                part.started_unix_ms = *start;
            }
        }
        *self.starts.lock().unwrap_or_else(PoisonError::into_inner) = starts;
        Ok(())
    }

    fn known(&self) -> BTreeMap<String, u64> {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.clone()
    }

    async fn started(&self, id: &str) -> Result<u64, String> {
        let inspected = self.engine.docker().inspect_container(id, None).await;
        let inspected = inspected.map_err(|error| error.to_string())?;
        let text = inspected.state.and_then(|state| state.started_at);
        Ok(text.as_deref().and_then(unix_ms).unwrap_or(0))
    }
}

impl Machines for DockerMachines {
    fn outposts(&self) -> Vec<String> {
        self.outposts.keys().cloned().collect()
    }

    fn hello(&self, machine: &str) -> Option<Hello> {
        self.hellos.get(machine).cloned()
    }

    fn open_outpost<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>> {
        async move {
            let container = self.outposts.get(machine);
            let container = container.ok_or_else(|| format!("{machine} has no outpost"))?;
            let stream = self.engine.attach(container, &[STORMD, "outpost"]).await;
            let stream = stream.map_err(|error| error.to_string())?;
            Ok(OutpostStream { read: Box::new(stream.output), write: Box::new(stream.input) })
        }
        .boxed()
    }

    fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>> {
        self.list().boxed()
    }

    fn act<'a>(&'a self, container: &'a str, verb: Verb) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let done: Result<(), EngineError> = match verb {
                Verb::Kill => self.engine.kill(container).await,
                Verb::Pause => self.engine.pause(container).await,
                Verb::Unpause => self.engine.unpause(container).await,
                Verb::Start => self.engine.start(container).await,
            };
            done.map_err(|error| error.to_string())?;
            if verb == Verb::Start {
                let handed = self.secrets.hand_over(&self.engine, container).await;
                handed.map_err(|error| error.to_string())?;
            }
            Ok(())
        }
        .boxed()
    }
}

fn is_up(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running | ContainerState::Paused)
}

fn state(text: &str) -> ContainerState {
    match text {
        "created" => ContainerState::Created,
        "running" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "restarting" => ContainerState::Restarting,
        "exited" => ContainerState::Exited,
        _ => ContainerState::Dead,
    }
}

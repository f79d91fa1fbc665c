//! The machines of a topology that stands on the user's engine.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
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
        Self { engine, run: run.to_owned(), outposts, hellos, secrets }
    }

    async fn list(&self) -> Result<BTreeMap<String, PartView>, String> {
        let listed = self.engine.containers(LABEL_RUN, Some(&self.run)).await;
        let listed = listed.map_err(|error| error.to_string())?;
        let mut parts = BTreeMap::new();
        for container in listed {
            if let Some(name) = container.labels.get(LABEL_MACHINE) {
                let view = PartView { id: container.id, state: state(&container.state) };
                parts.insert(name.clone(), view);
            }
        }
        Ok(parts)
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
                Verb::Stop => self.engine.stop(container).await,
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

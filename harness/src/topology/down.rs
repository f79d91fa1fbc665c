//! The way down: everything that carries a run's label goes, and the run's directory on the cache volume with it.

use std::path::Path;
use std::time::Duration;

use super::{Topology, TopologyError, machines};
use crate::engine::{ContainerSpec, Engine, EngineError, LABEL_HOME, LABEL_RUN};
use crate::image::seed::CACHE;
use crate::run::{Home, Phase, Run, State};

/// Removing three data-roots of hard links takes a second or two.
const REMOVE_MAX: Duration = Duration::from_secs(120);

impl Topology {
    /// Removes the topology and forgets the run.
    ///
    /// # Errors
    /// If the engine can't remove something; the run's state then says so, and the next `up` tries again.
    pub async fn down(self) -> Result<(), TopologyError> {
        remove(&self.engine, &self.home, self.run).await
    }
}

/// Removes a run, which is nobody's to use from here on: containers, then its directory on the cache volume, networks and volumes, then its folder.
///
/// # Errors
/// If the engine can't remove something. The folder stays then.
pub async fn remove(engine: &Engine, home: &Home, run: Run) -> Result<(), TopologyError> {
    let state = State::read(run.folder()).ok();
    if let Some(state) = &state {
        State { phase: Phase::Removing, ..state.clone() }.write(run.folder())?;
    }
    let sweeper = async {
        match &state {
            Some(state) => Sweeper::start(engine, home, state).await,
            // Nothing was started that could have written to the cache.
            None => Ok(None),
        }
    };
    let (sweeper, ()) = tokio::try_join!(sweeper, engine.remove_containers(LABEL_RUN, run.id()))?;
    let cleared = async {
        match sweeper {
            Some(sweeper) => sweeper.clear().await,
            None => Ok(()),
        }
    };
    tokio::try_join!(cleared, engine.remove_networks_and_volumes(LABEL_RUN, run.id()))?;
    Ok(run.forget()?)
}

/// Removes every run that nobody is responsible for, and labelled objects of this user's runs that have no folder any
/// more. Returns how many there were.
///
/// # Errors
/// If the engine can't remove something.
pub async fn sweep(engine: &Engine, home: &Home, progress: &(dyn Fn(&str) + Sync)) -> Result<usize, TopologyError> {
    let mut swept = 0;
    for run in home.abandoned()? {
        progress(&format!("removing what the run {} left behind", run.id()));
        remove(engine, home, run).await?;
        swept += 1;
    }
    let ours = home.directory().display().to_string();
    let labelled = engine.label_values(LABEL_RUN, LABEL_HOME, &ours).await?;
    // Read after the labels: a run has its folder before it has anything else.
    let known = home.runs()?;
    for id in labelled {
        if !known.iter().any(|run| id == *run || id == sweepers_label(run)) {
            progress(&format!("removing what the run {id} left behind"));
            engine.remove_containers(LABEL_RUN, &id).await?;
            engine.remove_networks_and_volumes(LABEL_RUN, &id).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// The run label of a run's [`Sweeper`]: not the run's own, or it would be removed with the containers.
fn sweepers_label(run: &str) -> String {
    format!("{run}-clear")
}

/// A container that removes the run's directory from the cache volume. It starts while the machines end, and works when
/// they are gone.
struct Sweeper<'a> {
    engine: &'a Engine,
    container: String,
    directory: String,
}

impl<'a> Sweeper<'a> {
    async fn start(engine: &'a Engine, home: &Home, state: &State) -> Result<Option<Self>, EngineError> {
        let volume = &state.config.cache_volume;
        let present = engine.image_id(&state.images.router).await?.is_some();
        if !present || engine.docker().inspect_volume(volume).await.is_err() {
            // `clean` was here: the volume, or what could have filled it, is gone.
            return Ok(None);
        }
        let label = sweepers_label(&state.id);
        // One that was cut off has the name.
        engine.remove_containers(LABEL_RUN, &label).await?;
        let spec = ContainerSpec {
            name: format!("stormbed-{label}"),
            hostname: "clear".into(),
            image: state.images.router.clone(),
            command: vec!["sleep".into(), REMOVE_MAX.as_secs().to_string()],
            labels: machines::labels(&label, home),
            volumes: vec![(volume.clone(), CACHE.to_owned())],
            ..ContainerSpec::default()
        };
        let container = engine.create(&spec).await?;
        engine.start(&container).await?;
        let directory = Path::new(CACHE).join("runs").join(&state.id);
        Ok(Some(Self { engine, container, directory: directory.display().to_string() }))
    }

    async fn clear(self) -> Result<(), EngineError> {
        // The hosts' directories at the same time.
        let script = r#"for host in "$0"/*; do rm -rf "$host" & done; wait; rm -rf "$0""#;
        let command = ["sh", "-c", script, self.directory.as_str()];
        let cleared = self.engine.exec(&self.container, &command, b"", REMOVE_MAX).await;
        self.engine.remove(&self.container).await?;
        let what = format!("removing {} from the cache volume", self.directory);
        cleared?.success(&what).map(|_| ())
    }
}

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
    pub async fn down(mut self) -> Result<(), TopologyError> {
        self.set_phase(Phase::Removing)?;
        remove(&self.engine, &self.home, self.run).await
    }
}

/// Removes a run: containers, then its directory on the cache volume, networks and volumes, then its folder.
///
/// # Errors
/// If the engine can't remove something. The folder stays then.
pub async fn remove(engine: &Engine, home: &Home, run: Run) -> Result<(), TopologyError> {
    let state = State::read(run.folder()).ok();
    engine.remove_containers(LABEL_RUN, run.id()).await?;
    let cached = async {
        match &state {
            Some(state) => clear_cache(engine, home, state).await,
            // Nothing was started that could have written there.
            None => Ok(()),
        }
    };
    tokio::try_join!(cached, engine.remove_networks_and_volumes(LABEL_RUN, run.id()))?;
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
    let known = home.runs()?;
    for id in engine.label_values(LABEL_RUN, LABEL_HOME, &ours).await? {
        if !known.contains(&id) {
            progress(&format!("removing what the run {id} left behind"));
            engine.remove_containers(LABEL_RUN, &id).await?;
            engine.remove_networks_and_volumes(LABEL_RUN, &id).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Removes the run's directory on the cache volume, from a container that lives for nothing else.
async fn clear_cache(engine: &Engine, home: &Home, state: &State) -> Result<(), EngineError> {
    let volume = &state.config.cache_volume;
    let present = engine.image_id(&state.images.router).await?.is_some();
    if !present || engine.docker().inspect_volume(volume).await.is_err() {
        // `clean` was here: the volume, or what could have filled it, is gone.
        return Ok(());
    }
    let spec = ContainerSpec {
        name: format!("stormbed-{}-clear", state.id),
        hostname: "clear".into(),
        image: state.images.router.clone(),
        command: vec!["sleep".into(), REMOVE_MAX.as_secs().to_string()],
        labels: machines::labels(&state.id, home),
        volumes: vec![(volume.clone(), CACHE.to_owned())],
        ..ContainerSpec::default()
    };
    let container = engine.create(&spec).await?;
    let directory = Path::new(CACHE).join("runs").join(&state.id).display().to_string();
    let cleared = async {
        engine.start(&container).await?;
        let command = ["rm", "-rf", "--one-file-system", directory.as_str()];
        let output = engine.exec(&container, &command, b"", REMOVE_MAX).await?;
        output.success(&format!("removing {directory} from the cache volume"))
    };
    let cleared = cleared.await;
    engine.remove(&container).await?;
    cleared.map(|_| ())
}

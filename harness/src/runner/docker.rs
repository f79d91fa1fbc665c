//! Topologies on the user's Docker engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use stormbed::config::Slot;
use tokio::sync::Mutex;

use super::backend::{Backend, Stand};
use crate::engine::Engine;
use crate::observe::observation::Shape;
use crate::run::{Home, Phase, State};
use crate::scenario::Cluster;
use crate::topology::plan::MASTER_PORT;
use crate::topology::up::{UpOptions, up};
use crate::topology::{Plan, Role, Topology, TopologyConfig, TopologyError, down};

/// What the engine was told before a start was cut off is done within this time.
const CUT_OFF_SETTLES: Duration = Duration::from_millis(300);
/// Asking a part for its version is one short command.
const VERSION_MAX: Duration = Duration::from_secs(10);

/// Starts topologies, or takes the one that stands.
#[derive(Debug)]
pub struct DockerBackend {
    engine: Engine,
    home: Home,
    options: UpOptions,
    /// The user gave a configuration: a topology with another one isn't what was asked for.
    configured: bool,
    source: Source,
    taken: Mutex<Option<Taken>>,
}

/// Where a run's topology comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// One that stands and fits, else a new one.
    #[default]
    Any,
    /// One that stands.
    Standing,
    /// A new one.
    Fresh,
}

/// The topology of this run.
#[derive(Debug)]
struct Taken {
    topology: Topology,
    /// It stood before this run, so it goes only by `down`.
    stood: bool,
}

impl DockerBackend {
    /// A backend on this engine; without a configuration any topology that stands will do, else one with the defaults is started.
    #[must_use]
    pub fn new(engine: Engine, home: Home, config: Option<TopologyConfig>, source: Source) -> Self {
        let configured = config.is_some();
        let options = UpOptions { config: config.unwrap_or_default(), ..UpOptions::default() };
        Self { engine, home, options, configured, source, taken: Mutex::new(None) }
    }

    async fn take(&self, cluster: &Cluster, tell: &(dyn Fn(&str) + Sync)) -> Result<Stand, String> {
        let mut options = self.options.clone();
        options.config.nodes = cluster.nodes.unwrap_or(options.config.nodes);
        if let Some(prefix) = &cluster.prefix {
            options.config.prefix.clone_from(prefix);
        }
        let stood = match self.source {
            Source::Fresh => None,
            Source::Any | Source::Standing => self.standing(cluster).await.map_err(told)?,
        };
        let taken = match stood {
            None if self.source == Source::Standing => {
                return Err(
                    "no topology that fits stands and is free; start one with `stormbed up`, or leave out --reuse"
                        .into(),
                );
            }
            Some(topology) => {
                if self.configured && topology.plan().config != options.config {
                    return Err(format!(
                        "the topology {} stands with another configuration than the one given; `stormbed down` it, or leave out --config",
                        topology.id()
                    ));
                }
                down::sweep(&self.engine, &self.home, tell).await.map_err(told)?;
                tell(&format!("using the topology {} that stands", topology.id()));
                Taken { topology, stood: true }
            }
            None => {
                let mut topology = up(&self.engine, &self.home, &options, tell).await.map_err(told)?;
                topology.set_phase(Phase::Running).map_err(told)?;
                Taken { topology, stood: false }
            }
        };
        let stand = self.stand(&taken).await?;
        *self.taken.lock().await = Some(taken);
        Ok(stand)
    }

    /// A topology that stands, fits, and is nobody else's.
    async fn standing(&self, cluster: &Cluster) -> Result<Option<Topology>, TopologyError> {
        for id in self.home.runs()?.into_iter().rev() {
            let Ok(state) = State::read(&self.home.folder(&id)) else {
                continue;
            };
            let config = &state.config;
            let fits = cluster.nodes.is_none_or(|nodes| nodes == config.nodes)
                && cluster.prefix.as_ref().is_none_or(|p| *p == config.prefix);
            if state.phase.is_standing()
                && fits
                && let Ok(topology) = Topology::attach(&self.engine, &self.home, &id).await
            {
                return Ok(Some(topology));
            }
        }
        Ok(None)
    }

    async fn stand(&self, taken: &Taken) -> Result<Stand, String> {
        let topology = &taken.topology;
        Ok(Stand {
            shape: shape(topology.plan())?,
            machines: Arc::new(topology.machines().map_err(told)?),
            proxy_url: topology.proxy_url(),
            token: topology.secrets().jupyter_token().to_owned(),
            folder: topology.folder().to_owned(),
            ours: !taken.stood,
            guarded: true,
            parts: self.versions(topology).await,
        })
    }

    /// Versions of the parts, as their packages say; a part that can't be asked is left out.
    async fn versions(&self, topology: &Topology) -> BTreeMap<String, String> {
        const PACKAGES: [&str; 6] =
            ["zookeeper", "etcd-server", "glusterfs-server", "openssh-server", "jupyter-server", "bird2"];
        let mut parts = BTreeMap::new();
        if let Ok(version) = self.engine.docker().version().await {
            parts.extend(version.version.map(|v| ("docker".to_owned(), v)));
        }
        let mut command = vec!["dpkg-query", "-W", "-f", "${Package} ${Version}\n"];
        command.extend(PACKAGES);
        for (machine, id) in topology.containers() {
            if !matches!(machine.as_str(), "zk-1" | "host-1") {
                continue;
            }
            let asked = self.engine.exec(id, &command, &[], VERSION_MAX).await;
            let text = asked.map(|output| output.stdout).unwrap_or_default();
            let pairs = text.lines().filter_map(|line| line.split_once(' '));
            let known = pairs.filter(|(_, version)| !version.is_empty());
            parts.extend(known.map(|(name, version)| (name.to_owned(), version.to_owned())));
        }
        parts.insert("stormbed".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        parts
    }

    async fn end(&self, keep: bool) -> Result<bool, String> {
        let Some(mut taken) = self.taken.lock().await.take() else {
            // An `up` that was cut off has left a run that nobody holds.
            // A call to the engine that was under way may still make something.
            tokio::time::sleep(CUT_OFF_SETTLES).await;
            let tell = |text: &str| tracing::info!("{text}");
            return down::sweep(&self.engine, &self.home, &tell).await.map(|_| false).map_err(told);
        };
        if taken.stood {
            return Ok(true);
        }
        if keep {
            return taken.topology.set_phase(Phase::Standing).map(|()| true).map_err(told);
        }
        taken.topology.down().await.map(|()| false).map_err(told)
    }
}

impl Backend for DockerBackend {
    fn up<'a>(
        &'a self,
        cluster: &'a Cluster,
        tell: &'a (dyn Fn(&str) + Sync),
    ) -> LocalBoxFuture<'a, Result<Stand, String>> {
        self.take(cluster, tell).boxed_local()
    }

    fn logs<'a>(&'a self, folder: &'a Path) -> LocalBoxFuture<'a, Result<(), String>> {
        async move {
            match &*self.taken.lock().await {
                Some(taken) => taken.topology.collect_logs(folder).await.map_err(told),
                None => Ok(()),
            }
        }
        .boxed_local()
    }

    fn release(&self, keep: bool) -> LocalBoxFuture<'_, Result<bool, String>> {
        self.end(keep).boxed_local()
    }
}

/// The cluster as observers see it.
///
/// # Errors
/// If the pool has no address for a slot.
pub fn shape(plan: &Plan) -> Result<Shape, String> {
    let cluster = plan.cluster();
    let slot = |slot: Slot| Ok((slot, cluster.address(slot)?));
    let addresses = (0..cluster.nodes).map(slot).collect::<Result<_, String>>()?;
    let names = |role: Role| plan.of(role).map(|m| m.name.clone()).collect::<Vec<_>>();
    Ok(Shape {
        prefix: cluster.prefix.clone(),
        cluster: cluster.name.clone(),
        addresses,
        pool: cluster.pool.clone(),
        machines: plan.machines.iter().map(|machine| (machine.name.clone(), machine.address)).collect(),
        hosts: names(Role::Host),
        masters: plan.endpoints(Role::Master, MASTER_PORT),
        zookeepers: names(Role::ZooKeeper),
        frameworks: names(Role::Framework),
        framework_name: format!("stormbed-{}", cluster.name),
        jupyter_port: cluster.jupyter_port,
        edge: names(Role::Edge).pop().unwrap_or_default(),
    })
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

//! The way up: images, network, machines, and then each part in turn, watched.
//!
//! Whatever fails or is interrupted on the way, the run's state says `starting` until the end: whoever drops this future
//! sweeps what it left ([`super::down::sweep`]).

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::secrets::Secrets;
use super::subnet::{self, Network};
use super::{Machine, Plan, Role, Stage, Topology, TopologyConfig, TopologyError, down, machines, storage};
use crate::engine::{Engine, EngineError};
use crate::image::{self, ImageSet, seed};
use crate::run::{Home, Phase, Run, State, id};

/// Containers that are created and started at the same time: more makes no engine faster.
const STARTS_AT_ONCE: usize = 4;

/// How a topology is to be started.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// What it is like.
    pub config: TopologyConfig,
    /// How far to go.
    pub until: Stage,
    /// Leave a topology that failed to come up standing, to look at it.
    pub keep_failed: bool,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self { config: TopologyConfig::default(), until: Stage::Jupyter, keep_failed: false }
    }
}

/// Starts a topology. Its phase is `starting` until the caller sets another.
///
/// # Errors
/// What failed, on which part, and what to do. What was started is removed, unless `keep_failed` says otherwise.
pub async fn up(
    engine: &Engine,
    home: &Home,
    options: &UpOptions,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Topology, TopologyError> {
    options.config.validate()?;
    let claim = home.claim(|| progress("waiting for another start to have its images and network")).await?;
    down::sweep(engine, home, progress).await?;
    let images = image::ensure(engine, home, options.config.mesos.layer().as_ref(), progress).await?;
    let mut topology = match prepare(engine, home, &options.config, images, progress).await {
        Ok(topology) => topology,
        Err(error) => {
            // The run was let go of: what it had so far is nobody's.
            tell_failure(down::sweep(engine, home, progress).await.map(|_| ()), progress);
            return Err(error);
        }
    };
    drop(claim);
    match start(&mut topology, options.until, progress).await {
        Ok(()) => Ok(topology),
        Err(error) => {
            // A machine that ended explains more than the call that met it.
            let error = topology.all_run().await.err().unwrap_or(error);
            seed::doubt(home.directory());
            if options.keep_failed {
                topology.set_phase(Phase::Standing)?;
            } else {
                progress("removing what was started");
                tell_failure(topology.down().await, progress);
            }
            Err(error)
        }
    }
}

/// Why a start failed matters more than why its leftovers stay for the next `up`.
fn tell_failure(removed: Result<(), TopologyError>, progress: &(dyn Fn(&str) + Sync)) {
    if let Err(error) = removed {
        progress(&format!("not everything is removed, the next `up` or `down --all` tries again: {error}"));
    }
}

/// Claims a run: folder, lock, secrets, port and network.
async fn prepare(
    engine: &Engine,
    home: &Home,
    config: &TopologyConfig,
    images: ImageSet,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Topology, TopologyError> {
    let run = Run::create(home, &id::new())?;
    let secrets = Secrets::generate()?;
    secrets.save(&run)?;
    let owner = seed::Owner { run: run.id(), home: home.directory() };
    seed::ensure(engine, &config.cache_volume, &images, owner, progress).await?;
    image::set::prune(engine, &images).await?;
    let mut state = State {
        id: run.id().to_owned(),
        phase: Phase::Starting,
        number: 0,
        config: config.clone(),
        images,
        proxy_port: free_port(home, config.proxy_port)?,
    };
    let plan = claim_network(engine, home, &mut state).await?;
    state.write(run.folder())?;
    Ok(Topology {
        engine: engine.clone(),
        home: home.clone(),
        run,
        state,
        plan,
        secrets,
        containers: std::collections::BTreeMap::new(),
    })
}

/// A free port of the loopback. Fixed for the topology's life: the engine would choose another at every start of the edge.
fn free_port(home: &Home, wanted: Option<u16>) -> Result<u16, TopologyError> {
    // One that was chosen for another start may not be bound yet.
    let states = home.runs()?.into_iter().filter_map(|id| State::read(&home.folder(&id)).ok());
    let chosen: BTreeSet<u16> = states.map(|state| state.proxy_port).collect();
    let port = wanted.unwrap_or(0);
    let mut held = Vec::new();
    // Ends: the kernel gives no port twice while it is held.
    loop {
        let bound = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port));
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        match bound.map_err(|e| TopologyError::Port { port, why: e.to_string() })? {
            (free, _) if port != 0 || !chosen.contains(&free) => return Ok(free),
            (_, listener) => held.push(listener),
        }
    }
}

/// Takes the lowest number whose networks are free. The engine is the arbiter between runs that try at the same time: it
/// refuses a subnet that overlaps, and the next number is tried.
async fn claim_network(engine: &Engine, home: &Home, state: &mut State) -> Result<Plan, TopologyError> {
    let none = || TopologyError::NoNetwork { underlay: state.config.underlay.clone(), pool: state.config.pool.clone() };
    let mut taken = subnet::routes_of_machine();
    taken.extend(engine.subnets().await?.iter().filter_map(|s| Network::parse(s)));
    let labels = machines::labels(&state.id, home);
    for number in subnet::free(&state.config.underlay, &state.config.pool, &taken) {
        let attempt = State { number, ..state.clone() };
        let plan = Plan::new(&attempt).ok_or_else(none)?;
        let made = engine.create_network(&plan.network_name(), &plan.underlay, plan.gateway, &labels).await;
        match made {
            Ok(_) => {
                state.number = number;
                return Ok(plan);
            }
            Err(e) if overlaps(&e) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(none())
}

fn overlaps(error: &EngineError) -> bool {
    error.to_string().contains("overlap")
}

async fn start(topology: &mut Topology, until: Stage, progress: &(dyn Fn(&str) + Sync)) -> Result<(), TopologyError> {
    let plan = topology.plan.clone();
    let hosts: Vec<&Machine> = plan.of(Role::Host).collect();
    let others: Vec<&Machine> = plan.machines.iter().filter(|m| m.role != Role::Host).collect();
    launch(topology, &hosts).await?;
    let secrets = topology.secrets.clone();
    let ids: Vec<String> = hosts.iter().filter_map(|m| topology.containers.get(&m.name).cloned()).collect();
    let engine = topology.engine.clone();
    let places = plan.cluster().secrets;
    let hand_over = futures_util::future::try_join_all(ids.iter().map(|id| secrets.hand_over(&engine, id, &places)));
    let storage = async {
        if until >= Stage::Storage {
            let within = Duration::from_secs(plan.config.patience.storage_s);
            storage::make(&engine, &plan, &ids[0], within).await?;
        }
        Ok(())
    };
    tokio::try_join!(launch(topology, &others), hand_over, storage)?;
    progress(&format!("{} machines run", plan.machines.len()));
    let stages = [Stage::Zookeeper, Stage::Storage, Stage::Mesos, Stage::Nodes, Stage::Jupyter];
    for stage in stages.into_iter().filter(|s| *s <= until) {
        topology.wait_for(stage).await?;
        progress(&format!("{stage}: ready"));
    }
    Ok(())
}

/// Creates and starts machines, a few at a time.
async fn launch(topology: &mut Topology, list: &[&Machine]) -> Result<(), TopologyError> {
    let (engine, plan, home) = (&topology.engine, &topology.plan, &topology.home);
    let one = async |machine: &Machine| {
        let id = engine.create(&machines::container(plan, machine, home)).await?;
        if let Some(told) = plan.supervise(machine) {
            let text =
                toml::to_string(&told).expect("a configuration is plain data; a unit test makes every machine's");
            engine.upload(&id, &[(machines::SUPERVISE_FILE, 0o644, text.as_bytes())]).await?;
        }
        engine.start(&id).await?;
        Ok::<_, TopologyError>((machine.name.clone(), id))
    };
    let started: Vec<(String, String)> =
        stream::iter(list).map(|m| one(m)).buffered(STARTS_AT_ONCE).try_collect().await?;
    topology.containers.extend(started);
    Ok(())
}

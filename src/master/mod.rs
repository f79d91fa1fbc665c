//! The embedded Mesos master: Mesos's v1 scheduler API, operator endpoints and ZooKeeper election.
//!
//! * [`core`]: every decision of a leader, pure.
//! * [`desk`]: the core at work: its clock, its streams, its registry.
//! * [`http`]: requests and answers, in Mesos's order of checks. [`view`]: what operators are shown.
//! * [`registry`]: the agents that masters know of, in ZooKeeper or a file.
//!
//! A master stands in the election as soon as it runs. Until it is elected it redirects to the leader; a leader that
//! loses its place ends its process, as Mesos's does, because somebody else may lead already. Without ZooKeeper a master is
//! the only one and leads from its start.

pub mod core;
pub mod desk;
pub mod http;
pub mod registry;
pub mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use self::core::Settings;
use self::core::model::Registry;
use crate::clock::Clock;
use crate::config::MasterConfig;
use crate::mesos::contender::{Candidate, Contender, Standing, contend};
use crate::mesos::detector::detect;
use crate::mesos::types::MasterInfo;
use crate::mesos::zk::{ZkUrl, ZkUrlError};
use desk::Desk;
use registry::{RegistryError, RegistryStore};

/// Time between the core's ticks: well below the shortest interval that it keeps.
const TICK: Duration = Duration::from_millis(50);

/// Why a master ended.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The election's URL can't be read.
    #[error("the master's 'zk' can't be used")]
    Url(#[from] ZkUrlError),
    /// There is no place for the registry.
    #[error("a master without 'zk' keeps its registry in a file; give it a 'work_dir'")]
    NoWorkDir,
    /// The port can't be had.
    #[error("the master can't listen on {address}; is another one running there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Leadership is gone; another master may lead already.
    #[error("EXIT with status 1: Lost leadership after indecisive election... committing suicide!")]
    LostLeadership,
    /// The registry can't be kept.
    #[error("the master's registry of agents can't be kept")]
    Registry(#[from] RegistryError),
}

/// Runs a master until it must end, or `stop` completes: then it resigns, and the next one leads at once. (Mesos's master dies
/// of SIGTERM, and the others wait for the end of its session.)
///
/// # Errors
/// Why it had to end.
pub async fn run(config: MasterConfig, stop: impl Future<Output = ()>) -> Result<(), MasterError> {
    let session = Duration::from_millis(config.zk_session_timeout_ms);
    let id = uuid::Uuid::new_v4().to_string();
    let info = MasterInfo::announce(&id, config.ip, config.port, &config.hostname);
    let address = SocketAddr::from((config.ip, config.port));
    let election = match (&config.zk, &config.work_dir) {
        (Some(zk), _) => Election::Ensemble { url: zk.parse()?, session },
        (None, Some(work_dir)) => Election::Alone { registry: work_dir.join("registry.json") },
        (None, None) => return Err(MasterError::NoWorkDir),
    };
    let listener = TcpListener::bind(address).await.map_err(|source| MasterError::Listen { address, source })?;
    tracing::info!(%id, %address, zk = config.zk, "master started");

    let (leader, standing, contender) = election.enter(&info);
    let desk = Arc::new(Desk::new(settings(&config), info, leader, Clock::start()));
    let ended = tokio::select! {
        never = http::serve(listener, desk.clone()) => match never {},
        ended = lead(&desk, &election, standing) => Err(ended),
        () = stop => Ok(()),
    };
    if let Some(contender) = contender {
        contender.resign().await;
    }
    ended
}

/// Who leads, how this master stands, and its place in the election.
type Entered = (watch::Receiver<Option<MasterInfo>>, watch::Receiver<Standing>, Option<Contender>);

/// How it is settled who leads.
enum Election {
    /// By ZooKeeper, among several masters.
    Ensemble {
        /// Where.
        url: ZkUrl,
        /// The session's timeout.
        session: Duration,
    },
    /// Not at all: this master is the only one.
    Alone {
        /// The file that holds the registry.
        registry: PathBuf,
    },
}

impl Election {
    /// Stands in the election; returns who leads, how we stand, and our place, if there is an election.
    fn enter(&self, info: &MasterInfo) -> Entered {
        match self {
            Self::Ensemble { url, session } => {
                // As Mesos writes it: members by name.
                let data = serde_json::json!(info).to_string().into_bytes();
                // The registry isn't a replicated log here, but who counts Mesos's masters by their replicas finds this one.
                let log_replica = Some(format!("log-replica(1)@{}", info.authority()));
                let candidate = Candidate { data, log_replica };
                let contender = contend(url.clone(), candidate, *session);
                (detect(url.clone(), *session), contender.standing.clone(), Some(contender))
            }
            // Nobody will ever change them, so their senders may go.
            Self::Alone { .. } => {
                let elected = Standing::Elected { node: String::new() };
                (watch::channel(Some(info.clone())).1, watch::channel(elected).1, None)
            }
        }
    }

    async fn open_registry(&self) -> Result<(RegistryStore, Registry), RegistryError> {
        match self {
            Self::Ensemble { url, session } => RegistryStore::open(url, *session).await,
            Self::Alone { registry } => RegistryStore::open_file(registry),
        }
    }
}

/// Waits for the election, leads, and returns why that ended.
async fn lead(desk: &Arc<Desk>, election: &Election, mut standing: watch::Receiver<Standing>) -> MasterError {
    if standing.wait_for(|s| *s != Standing::Standby).await.is_err() {
        return MasterError::LostLeadership;
    }
    tracing::info!("elected as the leading master");
    let led = async {
        let (store, known) = match election.open_registry().await {
            Ok(opened) => opened,
            Err(error) => return MasterError::Registry(error),
        };
        tracing::info!(agents = known.admitted.len(), "registry recovered");
        desk.lead(Some(store), known).await;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            desk.on(core::Event::Tick).await;
            if let Some(error) = desk.failure().await {
                return MasterError::Registry(error);
            }
        }
    };
    let lost = async {
        // Whoever is alone has nobody to lose to: nothing is ever published.
        if standing.wait_for(|s| *s == Standing::Lost).await.is_err() && matches!(election, Election::Alone { .. }) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = lost => MasterError::LostLeadership,
        error = led => error,
    }
}

fn settings(config: &MasterConfig) -> Settings {
    Settings {
        ping_interval: Duration::from_millis(config.agent_ping_timeout_ms),
        pings_max: config.max_agent_ping_timeouts,
        reregister_timeout: Duration::from_millis(config.agent_reregister_timeout_ms),
        allocation_interval: Duration::from_millis(config.allocation_interval_ms),
        heartbeat_interval: Duration::from_millis(config.heartbeat_interval_ms),
        offer_timeout: config.offer_timeout_ms.map(Duration::from_millis),
        roles: config.roles.clone(),
        root_submissions: config.root_submissions,
        zk_session_timeout: Duration::from_millis(config.zk_session_timeout_ms),
    }
}

//! A topology that stands: what a runner asks of it and does to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stormbed::config::{LABEL_INCARNATION, LABEL_SLOT};
use stormbed::outpost::protocol::{Hello, PROTOCOL_VERSION};

use super::plan::{AGENT_PORT, ELECTION_PATH, MASTER_PORT, STATE_PATH, VOLUME, ZOOKEEPER_PORT, brick};
use super::secrets::{HostSecrets, Secrets};
use super::{Plan, Role, TopologyError};
use crate::engine::{Engine, LABEL_MACHINE, LABEL_RUN};
use crate::observe::docker::DockerMachines;
use crate::run::{Home, Phase, Run, State};

/// An outpost that hears nothing for so long undoes its faults: some heartbeats of one second may be lost on a full machine.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// One node's log, of which the end is kept.
const NODE_LOG_MAX: Duration = Duration::from_secs(10);

/// A topology, and the responsibility for it: the run's lock is held until this is dropped.
#[derive(Debug)]
pub struct Topology {
    pub(super) engine: Engine,
    pub(super) home: Home,
    pub(super) run: Run,
    pub(super) state: State,
    pub(super) plan: Plan,
    pub(super) secrets: Secrets,
    pub(super) containers: BTreeMap<String, String>,
}

impl Topology {
    /// Takes up a topology that stands.
    ///
    /// # Errors
    /// If there is no such run, another process holds it, or its state can't be used.
    pub async fn attach(engine: &Engine, home: &Home, id: &str) -> Result<Self, TopologyError> {
        let run = Run::open(home, id)?;
        let state = State::read(run.folder())?;
        let secrets = Secrets::load(run.folder())?;
        let plan = planned(&state)?;
        let containers = containers(engine, id).await?;
        Ok(Self { engine: engine.clone(), home: home.clone(), run, state, plan, secrets, containers })
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.run.id()
    }

    /// The run's own folder: state, lock, secrets. Not the place of reports.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.run.folder()
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Names, addresses, configuration.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Containers by machine name.
    #[must_use]
    pub fn containers(&self) -> &BTreeMap<String, String> {
        &self.containers
    }

    /// A machine's container (full id).
    ///
    /// # Errors
    /// [`TopologyError::NoMachine`], with the names that there are.
    pub fn container(&self, machine: &str) -> Result<&str, TopologyError> {
        self.containers.get(machine).map(String::as_str).ok_or_else(|| TopologyError::NoMachine {
            name: machine.to_owned(),
            known: self.containers.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Where the proxy listens on this machine, without a trailing slash.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        format!("http://{}:{}", std::net::Ipv4Addr::LOCALHOST, self.plan.proxy_port)
    }

    /// File with the Jupyter token, for a user's own browser.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.folder().join(super::secrets::TOKEN_FILE)
    }

    /// Notes where the run is in its life.
    ///
    /// # Errors
    /// If the state can't be written.
    pub fn set_phase(&mut self, phase: Phase) -> Result<(), TopologyError> {
        self.state.phase = phase;
        Ok(self.state.write(self.run.folder())?)
    }

    /// Machines that have an outpost: all.
    #[must_use]
    pub fn outpost_machines(&self) -> Vec<String> {
        self.plan.machines.iter().map(|m| m.name.clone()).collect()
    }

    /// The first line to send to an outpost. It holds a secret: it goes to the outpost's input and nowhere else.
    #[must_use]
    pub fn hello(&self, machine: &str, heartbeat_timeout_ms: u64) -> Hello {
        let cluster = self.plan.cluster();
        let role = self.plan.machine(machine).map(|m| m.role);
        let is_host = role == Some(Role::Host);
        // Whoever logs in to nodes; masters and schedulers are only broken and looked at.
        let key = if is_host || role == Some(Role::Edge) { self.secrets.operator_private_key() } else { "" };
        Hello {
            protocol: PROTOCOL_VERSION,
            heartbeat_timeout_ms,
            cluster: cluster.name.clone(),
            operator_private_key: key.to_owned(),
            jupyter_port: cluster.jupyter_port,
            shared_mount: is_host.then_some(cluster.shared_on_host),
            volume: VOLUME.to_owned(),
            brick: is_host.then(brick),
            slots: is_host.then(|| cluster.slots_on_host.join(&cluster.name)),
            pool: cluster.pool,
            masters: self.plan.endpoints(Role::Master, MASTER_PORT),
            agents: self.plan.endpoints(Role::Host, AGENT_PORT),
            zookeepers: self.plan.endpoints(Role::ZooKeeper, ZOOKEEPER_PORT),
            election_path: ELECTION_PATH.to_owned(),
            schedulers_path: format!("{STATE_PATH}/election"),
            log_dir: "/var/log/stormbed".into(),
        }
    }

    /// The machines, to look at and to break.
    ///
    /// # Errors
    /// [`TopologyError::NoMachine`] if one isn't there.
    pub fn machines(&self) -> Result<DockerMachines, TopologyError> {
        let heartbeat_ms = u64::try_from(HEARTBEAT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        let (mut hellos, mut outposts) = (BTreeMap::new(), BTreeMap::new());
        for name in self.outpost_machines() {
            outposts.insert(name.clone(), self.container(&name)?.to_owned());
            hellos.insert(name.clone(), self.hello(&name, heartbeat_ms));
        }
        let secrets = host_secrets(&self.plan, &self.secrets, &self.containers);
        Ok(DockerMachines::new(self.engine.clone(), self.id(), outposts, hellos, secrets))
    }

    /// Collects every machine's logs into a folder: its own output, and the parts' files, one folder per machine.
    /// What can't be read is noted in the place of the log; nothing here fails a run.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub async fn collect_logs(&self, folder: &Path) -> Result<(), TopologyError> {
        let one = async |machine: &String, id: &String| {
            let place = folder.join(machine);
            std::fs::create_dir_all(&place)?;
            let output = self.engine.output_of(id, 100_000).await.unwrap_or_else(|e| format!("{e}\n"));
            std::fs::write(place.join("output.log"), output)?;
            let log_dir = Path::new("/var/log/stormbed");
            for (path, content) in self.engine.files_of(id, log_dir).await.unwrap_or_default() {
                // Only the last part of a path that a container chose: it must not lead out of the folder.
                if let Some(name) = Path::new(&path).file_name() {
                    std::fs::write(place.join(name), content)?;
                }
            }
            for (name, content) in self.node_logs(machine, id).await {
                std::fs::write(place.join(name), content)?;
            }
            Ok::<(), std::io::Error>(())
        };
        let all = self.containers.iter().map(|(machine, id)| one(machine, id));
        let done = futures_util::future::join_all(all).await;
        done.into_iter().collect::<Result<(), _>>().map_err(|e| crate::run::RunError::file(folder)(e).into())
    }

    /// What the nodes of a host wrote, those that ended included: `<slot's name>.<incarnation>.log`. It lies in the host's own engine.
    async fn node_logs(&self, machine: &str, id: &str) -> Vec<(String, String)> {
        if self.plan.machine(machine).is_none_or(|machine| machine.role != Role::Host) {
            return Vec::new();
        }
        let label = |name: &str| format!("{{{{.Label \"{name}\"}}}}");
        let format = format!("{{{{.ID}}}} {} {}", label(LABEL_SLOT), label(LABEL_INCARNATION));
        let filter = format!("label={LABEL_SLOT}");
        let list = ["docker", "ps", "--all", "--filter", &filter, "--format", &format];
        let listed = self.engine.exec(id, &list, b"", NODE_LOG_MAX).await.map(|output| output.stdout);
        let mut logs = Vec::new();
        for line in listed.unwrap_or_default().lines() {
            let [container, slot, incarnation] = line.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            // Both streams of the node in one, in their order.
            let command = ["sh", "-c", "docker logs \"$0\" 2>&1", container];
            let said = self.engine.exec(id, &command, b"", NODE_LOG_MAX).await;
            let content = said.map_or_else(|error| format!("{error}\n"), |output| output.stdout);
            logs.push((format!("{}-s{slot}.{incarnation}.log", self.plan.config.prefix), content));
        }
        logs
    }

    /// The last lines of everything that a machine wrote, for an error.
    pub async fn log_tail(&self, machine: &str) -> String {
        /// Enough for a panic or a stack of causes, short enough to read.
        const LINES: usize = 12;
        let Ok(id) = self.container(machine) else {
            return String::new();
        };
        let mut text = self.engine.output_of(id, LINES).await.unwrap_or_default();
        let log_dir = Path::new("/var/log/stormbed");
        for (path, content) in self.engine.files_of(id, log_dir).await.unwrap_or_default() {
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = content.lines().collect();
            let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
            text.push_str(&format!("--- {path}\n{tail}\n"));
        }
        text
    }
}

/// The machines of the topology in a run's folder, to be started and thawed only: what a guard needs, who leaves the run's lock to
/// the runner.
///
/// # Errors
/// If the run's state can't be used, or the engine doesn't answer.
pub async fn guarded_machines(engine: &Engine, folder: &Path) -> Result<DockerMachines, TopologyError> {
    let state = State::read(folder)?;
    let containers = containers(engine, &state.id).await?;
    let secrets = host_secrets(&planned(&state)?, &Secrets::load(folder)?, &containers);
    Ok(DockerMachines::new(engine.clone(), &state.id, BTreeMap::new(), BTreeMap::new(), secrets))
}

fn planned(state: &State) -> Result<Plan, TopologyError> {
    let none = || TopologyError::NoNetwork { underlay: state.config.underlay.clone(), pool: state.config.pool.clone() };
    Plan::new(state).ok_or_else(none)
}

/// Machine → container id.
async fn containers(engine: &Engine, run: &str) -> Result<BTreeMap<String, String>, TopologyError> {
    let listed = engine.containers(LABEL_RUN, Some(run)).await?;
    Ok(listed.into_iter().filter_map(|c| Some((c.labels.get(LABEL_MACHINE)?.clone(), c.id))).collect())
}

/// What a host must be given again when it was started anew: it lay in its memory.
fn host_secrets(plan: &Plan, secrets: &Secrets, containers: &BTreeMap<String, String>) -> HostSecrets {
    let hosts = plan.of(Role::Host).filter_map(|host| containers.get(&host.name).cloned());
    HostSecrets { secrets: secrets.clone(), places: plan.cluster().secrets, hosts: hosts.collect() }
}

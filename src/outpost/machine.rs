//! The machine that an outpost runs on: which call goes where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::task::spawn_blocking;

use super::commands::Commands;
use super::faults::{Faults, Place};
use super::files::Volume;
use super::full::Disk;
use super::marks::Marks;
use super::protocol::{Call, Hello, MachineView, Reply};
use super::session::Hands;
use super::slow::SlowLinks;
use super::syncs::BadDisks;
use super::zookeeper::Ensemble;
use super::{
    bricks, containers, cut, etcd, faults, gluster, logins, logs, mesos, own_time, parts, processes, reach, routes,
    text, traces,
};

/// The inner engine's socket.
const ENGINE: &str = "/var/run/docker.sock";
/// The engine answers within milliseconds; a kill takes longest, because the network plugin has its say.
const ENGINE_MAX_S: u64 = 20;

/// The volume's client, as the supervisor calls it.
const MOUNT: &str = "mount";

/// What an outpost knows and keeps between calls.
pub struct Machine {
    hello: Hello,
    key: Arc<str>,
    engine: OnceLock<Docker>,
    http: reqwest::Client,
    etcd: Arc<etcd::Endpoints>,
    zookeeper: Ensemble,
    faults: Arc<Faults>,
    marks: Arc<Marks>,
    commands: Commands,
    links: Arc<SlowLinks>,
    disks: Arc<BadDisks>,
    /// A cut was made here: looking for cuts costs two processes, and where none was ever made there is none.
    cut: AtomicBool,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("hello", &self.hello).finish_non_exhaustive()
    }
}

impl Machine {
    /// The hands of a stream with this hello.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(hello: Hello) -> Result<Self, String> {
        Ok(Self {
            key: hello.operator_private_key.as_str().into(),
            engine: OnceLock::new(),
            http: mesos::client()?,
            etcd: Arc::default(),
            zookeeper: Ensemble::new(
                hello.zookeepers.clone(),
                hello.election_path.clone(),
                hello.schedulers_path.clone(),
            ),
            faults: Arc::default(),
            marks: Arc::default(),
            commands: Commands::default(),
            links: Arc::default(),
            disks: Arc::default(),
            cut: AtomicBool::new(false),
            hello,
        })
    }

    /// The engine of this machine; the edge has none.
    fn engine(&self) -> Result<&Docker, String> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Docker::connect_with_unix(ENGINE, ENGINE_MAX_S, API_DEFAULT_VERSION)
            .map_err(|error| format!("no engine at {ENGINE}: {}", text(error)))?;
        Ok(self.engine.get_or_init(|| engine))
    }

    async fn containers(&self) -> Result<Vec<super::protocol::ContainerView>, String> {
        containers::look(self.engine()?, &self.hello.cluster).await
    }

    /// The processes that faults can be about, and the cuts.
    async fn look(&self) -> Result<MachineView, String> {
        let cuts = match self.cut.load(Ordering::Relaxed) {
            true => self.cuts().await?,
            false => BTreeMap::new(),
        };
        let parts = parts::look().await?.into_iter();
        let nodes = match self.nested_engine() {
            Some(engine) => containers::running(engine, &self.hello.cluster).await?,
            None => BTreeMap::new(),
        };
        let volume = self.hello.volume.clone();
        let others = spawn_blocking(move || {
            let init = processes::look(1).map(|seen| ("init".to_owned(), seen));
            let brick = processes::brick(&volume).map(|seen| ("brick".to_owned(), seen));
            let of_node = |(id, init): (String, u32)| {
                let programs = processes::of_node(init).into_iter();
                programs.map(move |(name, seen)| (format!("{id}/{name}"), seen))
            };
            init.into_iter().chain(brick).chain(nodes.into_iter().flat_map(of_node)).collect::<Vec<_>>()
        });
        let seen: Vec<_> = parts.chain(others.await.map_err(text)?).collect();
        let stopped = seen.iter().filter(|(_, seen)| seen.stopped).map(|(name, _)| name.clone()).collect();
        let processes = seen.into_iter().map(|(name, seen)| (name, seen.view)).collect();
        let marks = self.marks.look(&self.etcd).await;
        Ok(MachineView { processes, stopped, cuts, marks })
    }

    /// What becomes of the packets that faults are about, by chain.
    async fn cuts(&self) -> Result<BTreeMap<String, cut::Met>, String> {
        let mut cuts = spawn_blocking(cut::look).await.map_err(text)??;
        for (chain, late) in self.links.late() {
            // Without its rules it is on its way out.
            if let Some(met) = cuts.get_mut(&chain) {
                met.late = late;
            }
        }
        Ok(cuts)
    }

    /// Undoes what an outpost before this one was killed over.
    async fn sweep(&self) -> Result<Vec<String>, String> {
        let mut swept = faults::sweep(&self.hello).await?;
        swept.extend(self.commands.sweep().await?);
        if let Some(engine) = self.nested_engine() {
            swept.extend(faults::thaw_all(engine, &self.hello.cluster).await?);
        }
        Ok(swept)
    }

    /// What faults need of this machine.
    fn place(&self) -> Place {
        let Hello { volume, cluster, zookeepers, masters, agents, .. } = &self.hello;
        let services = zookeepers.values().chain(masters.values()).chain(agents.values());
        Place {
            engine: self.engine().cloned(),
            volume: volume.clone(),
            slots: self.hello.slots.clone(),
            disk: Disk::of(&self.hello),
            etcd: Arc::clone(&self.etcd),
            marks: Arc::clone(&self.marks),
            links: Arc::clone(&self.links),
            disks: Arc::clone(&self.disks),
            zookeepers: zookeepers.values().cloned().collect(),
            cluster: cluster.clone(),
            peers: services.filter_map(|service| service.parse().ok()).collect(),
        }
    }

    /// The engine, on machines that have one of their own.
    fn nested_engine(&self) -> Option<&Docker> {
        if Path::new(ENGINE).exists() { self.engine().ok() } else { None }
    }

    /// The volume's root: this machine's mount, or a container's `/shared` by way of `/proc`.
    async fn volume(&self, container: Option<String>) -> Result<PathBuf, String> {
        let Some(id) = container else {
            return self.hello.shared_mount.clone().ok_or("this machine has no shared volume".into());
        };
        let container = containers::inspect(self.engine()?, &id).await?;
        let pid = container.as_ref().and_then(containers::pid);
        let pid = pid.ok_or_else(|| format!("container {id} isn't running"))?;
        Ok(format!("/proc/{pid}/root/shared").into())
    }
}

impl Hands for Machine {
    async fn call(&self, call: Call, within: Duration) -> Result<Reply, String> {
        match call {
            Call::Hello(_) | Call::Heartbeat => Err("answered by the session".into()),
            Call::Containers => Ok(Reply::Containers(self.containers().await?)),
            Call::Etcd { endpoints } => Ok(Reply::Etcd(self.etcd.look(endpoints).await)),
            Call::Routes => routes::look(&self.hello.pool).await.map(Reply::Routes),
            Call::Mesos => {
                let Hello { masters, agents, .. } = &self.hello;
                Ok(Reply::Mesos(mesos::look(&self.http, masters, agents).await))
            }
            Call::ZooKeeper => Ok(Reply::ZooKeeper(self.zookeeper.look().await)),
            Call::Logins { from, names } => {
                let key = Arc::clone(&self.key);
                logins::look(key, from, names, within).await.map(Reply::Logins)
            }
            Call::Reach { to } => reach::look(self.containers().await?, to).await,
            Call::Gluster => gluster::look(&self.hello.volume, own_time(within)).await.map(Reply::Gluster),
            Call::Held => {
                let serves = processes::brick(&self.hello.volume).is_some();
                let brick = self.hello.brick.clone().filter(|_| serves);
                blocking(move || brick.map(|brick| bricks::held(&brick)).transpose().map(Reply::Held)).await
            }
            Call::BrickSums { dirs } => {
                let brick = self.hello.brick.clone().ok_or("this machine has no brick")?;
                blocking(move || bricks::sums(&brick, &dirs).map(Reply::BrickSums)).await
            }
            Call::FileTraces { files } => {
                let brick = self.hello.brick.clone().ok_or("this machine has no brick")?;
                let mount = self.volume(None).await?;
                let mount_age_ms = parts::age_ms(MOUNT).await;
                in_time(within, move || {
                    let files = traces::look(&brick, &mount, &files);
                    Ok(Reply::FileTraces { files, mount_age_ms })
                })
                .await
            }
            Call::EtcdPut { endpoints, key, value } => {
                let put = self.etcd.put(&endpoints, &key, &value);
                put.await.map(|()| Reply::Done)
            }
            Call::EtcdRange { endpoints, prefix } => self.etcd.range(&endpoints, &prefix).await.map(Reply::EtcdRange),
            Call::FileWrite { path, content, container } => {
                let root = self.volume(container).await?;
                in_time(within, move || Volume::open(&root)?.write(&path, &content).map(|()| Reply::Done)).await
            }
            Call::FileReadAll { dir, container } => {
                let root = self.volume(container).await?;
                in_time(within, move || Volume::open(&root)?.read_all(&dir).map(Reply::Files)).await
            }
            Call::Machine => self.look().await.map(Reply::Machine),
            Call::Run { container, words, within_ms } => {
                let within = Duration::from_millis(within_ms);
                let ran = self.commands.run(self.nested_engine(), container.as_deref(), &words, within).await;
                ran.map(Reply::Ran)
            }
            Call::Cuts => self.cuts().await.map(Reply::Cuts),
            Call::Inject { fault, act, lease_ms } => {
                self.cut.fetch_or(act.cut().is_some(), Ordering::Relaxed);
                let lease = Duration::from_millis(lease_ms);
                self.faults.inject(self.place(), fault, act, lease).await.map(|()| Reply::Done)
            }
            Call::Undo { fault, act } => self.faults.undo(&self.place(), &fault, &act).await.map(|()| Reply::Done),
            Call::Sweep => self.sweep().await.map(Reply::Swept),
            Call::Logs { lines_max } => {
                let dir = self.hello.log_dir.clone();
                blocking(move || logs::look(&dir, lines_max).map(Reply::Logs)).await
            }
        }
    }

    async fn let_go(&self) {
        self.faults.undo_all(&self.place()).await;
        if let Err(error) = self.commands.end_all().await {
            tracing::error!(error, "a command can't be ended");
        }
    }
}

/// Work on the volume, which may hang: that it did not answer is an answer, and comes before the request's own end.
async fn in_time(
    within: Duration,
    work: impl FnOnce() -> Result<Reply, String> + Send + 'static,
) -> Result<Reply, String> {
    let bound = own_time(within);
    let late = |_| Err(format!("the volume did not answer within {} ms", bound.as_millis()));
    tokio::time::timeout(bound, blocking(work)).await.unwrap_or_else(late)
}

async fn blocking(work: impl FnOnce() -> Result<Reply, String> + Send + 'static) -> Result<Reply, String> {
    spawn_blocking(work).await.map_err(text)?
}

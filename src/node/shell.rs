//! Carries out what the core decides: starts and stops programs, asks, writes.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use super::core::member::{Action as MemberAction, Start};
use super::core::names::Write;
use super::core::{Action, Event, Setup, lead};
use super::disk::DataDir;
use super::etcd::{self, Survivors};
use super::files::NameFiles;
use super::process::{Processes, Service};
use super::session::{Events, Session};
use super::{jupyter, ssh};
use crate::clock::Clock;
use crate::config::{Bootstrap, cluster_token};
use crate::registry::{NodeRecord, SSH_PORT};

/// What the agent writes for its children alone; the container's own.
const RUN_DIR: &str = "/run/stormbed-node";
/// Jupyter saves what it is at; beyond this the next leader would wait for us.
const JUPYTER_GRACE: Duration = Duration::from_millis(500);
/// etcd hands leadership over before it goes.
const ETCD_GRACE: Duration = Duration::from_millis(1_500);
/// sshd has nothing to finish.
const SSHD_GRACE: Duration = Duration::from_millis(300);
/// sshd is asked this often whether it listens.
const SSHD_ASK: Duration = Duration::from_millis(100);
/// The lease is revoked within this time, or its TTL does it.
const REVOKE_MAX: Duration = Duration::from_millis(800);

/// Why the node stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was told to.
    Stopped,
    /// A later incarnation has its slot.
    Fenced(u64),
    /// It can't do its work.
    GaveUp(String),
}

/// The running parts of a node.
#[derive(Debug)]
pub struct Shell {
    setup: Setup,
    keys: ssh::Keys,
    clock: Clock,
    events: Events,
    processes: Processes,
    data: DataDir,
    files: NameFiles,
    survivors: Survivors,
    sshd: Service,
    etcd: Option<Service>,
    session: Option<Session>,
    jupyter: Option<Service>,
    /// It is on its way out; its successor waits for it.
    former_jupyter: Option<Service>,
}

impl Shell {
    /// Starts sshd; all else waits for the core.
    ///
    /// # Errors
    /// If ssh can't be configured.
    pub fn start(setup: Setup, keys: ssh::Keys, clock: Clock, events: Events) -> io::Result<Self> {
        keys.configure_client()?;
        let mut files = NameFiles::default();
        // The operator comes in from the first moment; the nodes know each other later.
        files.write(Write::AuthorizedKeys(format!("{}\n", setup.operator_key.trim())));
        let processes = Processes::default();
        let server = keys.clone();
        let sshd = Service::keep(&processes, "sshd", SSHD_GRACE, None, move || server.server(RUN_DIR.as_ref()));
        tokio::spawn(wait_for_sshd(setup.address, events.clone()));
        Ok(Self {
            data: DataDir(setup.config.data_dir.clone()),
            survivors: Survivors::of(&setup),
            setup,
            keys,
            clock,
            events,
            processes,
            files,
            sshd,
            etcd: None,
            session: None,
            jupyter: None,
            former_jupyter: None,
        })
    }

    /// Housekeeping of every tick. Returns what the files say that must stay as they were written.
    pub fn tick(&self) -> Event {
        self.processes.reap_orphans();
        Event::Files(self.files.look())
    }

    /// Carries out actions in their order; a verdict ends the node.
    pub async fn act(&mut self, actions: Vec<Action>) -> Option<Verdict> {
        for action in actions {
            match action {
                Action::Lead(action) => self.lead(action),
                Action::Member(action) => self.member(action).await,
                Action::Register { member } => self.register(member),
                Action::Write(write) => self.files.write(write),
                Action::StepAside(by) => return Some(Verdict::Fenced(by)),
                Action::GiveUp(why) => return Some(Verdict::GaveUp(why)),
            }
        }
        None
    }

    fn lead(&mut self, action: lead::Action) {
        match action {
            lead::Action::StopJupyter => {
                if let Some(jupyter) = self.jupyter.take() {
                    tracing::info!("Jupyter stops: not the confirmed leader any more");
                    jupyter.begin_stop();
                    self.former_jupyter = Some(jupyter);
                }
            }
            lead::Action::StartJupyter => {
                tracing::info!("Jupyter starts: this is the confirmed leader");
                let config = self.setup.config.clone();
                let make = move || jupyter::command(&config, RUN_DIR.as_ref());
                let after = self.former_jupyter.take();
                self.jupyter = Some(Service::keep(&self.processes, "jupyter", JUPYTER_GRACE, after, make));
            }
            lead::Action::Confirm => match &self.session {
                Some(session) => session.confirm(),
                None => self.tell(async { Event::Unconfirmed }),
            },
            lead::Action::Publish(record) => {
                if let Some(session) = &self.session {
                    session.publish(record);
                }
            }
        }
    }

    async fn member(&mut self, action: MemberAction) {
        let survivors = self.survivors.clone();
        match action {
            MemberAction::Inspect => self.look(|data| data.inspect()),
            MemberAction::Wipe => {
                tracing::warn!("this slot's etcd data is of no use to the cluster any more: wiping it");
                self.look(|data| data.wipe().and_then(|()| data.inspect()));
            }
            MemberAction::Survey => self.tell(async move { survivors.survey().await }),
            MemberAction::Join { remove } => self.tell(async move {
                let answer = survivors.join(&remove).await;
                if let Event::Joined(Err(why)) = &answer {
                    tracing::warn!("cannot join yet: {why}");
                }
                answer
            }),
            MemberAction::Promote { member } => self.tell(async move {
                let promoted = survivors.promote(member).await;
                tracing::info!("promotion of this learner: {promoted:?}");
                Event::Promoted(promoted)
            }),
            MemberAction::Remember { member } => drop(self.remember(Some(member))),
            MemberAction::Start(start) => self.start_etcd(&start).await,
        }
    }

    /// Looks at the data directory off the main loop: wiping takes time.
    fn look(&self, look: impl FnOnce(&DataDir) -> io::Result<super::core::member::Disk> + Send + 'static) {
        let data = self.data.clone();
        self.tell(async move {
            let done = tokio::task::spawn_blocking(move || look(&data)).await;
            match done.map_err(io::Error::other).flatten() {
                Ok(disk) => Event::Disk(disk),
                Err(error) => {
                    tracing::error!("the data directory can't be used: {error}; looking again after a pause");
                    Event::DiskFailed
                }
            }
        });
    }

    /// Writes down whose data lies here, or will.
    fn remember(&self, member: Option<u64>) -> io::Result<()> {
        let (Bootstrap::Forming { generation } | Bootstrap::Formed { generation }) = self.setup.config.bootstrap;
        let token = cluster_token(&self.setup.config.cluster, generation);
        let written = self.data.remember(&token, member);
        written.inspect_err(|error| tracing::error!("cannot write down whose etcd data this is: {error}"))
    }

    async fn start_etcd(&mut self, start: &Start) {
        tracing::info!("etcd starts: {start:?}");
        // Data of nobody's would be wiped one day: no name, no data. The core looks again after a pause.
        if *start != Start::Own && self.remember(None).is_err() {
            self.tell(async { Event::EtcdExited });
            return;
        }
        let command = etcd::command(&self.setup, &self.data, start);
        let events = self.events.clone();
        let ended = move || drop(tokio::spawn(async move { events.send(Event::EtcdExited).await }));
        self.etcd = Some(Service::once(&self.processes, "etcd", ETCD_GRACE, command, ended));
        let session = Session::begin(&self.setup.config.cluster, self.clock, self.events.clone()).await;
        self.session = session.inspect_err(|e| tracing::error!("no client of the local etcd: {e}")).ok();
    }

    fn register(&mut self, member: u64) {
        let record = NodeRecord {
            slot: self.setup.config.slot,
            incarnation: self.setup.config.incarnation,
            address: self.setup.address,
            member_id: format!("{member:x}"),
            host_key: self.keys.host.clone(),
            user_key: self.keys.user.clone(),
        };
        match &mut self.session {
            Some(session) => session.register(record, self.setup.config.lease_ttl_s),
            None => self.tell(async { Event::RegistrationLost }),
        }
    }

    fn tell(&self, event: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move { events.send(event.await).await });
    }

    /// Stops everything in under 3 s: Jupyter first, and at the same time the lease goes, so that the others know at once;
    /// then etcd and sshd; a replaced incarnation drops its address too.
    pub async fn stop(self, verdict: &Verdict) {
        if let Some(jupyter) = &self.jupyter {
            jupyter.begin_stop();
        }
        if let Some(session) = self.session {
            let _ = tokio::time::timeout(REVOKE_MAX, session.end()).await;
        }
        for service in [self.jupyter, self.former_jupyter].into_iter().flatten() {
            service.stopped().await;
        }
        self.sshd.begin_stop();
        if let Some(etcd) = self.etcd {
            etcd.stopped().await;
        }
        self.sshd.stopped().await;
        if matches!(verdict, Verdict::Fenced(_)) {
            drop_address(self.setup.address).await;
        }
    }
}

async fn drop_address(address: Ipv4Addr) {
    let mut command = Command::new("ip");
    command.args(["-4", "address", "flush", "to"]).arg(format!("{address}/32"));
    match command.status().await {
        Ok(status) if status.success() => tracing::info!("dropped {address}"),
        other => tracing::error!("could not drop the address {address}: {other:?}"),
    }
}

async fn wait_for_sshd(address: Ipv4Addr, events: Events) {
    while TcpStream::connect((address, SSH_PORT)).await.is_err() {
        tokio::time::sleep(SSHD_ASK).await;
    }
    let _ = events.send(Event::Ssh(true)).await;
}

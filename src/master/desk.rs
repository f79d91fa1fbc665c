//! The core at work. One event after the other goes through it, under one lock, together with everything that it causes:
//! so streams see things in the order in which they were decided. The registry is written beside that, in a task of its own:
//! while ZooKeeper hesitates, only what depends on the write waits.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{Mutex, Notify, mpsc, watch};

use super::core::model::Registry;
use super::core::{Action, Event, Master, Refusal, Settings};
use super::registry::{RegistryError, RegistryStore};
use crate::clock::Clock;
use crate::mesos::recordio::encode;
use crate::mesos::types::MasterInfo;

/// Records that may wait for a slow reader. One that is further behind has stopped reading; its stream ends.
const QUEUE_RECORDS_MAX: usize = 4096;

/// A master's state and streams.
#[derive(Debug)]
pub struct Desk {
    settings: Settings,
    info: MasterInfo,
    leader: watch::Receiver<Option<MasterInfo>>,
    clock: Clock,
    work: Mutex<Work>,
    /// A registry has become durable, or this master has ceased to lead.
    saved: Notify,
}

#[derive(Debug, Default)]
struct Work {
    /// Only while this master leads.
    master: Option<Master>,
    /// To the task that writes registries; without it (in tests) they count as durable at once.
    registries: Option<mpsc::UnboundedSender<Registry>>,
    /// Why the registry can't be kept any more.
    failure: Option<RegistryError>,
    streams: BTreeMap<String, mpsc::Sender<Bytes>>,
}

/// Where a request has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// Here.
    Here,
    /// To the leader at this `host:port`.
    Elsewhere(String),
    /// Nowhere, for now: the reason.
    Nowhere(&'static str),
}

impl Desk {
    /// A master that doesn't lead yet. `leader` is who leads as far as ZooKeeper tells.
    #[must_use]
    pub fn new(
        settings: Settings,
        info: MasterInfo,
        leader: watch::Receiver<Option<MasterInfo>>,
        clock: Clock,
    ) -> Self {
        Self { settings, info, leader, clock, work: Mutex::default(), saved: Notify::new() }
    }

    /// Begins to lead with what the registry knows.
    pub async fn lead(self: &Arc<Self>, store: Option<RegistryStore>, known: Registry) {
        let now = self.clock.now();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let wall_at_zero_ms = wall_ms.saturating_sub(now.0);
        let (settings, info) = (self.settings.clone(), self.info.clone());
        let mut work = self.work.lock().await;
        work.master = Some(Master::new(settings, info, known, now, wall_at_zero_ms));
        if let Some(store) = store {
            // Unbounded, yet the core never has more than one under way.
            let (registries, unsaved) = mpsc::unbounded_channel();
            work.registries = Some(registries);
            tokio::spawn(self.clone().keep(store, unsaved));
        }
    }

    /// Makes one registry after the other durable, until one can't be.
    async fn keep(self: Arc<Self>, mut store: RegistryStore, mut unsaved: mpsc::UnboundedReceiver<Registry>) {
        while let Some(registry) = unsaved.recv().await {
            let Err(error) = store.save(&registry).await else {
                self.on(Event::RegistrySaved).await;
                self.saved.notify_waiters();
                continue;
            };
            // Nothing more may be said in the name of the leader.
            let mut work = self.work.lock().await;
            work.master = None;
            work.streams.clear();
            work.failure = Some(error);
            self.saved.notify_waiters();
        }
    }

    /// Why the registry can't be kept; this master has ceased to lead, then, and must end.
    pub async fn failure(&self) -> Option<RegistryError> {
        self.work.lock().await.failure.take()
    }

    /// Whether requests are for us.
    pub async fn leadership(&self) -> Leadership {
        if self.work.lock().await.master.is_some() {
            return Leadership::Here;
        }
        match &*self.leader.borrow() {
            None => Leadership::Nowhere("No leader elected"),
            Some(leader) if leader.id == self.info.id => Leadership::Nowhere("Master has not finished recovery"),
            Some(leader) => Leadership::Elsewhere(leader.redirect_authority()),
        }
    }

    /// `host:port` of the leader, ourselves included, as ZooKeeper tells.
    #[must_use]
    pub fn leader_authority(&self) -> Option<String> {
        self.leader.borrow().as_ref().map(MasterInfo::redirect_authority)
    }

    /// Lets the core take an event; does what it says. Nothing happens while this master doesn't lead.
    pub async fn on(&self, event: Event) {
        self.take(&mut *self.work.lock().await, event);
    }

    /// As [`Desk::on`], if `check` lets it in; check and event are one step.
    ///
    /// # Errors
    /// What `check` says.
    pub async fn on_admitted(
        &self,
        event: Event,
        check: impl FnOnce(&Master) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut work = self.work.lock().await;
        work.master.as_ref().ok_or_else(not_leading).and_then(check)?;
        self.take(&mut work, event);
        Ok(())
    }

    /// Waits until every change of the registry that is decided by now is durable and has had its effect.
    ///
    /// # Errors
    /// If this master ceases to lead before.
    pub async fn registry_settled(&self) -> Result<(), Refusal> {
        let changes = async || self.look(|master, _| master.registry_changes()).await.ok_or_else(not_leading);
        let (decided, mut done) = changes().await?;
        while done < decided {
            let saved = self.saved.notified();
            (_, done) = changes().await?;
            if done < decided {
                saved.await;
            }
        }
        Ok(())
    }

    /// Opens a stream, whose id goes into the event; returns id and body.
    ///
    /// # Errors
    /// If this master doesn't lead (any more).
    pub async fn open(
        self: &Arc<Self>,
        event: impl FnOnce(String) -> Event,
        closed: fn(String) -> Event,
    ) -> Result<(String, Body), Refusal> {
        let id = uuid::Uuid::new_v4().to_string();
        let (sender, receiver) = mpsc::channel(QUEUE_RECORDS_MAX);
        let mut work = self.work.lock().await;
        if work.master.is_none() {
            return Err(not_leading());
        }
        work.streams.insert(id.clone(), sender);
        self.take(&mut work, event(id.clone()));
        let hangup = Hangup { desk: self.clone(), stream: id.clone(), closed };
        let records = stream::unfold((receiver, hangup), |(mut receiver, hangup)| async move {
            let record = receiver.recv().await?;
            Some((Ok::<_, Infallible>(record), (receiver, hangup)))
        });
        Ok((id, Body::from_stream(records)))
    }

    /// Shows the core to `view`, with the time; none while this master doesn't lead.
    pub async fn look<T>(&self, view: impl FnOnce(&Master, crate::clock::Millis) -> T) -> Option<T> {
        let work = self.work.lock().await;
        work.master.as_ref().map(|master| view(master, self.clock.now()))
    }

    fn take(&self, work: &mut Work, event: Event) {
        let mut events = VecDeque::from([event]);
        while let (Some(event), Some(master)) = (events.pop_front(), &mut work.master) {
            for action in master.on(self.clock.now(), event) {
                match action {
                    Action::ToScheduler(stream, event) => work.send(&stream, &event),
                    Action::ToAgent(stream, message) => work.send(&stream, &message),
                    Action::CloseScheduler(stream) | Action::CloseAgent(stream) => {
                        work.streams.remove(&stream);
                    }
                    Action::SaveRegistry(registry) => match &work.registries {
                        // Its receiver is gone only when this master has ceased to lead.
                        Some(registries) => _ = registries.send(registry),
                        None => events.push_back(Event::RegistrySaved),
                    },
                }
            }
        }
    }
}

impl Work {
    fn send(&mut self, stream: &str, record: &impl Serialize) {
        let Some(sender) = self.streams.get(stream) else {
            return;
        };
        let json = serde_json::to_vec(record).expect("messages are plain data with text keys");
        if sender.try_send(encode(&json)).is_err() {
            tracing::warn!(stream, "a stream's reader is gone or doesn't read; the stream ends");
            self.streams.remove(stream);
        }
    }
}

/// Tells the core when a stream's body is dropped, whoever ended it.
struct Hangup {
    desk: Arc<Desk>,
    stream: String,
    closed: fn(String) -> Event,
}

impl Drop for Hangup {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and with it the master.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (stream, closed) = (std::mem::take(&mut self.stream), self.closed);
        let desk = self.desk.clone();
        runtime.spawn(async move {
            desk.work.lock().await.streams.remove(&stream);
            desk.on(closed(stream)).await;
        });
    }
}

fn not_leading() -> Refusal {
    Refusal { status: 503, body: "No leader elected".to_owned() }
}

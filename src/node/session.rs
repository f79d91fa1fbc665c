//! What goes on while the local etcd runs: its status is asked, the registry is followed, the registration is held.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::core::Event;
use super::etcd;
use crate::clock::Clock;
use crate::registry::NodeRecord;
use crate::registry::store::{Store, StoreError, bounded, client_url, connect};

/// The status is asked this often: leadership is noticed within it.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// The registry is followed again after this pause when the stream broke.
const FOLLOW_AGAIN: Duration = Duration::from_millis(200);
/// A lease is kept alive this many times per TTL.
const KEEP_ALIVES_PER_TTL: u32 = 3;

/// Where events go; full only if the agent hangs, and then the senders may wait.
pub type Events = mpsc::Sender<Event>;

/// The tasks around one run of the local member. Dropping it ends them.
#[derive(Debug)]
pub struct Session {
    store: Store,
    cluster: String,
    clock: Clock,
    events: Events,
    // Held for its drop.
    _tasks: JoinSet<()>,
    registration: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Session {
    /// Begins to ask and to follow.
    ///
    /// # Errors
    /// If the client can't be made.
    pub async fn begin(cluster: &str, clock: Clock, events: Events) -> Result<Self, StoreError> {
        let client = connect(&[client_url(Ipv4Addr::LOCALHOST)]).await?;
        let store = Store::new(client, cluster);
        let mut tasks = JoinSet::new();
        spawn(&mut tasks, ask_status(store.clone(), events.clone()));
        spawn(&mut tasks, follow(store.clone(), events.clone()));
        Ok(Self { store, cluster: cluster.to_owned(), clock, events, _tasks: tasks, registration: None })
    }

    /// Asks the local member to confirm that it leads.
    pub fn confirm(&self) {
        let asked = self.clock.now();
        let (client, cluster, events) = (self.store.client(), self.cluster.clone(), self.events.clone());
        tokio::spawn(async move {
            let term = etcd::confirm(&client, &cluster).await;
            let event = term.map_or(Event::Unconfirmed, |term| Event::Confirmed { asked, term });
            let _ = events.send(event).await;
        });
    }

    /// Publishes the leader record.
    pub fn publish(&self, record: crate::registry::LeaderRecord) {
        let (store, events) = (self.store.clone(), self.events.clone());
        tokio::spawn(async move {
            match store.publish_leader(&record).await {
                Ok(stands) => tracing::info!("leader record of term {}: {stands}", record.term),
                Err(StoreError::Fenced { seen, .. }) => drop(events.send(Event::Fenced(seen)).await),
                Err(error) => tracing::warn!("the leader record was not written: {error}"),
            }
        });
    }

    /// Registers under a fresh lease and keeps it alive, in place of a former registration.
    pub fn register(&mut self, record: NodeRecord, ttl_s: i64) {
        if let Some((_, former)) = self.registration.take() {
            former.abort();
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(hold(self.store.clone(), record, ttl_s, self.events.clone(), stop.clone()));
        self.registration = Some((stop, task));
    }

    /// Revokes the lease, so that the others see at once that this node is gone. Bounded by one call.
    pub async fn end(mut self) {
        if let Some((stop, task)) = self.registration.take() {
            stop.cancel();
            let _ = task.await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((_, task)) = self.registration.take() {
            task.abort();
        }
    }
}

fn spawn(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    let _: AbortHandle = tasks.spawn(task);
}

async fn ask_status(store: Store, events: Events) {
    let client = store.client();
    let mut every = tokio::time::interval(STATUS_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if events.send(Event::Local(etcd::status(&client).await.ok())).await.is_err() {
            return;
        }
    }
}

async fn follow(store: Store, events: Events) {
    let (states, mut seen) = tokio::sync::watch::channel(None);
    let forward = async {
        while seen.changed().await.is_ok() {
            let state = seen.borrow_and_update().clone();
            let Some(state) = state else { continue };
            if events.send(Event::Registry(state)).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        loop {
            let broke = store.follow(|state| drop(states.send(Some(state.clone())))).await;
            tracing::debug!("the registry is read anew: {broke}");
            tokio::time::sleep(FOLLOW_AGAIN).await;
        }
    };
    tokio::select! {
        () = forward => {}
        () = read => {}
    }
}

async fn hold(store: Store, record: NodeRecord, ttl_s: i64, events: Events, stop: CancellationToken) {
    let event = match keep(&store, &record, ttl_s, &events, &stop).await {
        Ok(()) => return,
        Err(StoreError::Fenced { seen, .. }) => Event::Fenced(seen),
        Err(error) => {
            tracing::warn!("the registration doesn't stand: {error}");
            Event::RegistrationLost
        }
    };
    let _ = events.send(event).await;
}

/// Registers, and returns when told to stop, with the lease revoked.
async fn keep(
    store: &Store,
    record: &NodeRecord,
    ttl_s: i64,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut leases = store.client().lease_client();
    let lease = bounded(leases.grant(ttl_s, None)).await?.id();
    let revision = store.register(record, lease).await?;
    let _ = events.send(Event::Registered { revision }).await;
    let (mut keeper, mut answers) = bounded(leases.keep_alive(lease)).await?;
    let pause = Duration::from_secs(ttl_s.unsigned_abs()) / KEEP_ALIVES_PER_TTL;
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        bounded(keeper.keep_alive()).await?;
        let answer = bounded(answers.message()).await?;
        if answer.is_none_or(|answer| answer.ttl() <= 0) {
            return Err(StoreError::Interrupted("the lease is gone".into()));
        }
    }
    bounded(leases.revoke(lease)).await?;
    Ok(())
}

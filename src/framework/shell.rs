//! Around the core: feeds it events, carries out its actions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::FrameworkError;
use super::calls;
use super::core::messages::{Action, Event};
use super::core::state::State;
use super::core::{Core, Settings, TICK_MS};
use super::etcd;
use super::store::{Store, StoreError};
use crate::clock::Clock;
use crate::config::{FrameworkConfig, Slot};
use crate::mesos::scheduler::{Calls, Signal};
use crate::mesos::types::FrameworkId;
use crate::registry::Keys;

/// Answers of our own tasks that may wait: one write, one probe, one census.
const ANSWERS: usize = 8;

/// The leading scheduler at work.
pub(super) struct Shell {
    config: FrameworkConfig,
    addresses: BTreeMap<Slot, Ipv4Addr>,
    keys: Keys,
    clock: Clock,
    core: Core,
    calls: Option<(FrameworkId, Calls)>,
    /// The newest state to write; those in between need not be written.
    unwritten: watch::Sender<(u64, State)>,
    answers: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
}

/// Runs until it must stop.
pub(super) async fn run(
    config: FrameworkConfig,
    addresses: BTreeMap<Slot, Ipv4Addr>,
    (store, state): (Store, State),
    mut signals: mpsc::Receiver<Signal>,
) -> FrameworkError {
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    let (unwritten, to_write) = watch::channel((0, state.clone()));
    let mut writer = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(write(store, to_write, answers.clone())));
    let mut shell = Shell {
        keys: Keys::of(&config.cluster.name),
        core: Core::new(settings(&config), state),
        config,
        addresses,
        clock: Clock::start(),
        calls: None,
        unwritten,
        answers,
        tasks: JoinSet::new(),
    };
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let event = tokio::select! {
            biased;
            end = &mut writer => return end.map_or(FrameworkError::Writer, FrameworkError::Store),
            Some(event) = answered.recv() => event,
            Some(signal) = signals.recv() => match shell.signal(signal) {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(end) => return end,
            },
            _ = tick.tick() => Event::Tick,
        };
        while shell.tasks.try_join_next().is_some() {}
        shell.tell(event).await;
    }
}

fn settings(config: &FrameworkConfig) -> Settings {
    Settings {
        cluster: config.cluster.name.clone(),
        cpus: config.cluster.cpus,
        mem_mb: config.cluster.mem_mb,
        home_patience: Duration::from_millis(config.home_patience_ms),
        reconcile_interval: Duration::from_millis(config.reconcile_interval_ms),
    }
}

/// Writes the newest state whenever there is a newer one; returns why it can't any more.
async fn write(
    mut store: Store,
    mut to_write: watch::Receiver<(u64, State)>,
    answers: mpsc::Sender<Event>,
) -> StoreError {
    while to_write.changed().await.is_ok() {
        let (sequence, state) = to_write.borrow_and_update().clone();
        if let Err(error) = store.write(&state).await {
            return error;
        }
        let _ = answers.send(Event::Persisted(sequence)).await;
    }
    std::future::pending().await
}

impl Shell {
    fn signal(&mut self, signal: Signal) -> Result<Option<Event>, FrameworkError> {
        Ok(match signal {
            Signal::Subscribed { subscribed, calls } => {
                let id = subscribed.framework_id;
                tracing::info!(framework = %id, "subscribed");
                let framework_id = id.value.clone();
                self.calls = Some((id, calls));
                Some(Event::Subscribed { framework_id })
            }
            Signal::Event(event) => calls::event(event, &self.config.role),
            Signal::Disconnected(why) => {
                tracing::warn!(%why, "disconnected from Mesos");
                self.calls = None;
                Some(Event::Disconnected)
            }
            Signal::Ended(error) => return Err(error.into()),
        })
    }

    async fn tell(&mut self, event: Event) {
        if !matches!(event, Event::Tick) {
            tracing::debug!(?event, "event");
        }
        for action in self.core.on(self.clock.now(), event) {
            self.act(action).await;
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Persist { sequence, state } => {
                self.unwritten.send_replace((sequence, state));
            }
            Action::Withdraw { slot, incarnation } => {
                let (keys, addresses) = (self.keys.clone(), self.addresses.clone());
                let bound = Duration::from_secs(self.config.cluster.lease_ttl_s.unsigned_abs());
                self.tasks.spawn(async move {
                    etcd::withdraw(&keys, &addresses, slot, incarnation, bound).await;
                });
            }
            Action::Probe { generation } => {
                let (addresses, answers) = (self.addresses.clone(), self.answers.clone());
                self.tasks.spawn(async move {
                    let healthy = etcd::has_formed(&addresses).await;
                    let probed = Event::Probed { generation, healthy };
                    let _ = answers.send(probed).await;
                });
            }
            Action::Census => {
                let (keys, addresses, answers) = (self.keys.clone(), self.addresses.clone(), self.answers.clone());
                self.tasks.spawn(async move {
                    let registered = etcd::census(&keys, &addresses).await;
                    let _ = answers.send(Event::Census(registered)).await;
                });
            }
            said => self.say(said).await,
        }
    }

    /// Says it to Mesos. Without a subscription it is void: the next one begins with a reconciliation.
    async fn say(&mut self, action: Action) {
        tracing::info!(?action, "to Mesos");
        if let Action::Launch { offer, tasks } = &action {
            for task in tasks.iter().filter(|task| task.data_lost) {
                tracing::warn!(slot = task.slot, incarnation = task.incarnation, to = offer.hostname, "slot moves");
            }
        }
        if let Some((framework, calls)) = &self.calls
            && let Some(call) = calls::call(&self.config, &self.addresses, framework.clone(), action)
        {
            calls.send(call).await;
        }
    }
}

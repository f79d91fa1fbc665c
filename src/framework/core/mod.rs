//! The framework's decisions: a pure state machine.
//!
//! * [`state`]: what is durable; [`messages`]: what the core hears and wants done.
//! * `launch`: offers; `update`: what becomes of tasks; `moves`: slots that need another home; `placement`, `reconciliation`:
//!   one rule each.
//!
//! # Written before done
//! Whatever changes the state ends its turn with [`Action::Persist`]; whatever may happen only because of it (a launch, an
//! acknowledgement, a kill, a withdrawal) waits in `waiting` until that state is durable:
//!
//! ```text
//! Event ─► on ─► Persist(7) …  Event::Persisted(7) ─► Launch, Acknowledge, …
//! ```

mod launch;
pub mod messages;
mod moves;
mod placement;
mod reconciliation;
pub mod state;
#[cfg(test)]
mod tests;
mod update;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::messages::{Action, Event, Offer};
use self::moves::Moves;
use self::placement::Placement;
use self::reconciliation::Reconciliation;
use self::state::{Stage, State, task_id};
use self::update::Retry;
use crate::clock::Millis;
use crate::config::{Bootstrap, Slot};

/// Time between two [`Event::Tick`]s: also how often a forming cluster is looked at.
pub const TICK_MS: u64 = 250;

/// What the core has to know of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// CPUs per node.
    pub cpus: f64,
    /// Memory per node.
    pub mem_mb: f64,
    /// How long a slot waits for its home.
    pub home_patience: Duration,
    /// Time between full reconciliations.
    pub reconcile_interval: Duration,
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    state: State,

    /// This turn's actions, those that wait for the state, and whether it changed.
    out: Vec<Action>,
    after: Vec<Action>,
    dirty: bool,

    /// Numbers of the newest and of the newest durable state, and what waits for which.
    sequence: u64,
    durable: u64,
    waiting: VecDeque<(u64, Vec<Action>)>,

    connected: bool,
    offers: BTreeMap<String, Offer>,
    /// Offers whose launch waits for its state, with the slots to launch.
    leaving: BTreeMap<String, Vec<Slot>>,
    /// When offers were last asked for; none while suppressed.
    revived: Option<Millis>,
    placement: Placement,
    moves: Moves,
    reconciliation: Reconciliation,
    retries: BTreeMap<Slot, Retry>,
    probing: bool,
}

impl Core {
    /// Goes on from a durable state.
    #[must_use]
    pub fn new(settings: Settings, state: State) -> Self {
        Self {
            settings,
            state,
            out: Vec::new(),
            after: Vec::new(),
            dirty: false,
            sequence: 0,
            durable: 0,
            waiting: VecDeque::new(),
            connected: false,
            offers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            revived: None,
            placement: Placement::default(),
            moves: Moves::default(),
            reconciliation: Reconciliation::default(),
            retries: BTreeMap::new(),
            probing: false,
        }
    }

    /// The newest state, durable or not.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes an event; says what to do, in order.
    #[must_use]
    pub fn on(&mut self, now: Millis, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => self.tick(now),
            Event::Subscribed { framework_id } => self.subscribed(now, framework_id),
            Event::Disconnected => self.disconnected(),
            Event::Offers(offers) => self.offered(now, offers),
            Event::Rescind(offer) => self.rescinded(&offer),
            Event::Update(update) => self.updated(now, update),
            Event::AgentLost(agent) => self.agent_lost(now, &agent),
            Event::Persisted(sequence) => self.persisted(sequence),
            Event::Probed { generation, healthy } => self.probed(generation, healthy),
            Event::Census(registered) => self.counted(registered),
        }
        if self.connected {
            self.use_offers(now);
            self.seek_offers(now);
            self.reconcile(now);
        }
        self.moves.forget_census();
        self.finish()
    }

    fn tick(&mut self, now: Millis) {
        if self.connected && self.reconciliation.is_full_due(now) {
            self.reconcile_all(now);
        }
        if self.state.is_forming() && self.all_run() && !self.probing {
            self.probing = true;
            self.out.push(Action::Probe { generation: self.state.generation() });
        }
        self.take_census(now);
    }

    fn subscribed(&mut self, now: Millis, framework_id: String) {
        self.drop_connection();
        self.connected = true;
        self.revived = Some(now);
        if self.state.framework_id.as_ref() != Some(&framework_id) {
            self.state.framework_id = Some(framework_id);
            self.dirty = true;
        }
        self.reconcile_all(now);
    }

    fn disconnected(&mut self) {
        self.drop_connection();
        self.connected = false;
    }

    /// Forgets what was bound to the subscription. Acknowledgements too: agents send again what isn't acknowledged.
    fn drop_connection(&mut self) {
        self.offers.clear();
        self.moves.disconnected();
        self.reconciliation.disconnected();
        for slots in std::mem::take(&mut self.leaving).into_values() {
            self.unplan(&slots);
        }
        for (_, actions) in &mut self.waiting {
            actions.retain(|action| matches!(action, Action::Withdraw { .. }));
        }
    }

    fn persisted(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence);
        while let Some((_, actions)) = self.waiting.pop_front_if(|(s, _)| *s <= sequence) {
            for action in actions {
                if let Action::Launch { offer, .. } = &action
                    && self.leaving.remove(&offer.id).is_none()
                {
                    continue;
                }
                self.out.push(action);
            }
        }
    }

    fn probed(&mut self, generation: u64, healthy: bool) {
        self.probing = false;
        if healthy && self.state.bootstrap == (Bootstrap::Forming { generation }) && self.all_run() {
            self.state.bootstrap = Bootstrap::Formed { generation };
            self.dirty = true;
        }
    }

    /// Whether every slot runs, in the current generation.
    fn all_run(&self) -> bool {
        self.state.slots.values().all(|slot| {
            slot.task.as_ref().is_some_and(|task| task.stage == Stage::Running && !self.state.is_abandoned(task))
        })
    }

    fn reconcile_all(&mut self, now: Millis) {
        let live = self.state.slots.iter().filter(|(_, s)| s.task.is_some());
        let interval = self.settings.reconcile_interval;
        self.reconciliation.ask_all(now, interval, live.map(|(slot, _)| *slot));
        self.after.push(Action::Reconcile(Vec::new()));
    }

    fn reconcile(&mut self, now: Millis) {
        let mut tasks = Vec::new();
        for slot in self.reconciliation.due(now) {
            match &self.state.slots[&slot].task {
                Some(task) if !self.is_leaving(slot) => {
                    let id = task_id(&self.settings.cluster, slot, task.incarnation);
                    tasks.push((id, task.agent.clone()));
                }
                _ => self.reconciliation.heard(slot),
            }
        }
        if !tasks.is_empty() {
            self.after.push(Action::Reconcile(tasks));
        }
    }

    fn is_leaving(&self, slot: Slot) -> bool {
        self.leaving.values().any(|slots| slots.contains(&slot))
    }

    /// Ends a turn: numbers a changed state, and holds back what must wait for it.
    fn finish(&mut self) -> Vec<Action> {
        if std::mem::take(&mut self.dirty) {
            self.sequence += 1;
            self.out.push(Action::Persist { sequence: self.sequence, state: self.state.clone() });
        }
        let after = std::mem::take(&mut self.after);
        if self.durable == self.sequence {
            self.out.extend(after);
        } else if !after.is_empty() {
            self.waiting.push_back((self.sequence, after));
        }
        std::mem::take(&mut self.out)
    }
}

//! Offers: which to use for what, which to decline, when to ask for more.
//!
//! Nothing to launch: offers are suppressed, so that nobody else starves. Something to launch: REVIVE, which clears every
//! filter, brings an offer at once; waiting for a filter of five seconds to end would be most of a recovery.

use super::Core;
use super::messages::{Action, Launch, Offer};
use super::state::{Stage, Task};
use crate::clock::Millis;
use crate::config::Slot;

/// Offers that aren't needed are refused for this long; every REVIVE ends it.
const REFUSE_S: f64 = 3_600.0;
/// An offer from a slot's home that is too small is refused for one allocation interval: the rest comes free meanwhile.
const REFUSE_SMALL_S: f64 = 1.0;
/// While something is wanted and nothing comes, it is asked for again: a REVIVE is lost with a connection.
const REVIVE_AGAIN_MS: u64 = 5_000;
/// Mesos counts scalars in thousandths.
const SCALAR_PRECISION: f64 = 0.000_5;

impl Core {
    pub(super) fn offered(&mut self, now: Millis, offers: Vec<Offer>) {
        for offer in offers {
            self.agent_offers(now, &offer);
            self.offers.insert(offer.id.clone(), offer);
        }
    }

    /// An agent that offers knows what runs on it. The same agent is asked about tasks that were unreachable; another agent
    /// on that host has replaced it, and killed what ran there. What nobody could answer before can be answered now.
    fn agent_offers(&mut self, now: Millis, offer: &Offer) {
        let mut replaced = Vec::new();
        for (slot, record) in &self.state.slots {
            let Some(task) = &record.task else { continue };
            if record.home.as_ref() != Some(&offer.hostname) {
                continue;
            }
            self.reconciliation.answerable(now, *slot);
            if task.stage != Stage::Unreachable {
                continue;
            }
            if task.agent == offer.agent {
                self.reconciliation.ask(now, *slot);
            } else {
                replaced.push(*slot);
            }
        }
        for slot in replaced {
            self.lost(now, slot, true);
        }
    }

    pub(super) fn rescinded(&mut self, offer: &str) {
        self.offers.remove(offer);
        if let Some(slots) = self.leaving.remove(offer) {
            self.unplan(&slots);
        }
    }

    /// Launches that haven't left will not leave. Their incarnations stay used.
    pub(super) fn unplan(&mut self, slots: &[Slot]) {
        for slot in slots {
            if let Some(record) = self.state.slots.get_mut(slot) {
                record.task = None;
                self.dirty = true;
            }
        }
    }

    /// Launches what fits; declines what isn't needed.
    pub(super) fn use_offers(&mut self, now: Millis) {
        self.place(now);
        let displaced = self.is_any_displaced(now);
        for (id, offer) in std::mem::take(&mut self.offers) {
            let idle = self.idle_at(&offer.hostname);
            let capacity = self.capacity(&offer);
            let mut ready = idle.clone();
            ready.retain(|slot| self.is_due(now, *slot));
            ready.truncate(capacity);
            if !ready.is_empty() {
                self.plan(offer, ready);
            } else if capacity > 0 && (displaced || !idle.is_empty()) {
                self.offers.insert(id, offer);
            } else {
                let small = !idle.is_empty();
                let refuse_s = if small { REFUSE_SMALL_S } else { REFUSE_S };
                let offer = id;
                self.out.push(Action::Decline { offer, refuse_s });
            }
        }
    }

    /// Slots at home here that nothing runs for.
    fn idle_at(&self, host: &str) -> Vec<Slot> {
        let here =
            self.state.slots.iter().filter(|(_, slot)| slot.task.is_none() && slot.home.as_deref() == Some(host));
        here.map(|(slot, _)| *slot).collect()
    }

    /// How many nodes an offer holds.
    pub(super) fn capacity(&self, offer: &Offer) -> usize {
        let fits = |nodes: &usize| {
            let nodes = *nodes as f64;
            nodes * self.settings.cpus <= offer.cpus + SCALAR_PRECISION
                && nodes * self.settings.mem_mb <= offer.mem_mb + SCALAR_PRECISION
        };
        (1..=self.state.slots.len()).take_while(fits).count()
    }

    fn plan(&mut self, offer: Offer, slots: Vec<Slot>) {
        let (generation, bootstrap) = (self.state.generation(), self.state.bootstrap.clone());
        let mut tasks = Vec::new();
        for slot in &slots {
            let Some(record) = self.state.slots.get_mut(slot) else {
                continue;
            };
            record.incarnation += 1;
            record.task = Some(Task {
                incarnation: record.incarnation,
                agent: offer.agent.clone(),
                generation,
                stage: Stage::Staged,
            });
            tasks.push(Launch {
                slot: *slot,
                incarnation: record.incarnation,
                bootstrap: bootstrap.clone(),
                data_lost: record.data_lost,
            });
        }
        self.dirty = true;
        self.leaving.insert(offer.id.clone(), slots);
        self.after.push(Action::Launch { offer, tasks });
    }

    /// Asks for offers while there is something to launch, or a task of which nobody knows.
    pub(super) fn seek_offers(&mut self, now: Millis) {
        let wanted = self.state.slots.values().any(|slot| slot.task.is_none()) || self.is_any_displaced(now);
        match self.revived {
            None if wanted => {
                self.revived = Some(now);
                self.out.push(Action::Revive);
            }
            Some(then) if wanted && now.since(then).as_millis() >= REVIVE_AGAIN_MS.into() => {
                self.revived = Some(now);
                self.out.push(Action::Revive);
            }
            Some(_) if !wanted => {
                self.revived = None;
                self.out.push(Action::Suppress);
            }
            _ => {}
        }
    }
}

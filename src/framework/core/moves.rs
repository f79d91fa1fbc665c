//! Slots that must find another home.
//!
//! A home is lost when its agent can't be reached or is gone, or when we have waited in vain for a sign of it: for an offer if the
//! slot has no task, else for an answer about its task. (A master that has just been elected is silent about the tasks of agents
//! that are still to come back, and waits ten minutes for them; a host that died with the former master is among those.) While the cluster forms there is no data to lose: the slot is placed anew, in the next generation.
//!
//! Once it has formed, giving up a slot's data is a membership change, and etcd is asked first ([`Action::Census`]). A slot moves
//! only if
//! * a majority of the slots is registered, in their present incarnations: then it can join again, and nothing that was
//!   acknowledged is lost; after the loss of more hosts than the cluster bears, waiting for them is all that helps, so their
//!   nodes must not be given up;
//! * its own node isn't registered: the death of an agent alone moves nothing while the node on its host serves.
//!
//! The former task stays the slot's own until the next one is about to be launched; if it comes back before, it is kept. After
//! that it is a former incarnation: fenced by the registry, and killed as soon as Mesos reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Core;
use super::messages::Action;
use super::state::{SlotRecord, Stage};
use crate::clock::Millis;
use crate::config::{Incarnation, Slot};

/// Time between two censuses while one is needed: a registration's lease lasts seconds.
const CENSUS_EVERY: Duration = Duration::from_secs(1);

/// What is known of lost homes.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Until when slots without a task wait for an offer from home.
    patience: BTreeMap<Slot, Millis>,
    asking: bool,
    ask_at: Millis,
    /// Answered in this turn: old answers are of no use.
    registered: Option<BTreeMap<Slot, Incarnation>>,
}

impl Moves {
    /// The home of a slot without a task is known to be gone.
    pub(super) fn home_is_gone(&mut self, now: Millis, slot: Slot) {
        self.patience.insert(slot, now);
    }

    /// Without a subscription no offer is missed.
    pub(super) fn disconnected(&mut self) {
        self.patience.clear();
    }

    /// A turn is over.
    pub(super) fn forget_census(&mut self) {
        self.registered = None;
    }
}

impl Core {
    /// Asks for a census while one could change anything.
    pub(super) fn take_census(&mut self, now: Millis) {
        let lost = |(slot, record): (&Slot, &SlotRecord)| record.data_lost || self.has_lost_home(now, *slot, record);
        let due = self.connected && !self.moves.asking && now >= self.moves.ask_at;
        if due && !self.state.is_forming() && self.state.slots.iter().any(lost) {
            self.moves.asking = true;
            self.moves.ask_at = now + CENSUS_EVERY;
            self.out.push(Action::Census);
        }
    }

    /// A slot that is registered votes, with data that it has at its present home.
    pub(super) fn counted(&mut self, registered: Option<BTreeMap<Slot, Incarnation>>) {
        self.moves.asking = false;
        for (slot, incarnation) in registered.iter().flatten() {
            if let Some(record) = self.state.slots.get_mut(slot)
                && record.data_lost
                && record.incarnation == *incarnation
            {
                record.data_lost = false;
                self.dirty = true;
            }
        }
        self.moves.registered = registered;
    }

    /// Whether a slot must look for another home, as far as Mesos knows.
    fn has_lost_home(&self, now: Millis, slot: Slot, record: &SlotRecord) -> bool {
        let Some(task) = &record.task else {
            return record.home.is_some() && self.moves.patience.get(&slot).is_some_and(|end| *end <= now);
        };
        match self.reconciliation.open_since(slot) {
            // Only what was said in this subscription counts: the agent may have come back meanwhile.
            None => task.stage == Stage::Unreachable,
            Some(since) => now.since(since) >= self.settings.home_patience,
        }
    }

    /// Whether offers from any host may be of use soon.
    pub(super) fn is_any_displaced(&self, now: Millis) -> bool {
        self.state.slots.iter().any(|(slot, record)| {
            let unreachable = record.task.as_ref().is_some_and(|task| task.stage == Stage::Unreachable);
            record.home.is_none() || unreachable || self.has_lost_home(now, *slot, record)
        })
    }

    /// Gives homes to the slots that need one, if it is time, on hosts whose offers hold them.
    pub(super) fn place(&mut self, now: Millis) {
        let room = self.room();
        self.wait_for_homes(now, &room);
        self.placement.saw(now, room.keys());
        let moving = if self.state.is_forming() {
            self.leave_lost_homes(now);
            BTreeSet::new()
        } else {
            self.movable(now)
        };
        let mut slots = moving.clone();
        if self.placement.may_found(now, self.settings.home_patience, self.state.slots.len()) {
            slots.extend(self.state.slots.iter().filter(|(_, record)| record.home.is_none()).map(|(slot, _)| *slot));
        }
        if slots.is_empty() || !self.placement.is_settled(now) {
            return;
        }
        for (slot, home) in super::placement::spread(&self.state, &slots, room) {
            if let Some(record) = self.state.slots.get_mut(&slot) {
                record.home = Some(home);
                record.task = None;
                record.data_lost |= moving.contains(&slot);
                self.dirty = true;
            }
        }
    }

    /// How many nodes each host's offers hold.
    fn room(&self) -> BTreeMap<String, usize> {
        let mut room = BTreeMap::new();
        for offer in self.offers.values() {
            let capacity = self.capacity(offer);
            if capacity > 0 {
                *room.entry(offer.hostname.clone()).or_default() += capacity;
            }
        }
        room
    }

    fn wait_for_homes(&mut self, now: Millis, room: &BTreeMap<String, usize>) {
        for (slot, record) in &self.state.slots {
            let here = record.home.as_ref().is_some_and(|home| room.contains_key(home));
            if record.task.is_some() || here {
                self.moves.patience.remove(slot);
            } else {
                self.moves.patience.entry(*slot).or_insert(now + self.settings.home_patience);
            }
        }
    }

    /// Slots of a formed cluster that may move now.
    fn movable(&self, now: Millis) -> BTreeSet<Slot> {
        let Some(registered) = &self.moves.registered else {
            return BTreeSet::new();
        };
        let (present, absent): (Vec<_>, Vec<_>) =
            self.state.slots.iter().partition(|(slot, record)| registered.get(slot) == Some(&record.incarnation));
        if present.len() <= self.state.slots.len() / 2 {
            return BTreeSet::new();
        }
        let lost =
            |(slot, record): &(&Slot, &SlotRecord)| self.has_lost_home(now, **slot, record) && self.is_due(now, **slot);
        absent.into_iter().filter(lost).map(|(slot, _)| *slot).collect()
    }

    /// A forming cluster places lost slots anew. What can't be reached may be founding: its generation is given up.
    fn leave_lost_homes(&mut self, now: Millis) {
        let mut founders = false;
        for (slot, record) in self.state.slots.clone() {
            if !self.has_lost_home(now, slot, &record) {
                continue;
            }
            founders |= record.task.as_ref().is_some_and(|task| !self.state.is_abandoned(task));
            if let Some(record) = self.state.slots.get_mut(&slot) {
                (record.home, record.task) = (None, None);
                self.dirty = true;
            }
        }
        if founders {
            self.abandon();
        }
    }
}

//! When to ask the master how our tasks are: after every subscription until each is answered, and now and then for all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::Slot;

/// First pause before unanswered questions are asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a master is silent about the tasks of agents that it waits for, and those come back one by one.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Which slots' tasks wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// Since when.
    open: BTreeMap<Slot, Millis>,
    next: Millis,
    pause: Duration,
    next_full: Millis,
}

impl Reconciliation {
    /// Asks about one slot with the next batch, now.
    pub(super) fn ask(&mut self, now: Millis, slot: Slot) {
        if let Entry::Vacant(question) = self.open.entry(slot) {
            question.insert(now);
            self.next = now;
            self.pause = PAUSE;
        }
    }

    /// An unanswered question can be answered from now on: it is asked again at once, and its wait begins anew.
    pub(super) fn answerable(&mut self, now: Millis, slot: Slot) {
        if let Some(since) = self.open.get_mut(&slot) {
            *since = now;
            self.next = now;
        }
    }

    /// Forgets every question: nobody is there who could answer.
    pub(super) fn disconnected(&mut self) {
        self.open.clear();
    }

    /// Asks about all of these now, and about all that live again after `interval`.
    pub(super) fn ask_all(&mut self, now: Millis, interval: Duration, slots: impl Iterator<Item = Slot>) {
        let before = std::mem::take(&mut self.open);
        self.open = slots.map(|slot| (slot, before.get(&slot).copied().unwrap_or(now))).collect();
        self.next = now;
        self.pause = PAUSE;
        self.next_full = now + interval;
    }

    /// The slot was answered for.
    pub(super) fn heard(&mut self, slot: Slot) {
        self.open.remove(&slot);
    }

    /// Since when the slot's question waits for its answer, if it does.
    pub(super) fn open_since(&self, slot: Slot) -> Option<Millis> {
        self.open.get(&slot).copied()
    }

    /// Whether it is time for [`Reconciliation::ask_all`].
    pub(super) fn is_full_due(&self, now: Millis) -> bool {
        now >= self.next_full
    }

    /// The slots to ask about now; then not again before the pause, which doubles.
    pub(super) fn due(&mut self, now: Millis) -> Vec<Slot> {
        if self.open.is_empty() || now < self.next {
            return Vec::new();
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.open.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_repeated_until_answered_ever_more_seldom() {
        let mut asked = Reconciliation::default();
        asked.ask_all(Millis(0), Duration::from_secs(60), [0, 1].into_iter());
        let mut times = Vec::new();
        for second in 0..40 {
            if second == 3 {
                asked.heard(0);
            }
            let due = asked.due(Millis(second * 1_000));
            if !due.is_empty() {
                times.push((second, due));
            }
        }
        let expected = [(0, vec![0, 1]), (1, vec![0, 1]), (3, vec![1]), (7, vec![1]), (15, vec![1]), (30, vec![1])];
        assert_eq!(times, expected);
        asked.ask_all(Millis(50_000), Duration::from_secs(60), [0, 1].into_iter());
        assert_eq!(asked.open_since(0), Some(Millis(50_000)));
        assert_eq!(asked.open_since(1), Some(Millis(0)), "the same question still");
        asked.disconnected();
        assert!(asked.due(Millis(99_000)).is_empty());
        assert!(!asked.is_full_due(Millis(109_999)) && asked.is_full_due(Millis(110_000)));
    }
}

//! When to ask the master how our tasks are: after every subscription until each is answered, and now and then for all.

use std::collections::BTreeSet;
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
    open: BTreeSet<Slot>,
    next: Millis,
    pause: Duration,
    next_full: Millis,
}

impl Reconciliation {
    /// Asks about one slot with the next batch, now.
    pub(super) fn ask(&mut self, now: Millis, slot: Slot) {
        if self.open.insert(slot) {
            self.next = now;
            self.pause = PAUSE;
        }
    }

    /// Asks about all of these now, and about all that live again after `interval`.
    pub(super) fn ask_all(&mut self, now: Millis, interval: Duration, slots: impl Iterator<Item = Slot>) {
        self.open = slots.collect();
        self.next = now;
        self.pause = PAUSE;
        self.next_full = now + interval;
    }

    /// The slot was answered for.
    pub(super) fn heard(&mut self, slot: Slot) {
        self.open.remove(&slot);
    }

    /// Whether the slot's question waits for its answer.
    pub(super) fn is_open(&self, slot: Slot) -> bool {
        self.open.contains(&slot)
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
        self.open.iter().copied().collect()
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
        asked.heard(1);
        assert!(asked.due(Millis(99_000)).is_empty());
        assert!(!asked.is_full_due(Millis(59_999)) && asked.is_full_due(Millis(60_000)));
    }
}

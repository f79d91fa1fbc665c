//! A task's status updates: kept in order, one under way at a time, sent again until acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::mesos::types::{TaskState, TaskStatus};

/// Retries slow down to this (Mesos's bound).
pub const RETRY_MAX: Duration = Duration::from_secs(600);

/// The updates of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Queue {
    pending: VecDeque<TaskStatus>,
    /// State and uuid of the last acknowledged update.
    acknowledged: Option<(TaskState, String)>,
    #[serde(skip)]
    sent: Option<Sent>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    again_at: Millis,
    delay: Duration,
}

impl Queue {
    /// Adds an update at the end.
    pub fn push(&mut self, status: TaskStatus) {
        self.pending.push_back(status);
    }

    /// The update to send now, if one is due: a new head at once, an old one after its delay (the first delay is `first`, then doubled).
    pub fn take_due(&mut self, now: Millis, first: Duration) -> Option<TaskStatus> {
        let head = self.pending.front()?;
        let delay = match self.sent {
            None => first,
            Some(sent) if sent.again_at <= now => (sent.delay * 2).min(RETRY_MAX),
            Some(_) => return None,
        };
        self.sent = Some(Sent { again_at: now + delay, delay });
        Some(head.clone())
    }

    /// When the head is due again; none if nothing is under way.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.sent.map(|sent| sent.again_at)
    }

    /// Sends the head again at the next opportunity: the connection is new, or the framework is back.
    pub fn resume(&mut self) {
        self.sent = None;
    }

    /// Takes an acknowledgement; false if it isn't the head's (a duplicate, or a stray).
    pub fn acknowledge(&mut self, uuid: &str) -> bool {
        let Some(head) = self.pending.front() else {
            return false;
        };
        if head.uuid.as_deref() != Some(uuid) {
            return false;
        }
        self.acknowledged = Some((head.state, uuid.to_owned()));
        self.pending.pop_front();
        self.sent = None;
        true
    }

    /// Whether the framework has acknowledged the task's end: nothing more to say.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.pending.is_empty() && self.acknowledged.as_ref().is_some_and(|(state, _)| state.is_terminal())
    }

    /// State and uuid that the master should hold for this task: the head's, or the last acknowledged.
    #[must_use]
    pub fn current(&self) -> (Option<TaskState>, Option<String>) {
        match (self.pending.front(), &self.acknowledged) {
            (Some(head), _) => (Some(head.state), head.uuid.clone()),
            (None, Some((state, uuid))) => (Some(*state), Some(uuid.clone())),
            (None, None) => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);

    fn status(state: TaskState, uuid: &str) -> TaskStatus {
        TaskStatus { uuid: Some(uuid.to_owned()), ..TaskStatus::new("t".into(), state) }
    }

    #[test]
    fn retries_double_and_start_over_on_resume() {
        let mut queue = Queue::default();
        queue.push(status(TaskState::Starting, "a"));
        let mut sent_at_s = Vec::new();
        for second in 0..200 {
            if queue.take_due(Millis(second * 1000), FIRST).is_some() {
                sent_at_s.push(second);
            }
        }
        assert_eq!(sent_at_s, [0, 10, 30, 70, 150]);
        queue.resume();
        assert!(queue.take_due(Millis(200_000), FIRST).is_some());
        assert_eq!(queue.deadline(), Some(Millis(210_000)));
    }

    #[test]
    fn only_the_heads_acknowledgement_counts() {
        let mut queue = Queue::default();
        queue.push(status(TaskState::Running, "a"));
        queue.push(status(TaskState::Finished, "b"));
        assert!(!queue.acknowledge("b"));
        assert!(queue.acknowledge("a"));
        assert!(!queue.acknowledge("a"));
        assert!(!queue.is_done());
        assert_eq!(queue.current(), (Some(TaskState::Finished), Some("b".into())));
        assert!(queue.acknowledge("b"));
        assert!(queue.is_done());
        assert_eq!(queue.current(), (Some(TaskState::Finished), Some("b".into())));
    }

    proptest! {
        /// However acknowledgements come: updates arrive in order, and none before the one ahead of it is acknowledged.
        #[test]
        fn updates_are_sent_in_order(acks in prop::collection::vec(0usize..6, 0..80)) {
            let mut queue = Queue::default();
            for index in 0..5 {
                queue.push(status(TaskState::Running, &index.to_string()));
            }
            let (mut next, mut now_ms) = (0, 0);
            for ack in acks {
                now_ms += 700_000;
                if let Some(sent) = queue.take_due(Millis(now_ms), FIRST) {
                    prop_assert_eq!(sent.uuid, Some(next.to_string()));
                }
                if queue.acknowledge(&ack.to_string()) {
                    prop_assert_eq!(ack, next);
                    next += 1;
                }
            }
        }
    }
}

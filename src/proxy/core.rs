//! Which node the proxy routes to, and which requests wait, go again, fail or are cut during a move. Pure.
//!
//! ```text
//!            no leader, or an attempt failed before its answer began
//!   arrived ───────────────────────────────► waiting ──(leader, retry)──► asking ──► answered ──► gone
//!      │                     patient only       │                            │           │
//!      └──────────────────► refused ◄───────────┴─(too long, too many)───────┘          cut  (the leader was replaced)
//! ```
//! A request is *patient* when asking twice does no harm and there is no body to send twice: GET or HEAD without a body.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Millis;
use crate::registry::LeaderRecord;

/// A waiting request asks the same leader again after this time: Jupyter on a new leader opens its port about a second
/// after the leader record, and a refused connection costs next to nothing.
pub const RETRY: Duration = Duration::from_millis(100);
/// The registry is asked again at most this often, whatever the number of failures.
pub const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// An answer that hasn't begun after this time never will: longer than any upload or kernel start of Jupyter takes.
pub const ANSWER_MAX: Duration = Duration::from_secs(300);

/// A request's number, given by the shell, never reused.
pub type RequestId = u64;

/// One try to send a request. Word of an older try than the latest means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The request.
    pub id: RequestId,
    /// Counts from 1.
    pub number: u32,
}

/// A leader record and the etcd cluster that holds it. Terms are only comparable within one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// etcd's cluster id.
    pub cluster_id: u64,
    /// The record.
    pub leader: LeaderRecord,
}

/// What the shell tells the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The registry shows this leader record.
    Seen(Sighting),
    /// A request came in.
    Arrived {
        /// The request.
        id: RequestId,
        /// GET or HEAD without a body.
        patient: bool,
    },
    /// No connection was made: nothing of the request left.
    Unreached(Attempt),
    /// The connection broke, or was no HTTP, before an answer began: the request may have been carried out.
    Broken(Attempt),
    /// The head of the answer came.
    Answered(Attempt),
    /// The request's answer, tunnel or client is gone.
    Gone(RequestId),
    /// Time went by.
    Tick,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no leader that answers, now or within the wait. Worth another try.
    NoLeader,
    /// As many requests wait as may. Worth another try.
    TooManyWait,
    /// The connection broke before the answer, and the request isn't one to be sent twice: its outcome is unknown.
    OutcomeUnknown,
    /// The leader took the request and never began to answer.
    NoAnswer,
}

/// What the shell does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the request to this leader, giving up any attempt under way.
    Ask {
        /// To be named in word of it.
        attempt: Attempt,
        /// Where to.
        leader: LeaderRecord,
    },
    /// Give up any attempt under way and hold the request.
    Wait(RequestId),
    /// Answer with an error.
    Refuse {
        /// The request.
        id: RequestId,
        /// Why.
        why: Refusal,
    },
    /// End the answer or tunnel that is under way, visibly incomplete.
    Cut(RequestId),
    /// Read the leader record from the registry now.
    Look,
}

/// Bounds, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A request waits at most this long, counted from its first trouble.
    pub wait_max: Duration,
    /// Requests that may wait at the same time.
    pub waiting_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { retry_at: Millis },
    Asking { answer_by: Millis },
    Answered,
}

#[derive(Debug, Clone)]
struct Request {
    patient: bool,
    attempts: u32,
    phase: Phase,
    /// Set at the first trouble, never moved: however many moves it meets, a request waits only once.
    give_up_at: Option<Millis>,
}

/// The proxy's decisions.
#[derive(Debug)]
pub struct Core {
    bounds: Bounds,
    seen: Option<Sighting>,
    requests: BTreeMap<RequestId, Request>,
    looked_at: Option<Millis>,
}

impl Core {
    /// A core that knows no leader yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, seen: None, requests: BTreeMap::new(), looked_at: None }
    }

    /// The leader to route to.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaderRecord> {
        self.seen.as_ref().map(|s| &s.leader)
    }

    /// Requests that wait for a leader.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.values().filter(|r| matches!(r.phase, Phase::Waiting { .. })).count()
    }

    /// When the next [`Event::Tick`] is due; none while nothing waits for time.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        self.requests.values().filter_map(Request::due).min()
    }

    /// One event in, what to do out.
    pub fn on(&mut self, now: Millis, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Seen(sighting) => self.on_seen(now, sighting, &mut actions),
            Event::Arrived { id, patient } => self.on_arrived(now, id, patient, &mut actions),
            Event::Unreached(attempt) if self.is_latest(attempt) => {
                self.on_failed(now, attempt.id, Refusal::NoLeader, &mut actions);
            }
            Event::Broken(attempt) if self.is_latest(attempt) => {
                self.on_failed(now, attempt.id, Refusal::OutcomeUnknown, &mut actions);
            }
            Event::Answered(attempt) if self.is_latest(attempt) => {
                if let Some(request) = self.requests.get_mut(&attempt.id) {
                    request.phase = Phase::Answered;
                }
            }
            Event::Unreached(_) | Event::Broken(_) | Event::Answered(_) => {}
            Event::Gone(id) => {
                self.requests.remove(&id);
            }
            Event::Tick => self.on_tick(now, &mut actions),
        }
        actions
    }

    fn on_seen(&mut self, now: Millis, sighting: Sighting, actions: &mut Vec<Action>) {
        let moved = match &self.seen {
            None => true,
            // A cluster formed anew starts its terms again; the members of the one given up are gone before it starts.
            Some(old) if old.cluster_id != sighting.cluster_id => true,
            Some(old) if old.leader.term >= sighting.leader.term => return,
            Some(old) => !same_place(&old.leader, &sighting.leader),
        };
        self.seen = Some(sighting);
        if !moved {
            return;
        }
        let give_up_at = now + self.bounds.wait_max;
        let under_way: Vec<_> = (self.requests.iter()).map(|(id, r)| (*id, r.phase, r.patient)).collect();
        for (id, phase, patient) in under_way {
            match phase {
                Phase::Asking { .. } if !patient => {
                    self.refuse(id, Refusal::OutcomeUnknown, actions);
                }
                Phase::Waiting { .. } | Phase::Asking { .. } => {
                    if let Some(request) = self.requests.get_mut(&id) {
                        request.give_up_at.get_or_insert(give_up_at);
                    }
                    self.ask(now, id, actions);
                }
                Phase::Answered => {
                    self.requests.remove(&id);
                    actions.push(Action::Cut(id));
                }
            }
        }
    }

    fn on_arrived(&mut self, now: Millis, id: RequestId, patient: bool, actions: &mut Vec<Action>) {
        let phase = Phase::Asking { answer_by: now + ANSWER_MAX };
        self.requests.insert(id, Request { patient, attempts: 0, phase, give_up_at: None });
        if self.seen.is_some() {
            self.ask(now, id, actions);
        } else {
            self.on_failed(now, id, Refusal::NoLeader, actions);
        }
    }

    fn is_latest(&self, attempt: Attempt) -> bool {
        self.requests
            .get(&attempt.id)
            .is_some_and(|r| r.attempts == attempt.number && matches!(r.phase, Phase::Asking { .. }))
    }

    /// An attempt came to nothing before its answer began.
    fn on_failed(&mut self, now: Millis, id: RequestId, why: Refusal, actions: &mut Vec<Action>) {
        let waiting = self.waiting();
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        if self.looked_at.is_none_or(|at| now >= at + LOOK_AGAIN) {
            self.looked_at = Some(now);
            actions.push(Action::Look);
        }
        let give_up_at = *request.give_up_at.get_or_insert(now + self.bounds.wait_max);
        if !request.patient {
            self.refuse(id, why, actions);
        } else if now >= give_up_at {
            self.refuse(id, Refusal::NoLeader, actions);
        } else if waiting >= self.bounds.waiting_max {
            self.refuse(id, Refusal::TooManyWait, actions);
        } else {
            request.phase = Phase::Waiting { retry_at: now + RETRY };
            actions.push(Action::Wait(id));
        }
    }

    fn on_tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let due: Vec<RequestId> =
            self.requests.iter().filter(|(_, r)| r.due().is_some_and(|at| at <= now)).map(|(id, _)| *id).collect();
        for id in due {
            let request = &self.requests[&id];
            let patience_ended = request.give_up_at.is_some_and(|at| at <= now);
            match request.phase {
                Phase::Asking { answer_by } if answer_by <= now => {
                    self.refuse(id, Refusal::NoAnswer, actions);
                }
                Phase::Waiting { .. } if !patience_ended => self.ask(now, id, actions),
                _ => self.refuse(id, Refusal::NoLeader, actions),
            }
        }
    }

    /// Sends the request to the leader; without one it goes on waiting.
    fn ask(&mut self, now: Millis, id: RequestId, actions: &mut Vec<Action>) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let Some(sighting) = &self.seen else {
            request.phase = Phase::Waiting { retry_at: now + RETRY };
            return;
        };
        request.phase = Phase::Asking { answer_by: now + ANSWER_MAX };
        request.attempts += 1;
        let number = request.attempts;
        actions.push(Action::Ask { attempt: Attempt { id, number }, leader: sighting.leader.clone() });
    }

    fn refuse(&mut self, id: RequestId, why: Refusal, actions: &mut Vec<Action>) {
        self.requests.remove(&id);
        actions.push(Action::Refuse { id, why });
    }
}

impl Request {
    fn due(&self) -> Option<Millis> {
        match self.phase {
            Phase::Waiting { retry_at } => Some(self.give_up_at.map_or(retry_at, |at| at.min(retry_at))),
            // A request that has waited before keeps its bound while it asks again.
            Phase::Asking { answer_by } => Some(self.give_up_at.map_or(answer_by, |at| at.min(answer_by))),
            Phase::Answered => None,
        }
    }
}

/// The same node led before: its connections may go on.
fn same_place(a: &LeaderRecord, b: &LeaderRecord) -> bool {
    (a.slot, a.incarnation, a.address) == (b.slot, b.incarnation, b.address)
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

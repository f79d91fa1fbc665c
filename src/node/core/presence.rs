//! When this node is registered, and when it must step aside for a later incarnation of its slot.

use std::time::Duration;

use super::{Action, Event, Local, Setup};
use crate::clock::Millis;
use crate::config::{Incarnation, Slot};
use crate::registry::state::RegistryState;

/// A failed registration is tried again after this time: it fails while there is no quorum.
pub const RETRY_AFTER: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Absent { retry_at: Millis },
    Registering { member: u64 },
    Held { member: u64, revision: i64 },
    Fenced,
}

/// The registration of one incarnation.
#[derive(Debug)]
pub struct PresenceCore {
    slot: Slot,
    incarnation: Incarnation,
    ssh: bool,
    local: Option<Local>,
    phase: Phase,
}

impl PresenceCore {
    /// Not registered.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            slot: setup.config.slot,
            incarnation: setup.config.incarnation,
            ssh: false,
            local: None,
            phase: Phase::Absent { retry_at: Millis::default() },
        }
    }

    /// Takes in an event.
    pub fn on(&mut self, now: Millis, event: &Event) -> Vec<Action> {
        if self.phase == Phase::Fenced {
            return vec![];
        }
        match (event, self.phase) {
            (Event::Local(local), _) => self.local = *local,
            (Event::EtcdExited, _) => {
                // Whatever held the registration ends with the member; a quick restart renews it before the TTL ends.
                self.local = None;
                self.phase = Phase::Absent { retry_at: now };
            }
            (Event::Ssh(up), _) => self.ssh = *up,
            (Event::Registered { revision }, Phase::Registering { member }) => {
                self.phase = Phase::Held { member, revision: *revision };
            }
            // A lease that vanished is replaced at once; a registration that failed waits.
            (Event::RegistrationLost, Phase::Held { .. }) => self.phase = Phase::Absent { retry_at: now },
            (Event::RegistrationLost, _) => {
                self.phase = Phase::Absent { retry_at: now + RETRY_AFTER };
            }
            (Event::Fenced(by), _) => return self.step_aside(*by),
            (Event::Registry(state), _) => {
                if let Some(by) = self.fenced_by(state) {
                    return self.step_aside(by);
                }
                self.notice_loss(now, state);
            }
            _ => {}
        }
        self.settle(now)
    }

    fn settle(&mut self, now: Millis) -> Vec<Action> {
        let Some(local) = self.local.filter(|local| self.ssh && local.votes()) else {
            return vec![];
        };
        let due = match self.phase {
            Phase::Absent { retry_at } => now >= retry_at,
            // The member was replaced within this container.
            Phase::Held { member, .. } => member != local.member,
            Phase::Registering { .. } | Phase::Fenced => false,
        };
        if !due {
            return vec![];
        }
        self.phase = Phase::Registering { member: local.member };
        vec![Action::Register { member: local.member }]
    }

    fn notice_loss(&mut self, now: Millis, state: &RegistryState) {
        let Phase::Held { revision, .. } = self.phase else {
            return;
        };
        let present = state.nodes.get(&self.slot).is_some_and(|node| node.incarnation == self.incarnation);
        if state.revision >= revision && !present {
            self.phase = Phase::Absent { retry_at: now };
        }
    }

    fn fenced_by(&self, state: &RegistryState) -> Option<Incarnation> {
        let registered = state.nodes.get(&self.slot).map(|node| node.incarnation);
        let ever = state.incarnations.get(&self.slot).copied();
        registered.max(ever).filter(|by| *by > self.incarnation)
    }

    fn step_aside(&mut self, by: Incarnation) -> Vec<Action> {
        self.phase = Phase::Fenced;
        vec![Action::StepAside(by)]
    }
}

//! What a fault can cause, and how soon at the earliest: `check` refuses what can't come true.
//!
//! The floors come from the topology's timing: sessions of masters 10 s, etcd's election timeout 1 s (drawn from 1 to 2 s),
//! ZooKeeper's syncLimit 5 × tickTime 500 ms.

use super::event::Event;
use crate::fault::{FaultKind, Role, Target, TargetClass};

/// A master's session: nobody leads in its place before it has expired.
pub const SESSION_MS: u64 = 10_000;
/// etcd's followers wait at least this long before they elect another leader, and at most twice as long.
pub const ELECTION_MAX_MS: u64 = 2_000;
/// ZooKeeper's followers leave a silent leader after syncLimit × tickTime.
pub const SYNC_MS: u64 = 2_500;

/// A node that falls silent stays registered until its lease ends.
pub const LEASE_MS: u64 = 5_000;

/// Events that this fault on this target causes for certain (a slot given by number may or may not lead).
#[must_use]
pub fn possible(kind: FaultKind, target: Target) -> Vec<Event> {
    let may_lead = matches!(target.role, Role::Leader | Role::Slot(_));
    let mut events = vec![];
    match target.class {
        TargetClass::Node => {
            if may_lead {
                events.extend([Event::EtcdLeaderChanged, Event::JupyterMoved]);
            }
            if kind == FaultKind::Kill {
                events.push(Event::SlotReplaced);
            }
            events.push(Event::SlotLeft);
        }
        TargetClass::MesosMaster if may_lead => events.push(Event::MesosMasterChanged),
        TargetClass::ZooKeeper if may_lead => events.push(Event::ZooKeeperLeaderChanged),
        TargetClass::MesosMaster | TargetClass::ZooKeeper => {}
    }
    events
}

/// The fault must be held at least this long for the event to come, and why.
#[must_use]
pub fn floor_ms(kind: FaultKind, event: Event) -> (u64, &'static str) {
    match (event, kind) {
        (Event::MesosMasterChanged, _) => (SESSION_MS, "a master's session lasts 10 s"),
        (Event::EtcdLeaderChanged | Event::JupyterMoved, _) => {
            (ELECTION_MAX_MS, "etcd's election timeout is up to 2 s")
        }
        (Event::ZooKeeperLeaderChanged, FaultKind::Pause) => {
            (SYNC_MS, "ZooKeeper's followers leave a silent leader after 2.5 s")
        }
        (Event::SlotLeft, FaultKind::Pause) => (LEASE_MS, "a registration's lease lasts 5 s"),
        (Event::ZooKeeperLeaderChanged | Event::SlotReplaced | Event::SlotLeft, _) => (0, ""),
    }
}

/// The testbed holds this fault and undoes it. (What the system promises to heal is left to the system.)
#[must_use]
pub fn is_held(kind: FaultKind, class: TargetClass) -> bool {
    !matches!((kind, class), (FaultKind::Kill, TargetClass::Node))
}

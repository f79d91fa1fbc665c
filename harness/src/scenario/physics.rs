//! What can be done to what, what it causes, and how soon at the earliest: `check` refuses what can't come true.
//!
//! The floors come from the topology's timing: sessions of masters and schedulers 10 s, agents' pings 10 × 1 s, etcd's election
//! timeout 1 s (drawn from 1 to 2 s), ZooKeeper's syncLimit 5 × tickTime 500 ms.

use super::event::Event;
use crate::fault::{FaultKind, Role, Target, TargetClass};

/// A master's session: nobody leads in its place before it has expired.
pub const SESSION_MS: u64 = 10_000;
/// A master gives up an agent that didn't answer its pings for this long.
pub const PINGS_MS: u64 = 10_000;
/// etcd's followers wait at least this long before they elect another leader, and at most twice as long.
pub const ELECTION_MAX_MS: u64 = 2_000;
/// ZooKeeper's followers leave a silent leader after syncLimit × tickTime.
pub const SYNC_MS: u64 = 2_500;

/// A node that falls silent stays registered until its lease ends.
pub const LEASE_MS: u64 = 5_000;

/// Events that this fault on this target causes for certain (a slot or host given by number may or may not lead).
#[must_use]
pub fn possible(kind: FaultKind, target: Target) -> Vec<Event> {
    let may_lead = matches!(
        target.role,
        Role::Leader | Role::MinorityWithLeader | Role::Slot(_) | Role::Number(_) | Role::OfLeader
    );
    let many = matches!(target.role, Role::Majority | Role::All) || target.pick.is_some();
    let ends = matches!(kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Restart);
    // It can't hear its session's end, and finds out by its own clock or when it wakes up.
    let ends_itself = !ends;
    let mut events = vec![];
    match target.class {
        // Nobody is left to notice, or to lead for certain.
        TargetClass::Node if many => events.extend(ends.then_some(Event::SlotReplaced)),
        TargetClass::Host | TargetClass::Etcd if many => {}
        TargetClass::Node | TargetClass::Host => {
            if may_lead {
                events.extend([Event::EtcdLeaderChanged, Event::JupyterMoved]);
            }
            if may_lead && !ends {
                events.push(Event::EtcdLeaderDemoted);
            }
            match target.class {
                // A host that is back within seconds is not given up.
                TargetClass::Host if kind == FaultKind::Restart => {}
                TargetClass::Host => events.extend([Event::AgentUnreachable, Event::SlotMoved]),
                _ => {
                    events.extend(ends.then_some(Event::SlotReplaced));
                    events.push(Event::SlotLeft);
                }
            }
        }
        // One that is killed is back before the others elect, and may win; one that is told to stop hands leadership over.
        TargetClass::Etcd if may_lead && kind != FaultKind::Kill => {
            events.extend([Event::EtcdLeaderChanged, Event::JupyterMoved]);
            events.extend((!ends).then_some(Event::EtcdLeaderDemoted));
        }
        TargetClass::NodeAgent => events.push(Event::SlotLeft),
        TargetClass::MesosMaster if target.role == Role::Leader => {
            events.push(Event::MesosMasterChanged);
            events.extend(ends_itself.then_some(Event::MesosMasterExited));
        }
        TargetClass::MesosAgent => {
            events.extend((kind != FaultKind::Restart).then_some(Event::AgentUnreachable));
            events.extend(ends.then_some(Event::MesosAgentRecovered));
        }
        TargetClass::ZooKeeper if target.role == Role::Leader => events.push(Event::ZooKeeperLeaderChanged),
        TargetClass::ZooKeeper if matches!(target.role, Role::Majority | Role::All) && kind != FaultKind::Restart => {
            events.extend([Event::ZooKeeperQuorumLost, Event::MesosMasterExited]);
        }
        TargetClass::Framework if target.role == Role::Leader => {
            events.push(Event::FrameworkChanged);
            events.extend(ends_itself.then_some(Event::FrameworkExited));
        }
        _ => {}
    }
    events
}

/// The fault must be held at least this long for the event to come, and why.
#[must_use]
pub fn floor_ms(kind: FaultKind, event: Event) -> (u64, &'static str) {
    match (event, kind) {
        (Event::MesosMasterChanged | Event::MesosMasterExited, _) => (SESSION_MS, "a master's session lasts 10 s"),
        (Event::FrameworkChanged | Event::FrameworkExited, _) => (SESSION_MS, "a scheduler's session lasts 10 s"),
        (Event::AgentUnreachable | Event::SlotMoved, _) => (PINGS_MS, "an agent is given up after 10 pings of 1 s"),
        (Event::EtcdLeaderChanged | Event::EtcdLeaderDemoted | Event::JupyterMoved, _) => {
            (ELECTION_MAX_MS, "etcd's election timeout is up to 2 s")
        }
        (Event::ZooKeeperLeaderChanged, FaultKind::Pause | FaultKind::Isolate { .. }) => {
            (SYNC_MS, "ZooKeeper's followers leave a silent leader after 2.5 s")
        }
        (Event::SlotLeft, FaultKind::Pause | FaultKind::Partition | FaultKind::Isolate { .. }) => {
            (LEASE_MS, "a registration's lease lasts 5 s")
        }
        (
            Event::ZooKeeperLeaderChanged
            | Event::ZooKeeperQuorumLost
            | Event::SlotReplaced
            | Event::SlotLeft
            | Event::MesosAgentRecovered,
            _,
        ) => (0, ""),
    }
}

/// The event comes only after the fault is undone: what is down, frozen or cut off can't show it.
#[must_use]
pub fn after_undo(kind: FaultKind, event: Event) -> bool {
    match event {
        Event::MesosAgentRecovered => kind != FaultKind::Restart,
        Event::EtcdLeaderDemoted => true,
        Event::MesosMasterExited | Event::FrameworkExited => kind == FaultKind::Pause,
        _ => false,
    }
}

/// The testbed holds this fault and undoes it. What the system promises to heal is left to the system, and a restart ends by itself.
#[must_use]
pub fn is_held(kind: FaultKind, class: TargetClass) -> bool {
    match kind {
        FaultKind::Kill | FaultKind::Stop => !class.is_of_node(),
        FaultKind::Restart => false,
        FaultKind::Pause | FaultKind::Isolate { .. } | FaultKind::Partition => true,
    }
}

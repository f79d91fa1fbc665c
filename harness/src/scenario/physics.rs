//! What can be done to what, what it causes, and how soon at the earliest: `check` refuses what can't come true.
//!
//! The floors come from the topology's timing ([`Limits`]): sessions of masters and schedulers, agents' pings, ZooKeeper's ticks,
//! GlusterFS's ping; and from times that the system has fixed: etcd's election timeout and the lease of a registration.

use super::duration::format_ms;
use super::event::Event;
use crate::fault::{Damage, FaultKind, Peers, Role, Split, Target, TargetClass};
use crate::invariant::Name;
use crate::topology::TopologyConfig;

/// etcd's followers elect another leader at most this long after they heard nothing.
const ELECTION_MAX_MS: u64 = 2_000;
/// A node that falls silent stays registered until its lease ends.
const LEASE_MS: u64 = 5_000;

/// What the topology allows: how many parts there are, and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Number of nodes.
    pub nodes: u32,
    /// Number of hosts.
    pub hosts: u32,
    /// Number of masters.
    pub masters: u32,
    /// Number of ZooKeeper servers.
    pub zookeepers: u32,
    /// Number of schedulers.
    pub frameworks: u32,
    /// A master's or scheduler's session: nobody leads in its place before it has expired.
    pub session_ms: u64,
    /// A master gives up an agent that didn't answer its pings for this long.
    pub pings_ms: u64,
    /// ZooKeeper's followers leave a silent leader after this time.
    pub sync_ms: u64,
    /// GlusterFS waits for a silent brick this long.
    pub storage_ms: u64,
}

impl Limits {
    /// The limits of a topology.
    #[must_use]
    pub fn of(config: &TopologyConfig) -> Self {
        let timing = &config.timing;
        Self {
            nodes: config.nodes,
            hosts: config.hosts.into(),
            masters: config.masters.into(),
            zookeepers: config.zookeepers.into(),
            frameworks: config.frameworks.into(),
            session_ms: timing.session_ms,
            pings_ms: timing.agent_ping_ms * u64::from(timing.agent_pings),
            sync_ms: timing.zookeeper_tick_ms * u64::from(timing.zookeeper_sync_ticks),
            storage_ms: u64::from(timing.storage_ping_s) * 1_000,
        }
    }

    /// How many parts of this kind there are.
    #[must_use]
    pub fn number_of(&self, class: TargetClass) -> u32 {
        match class {
            TargetClass::Node | TargetClass::Etcd | TargetClass::Sshd | TargetClass::NodeAgent => self.nodes,
            TargetClass::MesosMaster => self.masters,
            TargetClass::ZooKeeper => self.zookeepers,
            TargetClass::Framework => self.frameworks,
            TargetClass::MesosAgent
            | TargetClass::Host
            | TargetClass::Brick
            | TargetClass::NetworkDriver
            | TargetClass::Bird => self.hosts,
            TargetClass::Jupyter | TargetClass::Proxy => 1,
            // The edge too.
            TargetClass::Topology => self.hosts + self.masters + self.zookeepers + self.frameworks + 1,
        }
    }
}

/// Events that this fault on this target causes for certain. (Whether a slot or host given by number leads isn't known.)
#[must_use]
pub fn possible(kind: FaultKind, target: Target) -> Vec<Event> {
    match kind {
        FaultKind::Tamper { what } => damaged(what, target),
        // It may get on with what it has.
        FaultKind::Squeeze { .. } => vec![],
        // Who is heard badly may be heard well enough.
        FaultKind::Loss { .. } | FaultKind::SlowLink { .. } => vec![],
        // Who leads in a ring or beside a bridge is anybody's guess, and may go on leading.
        FaultKind::Partition { shape: Split::Ring | Split::Bridge } => vec![],
        _ => gone(kind, target),
    }
}

fn leads(target: Target) -> bool {
    matches!(target.role, Role::Leader | Role::MinorityWithLeader | Role::OfLeader)
}

/// There are several of them, for certain or by chance.
fn many(target: Target) -> bool {
    matches!(target.role, Role::Majority | Role::All) || target.pick.is_some()
}

/// What follows when this is damaged.
fn damaged(what: Damage, target: Target) -> Vec<Event> {
    let mut events = vec![];
    if what == Damage::EtcdData {
        events.push(Event::MemberReplaced);
        events.extend(
            [Event::EtcdLeaderChanged, Event::JupyterMoved].into_iter().filter(|_| leads(target) && !many(target)),
        );
    }
    events
}

/// What follows when this is gone, frozen or cut off.
fn gone(kind: FaultKind, target: Target) -> Vec<Event> {
    let (leads, many) = (leads(target), many(target));
    let ends = matches!(kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Oom | FaultKind::Restart);
    // It can't hear its session's end, and finds out by its own clock or when it wakes up.
    let ends_itself = !ends;
    // Whoever still speaks with these keeps its place among them. One way is enough: nothing is acknowledged any more.
    let apart = |peers| kind.from().is_none_or(|from| from.cuts(peers));
    let mut events = vec![];
    match target.class {
        TargetClass::Node if !apart(Peers::Everyone) => {}
        TargetClass::Host if !apart(Peers::Everyone) => {
            events.extend(apart(Peers::Masters).then_some(Event::AgentUnreachable));
        }
        // All agents are back, under the ids they had.
        TargetClass::Topology => events.push(Event::MesosAgentRecovered),
        // Nobody is left to notice, or to lead for certain.
        TargetClass::Node if many => events.extend(ends.then_some(Event::SlotReplaced)),
        TargetClass::Host | TargetClass::Etcd if many => {}
        TargetClass::Node | TargetClass::Host => {
            if leads {
                events.extend([Event::EtcdLeaderChanged, Event::JupyterMoved]);
            }
            if leads && !ends {
                events.push(Event::EtcdLeaderDemoted);
            }
            match target.class {
                // A host that is back within seconds is not given up.
                // The masters still reach one that the other hosts don't.
                TargetClass::Host if kind == FaultKind::Restart || kind == FaultKind::PARTITION => {}
                TargetClass::Host => events.extend([Event::AgentUnreachable, Event::SlotMoved]),
                _ => {
                    events.extend(ends.then_some(Event::SlotReplaced));
                    events.push(Event::SlotLeft);
                }
            }
        }
        // One that is killed is back before the others elect, and may win; one that is told to stop hands leadership over.
        TargetClass::Etcd if leads && !matches!(kind, FaultKind::Kill | FaultKind::Oom) => {
            events.extend([Event::EtcdLeaderChanged, Event::JupyterMoved]);
            events.extend((!ends).then_some(Event::EtcdLeaderDemoted));
        }
        TargetClass::NodeAgent => events.push(Event::SlotLeft),
        TargetClass::MesosMaster if target.role == Role::Leader && apart(Peers::ZooKeeper) => {
            events.push(Event::MesosMasterChanged);
            events.extend(ends_itself.then_some(Event::MesosMasterExited));
        }
        TargetClass::MesosAgent => {
            let stays_away = kind != FaultKind::Restart && apart(Peers::Masters);
            events.extend(stays_away.then_some(Event::AgentUnreachable));
            events.extend(ends.then_some(Event::MesosAgentRecovered));
        }
        TargetClass::ZooKeeper if !apart(Peers::ZooKeeper) => {}
        TargetClass::ZooKeeper if target.role == Role::Leader => events.push(Event::ZooKeeperLeaderChanged),
        TargetClass::ZooKeeper if matches!(target.role, Role::Majority | Role::All) && kind != FaultKind::Restart => {
            events.extend([Event::ZooKeeperQuorumLost, Event::MesosMasterExited]);
        }
        TargetClass::Framework if target.role == Role::Leader && apart(Peers::ZooKeeper) => {
            events.push(Event::FrameworkChanged);
            events.extend(ends_itself.then_some(Event::FrameworkExited));
        }
        _ => {}
    }
    events
}

/// The fault must be held at least this long for the event to come, and why.
#[must_use]
pub fn floor_ms(kind: FaultKind, event: Event, limits: &Limits) -> Option<(u64, String)> {
    let silent = is_silent(kind);
    let (ms, why) = match event {
        Event::MesosMasterChanged | Event::MesosMasterExited => (limits.session_ms, "a master's session lasts"),
        Event::FrameworkChanged | Event::FrameworkExited => (limits.session_ms, "a scheduler's session lasts"),
        Event::AgentUnreachable | Event::SlotMoved => (limits.pings_ms, "an agent is given up when its pings fail for"),
        Event::EtcdLeaderChanged | Event::EtcdLeaderDemoted | Event::JupyterMoved => {
            (ELECTION_MAX_MS, "etcd's election timeout is up to")
        }
        Event::ZooKeeperLeaderChanged if silent => {
            (limits.sync_ms, "ZooKeeper's followers leave a silent leader after")
        }
        Event::SlotLeft if silent => (LEASE_MS, "a registration's lease lasts"),
        Event::ZooKeeperLeaderChanged
        | Event::ZooKeeperQuorumLost
        | Event::SlotReplaced
        | Event::SlotLeft
        | Event::MemberReplaced
        | Event::MesosAgentRecovered => return None,
    };
    Some((ms, format!("{why} {}", format_ms(ms))))
}

/// An invariant that this fault breaks can't hold again before this time has passed, and why. What isn't sure to break has no
/// floor.
#[must_use]
pub fn recovery_floor_ms(kind: FaultKind, target: Target, name: Name, limits: &Limits) -> Option<(u64, String)> {
    let leads = matches!(target.role, Role::Leader | Role::OfLeader | Role::MinorityWithLeader);
    let silent = is_silent(kind);
    let (ms, why) = match (target.class, name) {
        _ if kind.lets_some_pass() => return None,
        (TargetClass::MesosMaster, Name::Mesos) if leads => (limits.session_ms, "a master's session lasts"),
        (TargetClass::Framework, Name::Mesos) if leads => (limits.session_ms, "a scheduler's session lasts"),
        (TargetClass::ZooKeeper, Name::ZooKeeper) if leads && silent => {
            (limits.sync_ms, "ZooKeeper's followers leave a silent leader after")
        }
        (TargetClass::Node, Name::Hosts) if silent => (LEASE_MS, "a silent node stays registered for a lease of"),
        (TargetClass::Host, Name::Storage) if silent => (limits.storage_ms, "GlusterFS waits for a silent brick"),
        (TargetClass::Host, Name::Hosts) if silent => (LEASE_MS, "silent nodes stay registered for a lease of"),
        _ => return None,
    };
    Some((ms, format!("{why} {}", format_ms(ms))))
}

/// What it hits says nothing, and nobody is told that it is gone.
fn is_silent(kind: FaultKind) -> bool {
    kind == FaultKind::Pause || (kind.is_of_network() && !kind.lets_some_pass())
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
        FaultKind::Restart | FaultKind::Oom | FaultKind::Tamper { .. } => false,
        FaultKind::Pause
        | FaultKind::Blackout
        | FaultKind::DiskFull
        | FaultKind::Squeeze { .. }
        | FaultKind::Isolate { .. }
        | FaultKind::Partition { .. }
        | FaultKind::Loss { .. }
        | FaultKind::SlowLink { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_apart_stay_agents_and_a_ring_or_a_bridge_is_sure_of_nothing() {
        let host = possible(FaultKind::PARTITION, Target::new(TargetClass::Host, Role::OfLeader));
        assert_eq!(host, [Event::EtcdLeaderChanged, Event::JupyterMoved, Event::EtcdLeaderDemoted]);
        for shape in [Split::Ring, Split::Bridge] {
            assert_eq!(possible(FaultKind::Partition { shape }, Target::new(TargetClass::Node, Role::Leader)), []);
        }
    }

    #[test]
    fn nothing_is_certain_of_a_part_that_is_heard_badly() {
        let way = stormbed::outpost::cut::Way::Both;
        let loss = FaultKind::Loss { from: crate::fault::PeerSet::EVERYONE, way, percent: 30 };
        for class in [TargetClass::Node, TargetClass::MesosMaster, TargetClass::ZooKeeper, TargetClass::MesosAgent] {
            let target = Target::new(class, Role::Leader);
            assert_eq!(possible(loss, target), []);
            let limits = Limits::of(&TopologyConfig::default());
            assert!(Name::ALL.into_iter().all(|name| recovery_floor_ms(loss, target, name, &limits).is_none()));
        }
    }

    #[test]
    fn whoever_still_reaches_its_own_keeps_its_place() {
        let caused = |class, role, from: &[Peers]| {
            let way = stormbed::outpost::cut::Way::In;
            let kind = FaultKind::Isolate { from: from.iter().copied().collect(), way };
            possible(kind, Target::new(class, role))
        };
        let node = |from| caused(TargetClass::Node, Role::Leader, from);
        assert!(node(&[Peers::Everyone]).contains(&Event::EtcdLeaderChanged));
        assert_eq!(node(&[Peers::Proxy]), [], "the other members are still reached");
        let master = |from| caused(TargetClass::MesosMaster, Role::Leader, from);
        assert_eq!(master(&[Peers::Frameworks, Peers::Hosts]), []);
        assert!(master(&[Peers::Frameworks, Peers::ZooKeeper]).contains(&Event::MesosMasterExited));
        assert_eq!(caused(TargetClass::MesosAgent, Role::Any, &[Peers::ZooKeeper]), []);
        assert_eq!(caused(TargetClass::MesosAgent, Role::Any, &[Peers::Masters]), [Event::AgentUnreachable]);
        assert_eq!(caused(TargetClass::Host, Role::OfLeader, &[Peers::Masters]), [Event::AgentUnreachable]);
        assert_eq!(caused(TargetClass::ZooKeeper, Role::Majority, &[Peers::Masters]), []);
        assert_eq!(caused(TargetClass::Framework, Role::Leader, &[Peers::Masters]), []);
    }
}

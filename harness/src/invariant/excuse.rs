//! What a fault excuses, and for how long: the whole table.
//!
//! A fault excuses what it must break and nothing else. Safety clauses ([`super::Breach`]) are never excused, and neither is
//! the final judgement.
//!
//! | fault | role | excused | until |
//! |---|---|---|---|
//! | kill, stop, oom node | follower | hosts ssh storage etcd mesos network | 30 s after the injection: the system heals it |
//! | kill, stop, oom node | leader | the same and jupyter | likewise |
//! | pause, isolate, partition, loss, slow-link node | follower | hosts ssh storage etcd network | 15 s after the undo: lease and tables |
//! | pause, isolate, partition, loss, slow-link node | leader | the same and jupyter | likewise |
//! | any, etcd | follower | hosts ssh storage etcd network | 30 s after a kill, stop or oom, and after the undo of a squeeze, which may end it again and again; 15 s after any other undo |
//! | any, etcd | leader | the same and jupyter | likewise |
//! | pause node-agent | follower | hosts ssh etcd network: its lease ends, and it keeps no table | 15 s after the undo |
//! | pause node-agent | leader | the same and jupyter | likewise |
//! | any, sshd | any | ssh | 30 s after a kill, stop or oom, 15 s after an undo |
//! | any, jupyter | any | jupyter | likewise |
//! | any, mesos-master | any | mesos | 20 s after the undo (a restart: its end): a session, and everybody registers again |
//! | any, mesos-agent | any | mesos | 15 s after the undo: it finds its containers and registers |
//! | any, zookeeper | follower | zookeeper | 10 s after the undo: it joins and syncs |
//! | any, zookeeper | leader | zookeeper mesos | likewise; the masters' election can't be read meanwhile |
//! | any, zookeeper | majority, all | zookeeper mesos | 30 s after the undo: an election, then the masters' |
//! | any, framework | active | mesos | 20 s after the undo: a session, and the standby subscribes |
//! | any, framework | standby | nothing | |
//! | any, network-driver | any | nothing: it is asked when containers start and end | |
//! | kill, stop, restart brick | any | storage | 30 s after the undo: clients connect again, and it heals |
//! | squeeze node | follower | hosts ssh storage etcd mesos network: it may be too slow for any of them | 30 s after the undo: as after a death |
//! | squeeze node | leader | the same and jupyter | likewise |
//! | disk-full brick | any | storage: the others take the files, and the self-heal has work | likewise |
//! | disk-full brick | majority, all | storage jupyter: nothing can be saved | likewise |
//! | pause, isolate, loss, slow-link brick | any | storage jupyter: a silent brick stalls the volume for 10 s | likewise |
//! | squeeze brick | any | storage jupyter: every save waits for its syncs | likewise |
//! | any, bird | not the leader's | hosts ssh etcd network: nobody has a route to the host's nodes | 20 s after the undo: BGP, leases, tables |
//! | any, bird | the leader's | the same and jupyter | likewise |
//! | any, proxy | | jupyter; cut off, or heard badly, also network | 20 s after the undo |
//! | kill host | not the leader's | hosts ssh storage etcd mesos network | 60 s after the undo: it boots, heals, and its nodes join |
//! | any other, host | any | the same and jupyter: its silent brick stalls the volume for 10 s | likewise |
//! | kill host | the leader's | the same and jupyter | likewise |
//! | tamper hosts, lease | any | hosts ssh: its names, or its place in the others' tables, are gone for a moment | 10 s after the injection |
//! | tamper authorized-keys | any | ssh | likewise |
//! | tamper etcd-data | follower | hosts ssh storage etcd network | 30 s after the injection: another member votes |
//! | tamper etcd-data | leader | the same and jupyter | likewise |
//! | blackout | | everything | 90 s after the undo: everything boots, elects, heals and joins |
//!
//! Who loses a quorum, loses the leader. A part that is heard badly (loss, slow-link) may break what one that is cut off breaks, and needn't.
//!
//! A node that dies while Mesos or ZooKeeper is in trouble needs them first, and one that takes etcd's quorum along needs another:
//! it gets twice the time.

use std::collections::BTreeMap;
use std::time::Duration;

use stormbed::clock::Millis;

use super::Name;
use crate::fault::life::Stage;
use crate::fault::{Damage, Fault, FaultKind, Role, TargetClass};
use crate::scenario::physics::is_held;

/// A killed node is replaced and votes again within this time of its death (20 s are promised, 10 s are for the machine).
pub const HEAL_MS: u64 = 30_000;
/// A thawed node is in everybody's tables again within this time: a lease (5 s), an agent that checks itself, a watch.
pub const THAW_MS: u64 = 15_000;
/// A master or scheduler that comes back: a session (10 s) until the next leader, then all agents and the framework register.
pub const MASTER_MS: u64 = 20_000;
/// An agent that comes back looks for its containers and registers with the leading master (back-off below a second).
pub const AGENT_MS: u64 = 15_000;
/// A ZooKeeper server that comes back joins and syncs.
pub const ZOOKEEPER_MS: u64 = 10_000;
/// A brick that comes back: its clients connect again (up to 10 s), and a heal (5–20 s).
pub const BRICK_MS: u64 = 30_000;
/// Routes come back: BGP connects again (2 s), then leases and tables as after a thaw.
pub const ROUTE_MS: u64 = 20_000;
/// A host that comes back: engine and volume (10 s), a heal (5–20 s), then its nodes as after a death.
pub const HOST_MS: u64 = 60_000;

/// What a node keeps is repaired within a second; a login that failed meanwhile is tried again 5 s later.
pub const TAMPER_MS: u64 = 10_000;
/// Everything comes back from nothing: hosts as after a death (60 s), and what they need of the others must boot and elect before.
pub const BLACKOUT_MS: u64 = 90_000;

/// What a fault excuses.
#[must_use]
pub fn excused(fault: &Fault) -> &'static [Name] {
    use Name::{Etcd, Hosts, Jupyter, Mesos, Network, Ssh, Storage, ZooKeeper};
    if let FaultKind::Tamper { what } = fault.kind {
        match what {
            Damage::Hosts | Damage::Lease => return &[Hosts, Ssh],
            Damage::AuthorizedKeys => return &[Ssh],
            // Its etcd is gone, and comes back as another member.
            Damage::EtcdData => {}
        }
    }
    // Without a quorum nobody leads.
    let led = fault.led() || takes_quorum(fault);
    // What is squeezed may end of it.
    let squeezed = matches!(fault.kind, FaultKind::Squeeze { .. });
    let ends = squeezed || matches!(fault.kind, FaultKind::Kill | FaultKind::Stop | FaultKind::Oom);
    match fault.target.class {
        TargetClass::Node if ends && led => &[Hosts, Ssh, Jupyter, Storage, Etcd, Mesos, Network],
        TargetClass::Node if ends => &[Hosts, Ssh, Storage, Etcd, Mesos, Network],
        TargetClass::Node | TargetClass::Etcd if led => &[Hosts, Ssh, Jupyter, Storage, Etcd, Network],
        TargetClass::Node | TargetClass::Etcd => &[Hosts, Ssh, Storage, Etcd, Network],
        TargetClass::NodeAgent if led => &[Hosts, Ssh, Jupyter, Etcd, Network],
        TargetClass::NodeAgent => &[Hosts, Ssh, Etcd, Network],
        TargetClass::Sshd => &[Ssh],
        // Cut off, the edge as a whole.
        TargetClass::Proxy if fault.kind.is_of_network() => &[Jupyter, Network],
        TargetClass::Jupyter | TargetClass::Proxy => &[Jupyter],
        TargetClass::MesosMaster | TargetClass::MesosAgent => &[Mesos],
        TargetClass::ZooKeeper if led => &[ZooKeeper, Mesos],
        TargetClass::ZooKeeper => &[ZooKeeper],
        TargetClass::Framework if led => &[Mesos],
        TargetClass::Framework | TargetClass::NetworkDriver => &[],
        // A process that ends closes its connections; one that falls silent keeps everybody waiting.
        TargetClass::Brick if fault.kind == FaultKind::DiskFull && !takes_quorum(fault) => &[Storage],
        TargetClass::Brick if !squeezed && ends || fault.kind == FaultKind::Restart => &[Storage],
        TargetClass::Brick => &[Storage, Jupyter],
        TargetClass::Bird if led => &[Hosts, Ssh, Jupyter, Etcd, Network],
        TargetClass::Bird => &[Hosts, Ssh, Etcd, Network],
        TargetClass::Topology => &Name::ALL,
        TargetClass::Host if fault.kind == FaultKind::Kill && !led => &[Hosts, Ssh, Storage, Etcd, Mesos, Network],
        TargetClass::Host => &[Hosts, Ssh, Jupyter, Storage, Etcd, Mesos, Network],
    }
}

/// Whoever is left can decide nothing.
fn takes_quorum(fault: &Fault) -> bool {
    fault.took_quorum || matches!(fault.target.role, Role::Majority | Role::All)
}

/// The end of a fault's excuses; none while it is held, or if it was never made.
#[must_use]
pub fn ends(fault: &Fault, others: &[Fault]) -> Option<Millis> {
    let began = fault.began()?;
    let after = |start: Millis, ms: u64| start + Duration::from_millis(ms);
    let undone = |ms| fault.life.undone.map(|at| after(at, ms));
    match fault.target.class {
        TargetClass::Node if matches!(fault.kind, FaultKind::Tamper { .. }) && !fault.kind.loses_data() => {
            Some(after(began, TAMPER_MS))
        }
        class if class.is_of_node() && !is_held(fault.kind, class) => {
            let troubled = takes_quorum(fault) || others.iter().any(|other| overlaps(other, began));
            Some(after(began, if troubled { 2 * HEAL_MS } else { HEAL_MS }))
        }
        class if class.is_of_node() && matches!(fault.kind, FaultKind::Squeeze { .. }) => undone(HEAL_MS),
        class if class.is_of_node() => undone(THAW_MS),
        TargetClass::MesosMaster | TargetClass::Framework => undone(MASTER_MS),
        TargetClass::ZooKeeper if takes_quorum(fault) => undone(ZOOKEEPER_MS + MASTER_MS),
        TargetClass::ZooKeeper => undone(ZOOKEEPER_MS),
        TargetClass::Host => undone(HOST_MS),
        TargetClass::Topology => undone(BLACKOUT_MS),
        TargetClass::Brick => undone(BRICK_MS),
        TargetClass::Bird | TargetClass::Proxy => undone(ROUTE_MS),
        _ => undone(AGENT_MS),
    }
}

/// A fault of Mesos or ZooKeeper that is in force some time while a node that died at `began` is being replaced.
fn overlaps(other: &Fault, began: Millis) -> bool {
    if other.target.class.is_of_node() || other.life.stage == Stage::Skipped {
        return false;
    }
    let Some(from) = other.began() else {
        return false;
    };
    from < began + Duration::from_millis(HEAL_MS) && other.life.undone.is_none_or(|to| to > began)
}

/// Invariants that some fault excuses at some time between `from` and `to`, with that fault's id.
#[must_use]
pub fn excuses(faults: &[Fault], from: Millis, to: Millis) -> BTreeMap<Name, String> {
    let mut excuses = BTreeMap::new();
    for fault in faults {
        let Some(began) = fault.began() else {
            continue;
        };
        let over = ends(fault, faults).is_some_and(|end| end < from);
        if began > to || over || fault.life.stage == Stage::Skipped {
            continue;
        }
        for name in excused(fault) {
            excuses.entry(*name).or_insert_with(|| fault.id.clone());
        }
    }
    excuses
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::cut::Way;
    use stormbed::outpost::link::Link;

    use super::*;
    use crate::fault::{Means, PeerSet, Peers, Target, fixture};

    fn fault(id: &str, kind: FaultKind, class: TargetClass, began: u64) -> Fault {
        let role = Role::Any;
        let mut fault = Fault::planned("t", id, kind, Target::new(class, role));
        fault.life.begin(Millis(began)).expect("legal");
        fault
    }

    fn led(mut fault: Fault) -> Fault {
        let mut victim = fixture::part(fault.target.class, "x", "c");
        victim.led = true;
        fault.victims = vec![victim];
        fault
    }

    fn names(faults: &[Fault], at: u64) -> Vec<Name> {
        excuses(faults, Millis(at), Millis(at)).into_keys().collect()
    }

    #[test]
    fn a_held_fault_excuses_from_its_begin_until_a_bound_after_its_undo() {
        let mut master = fault("s1", FaultKind::Kill, TargetClass::MesosMaster, 1_000);
        assert_eq!(names(std::slice::from_ref(&master), 999), []);
        assert_eq!(names(std::slice::from_ref(&master), 500_000), [Name::Mesos]);
        master.life.step(Stage::Undone, Millis(5_000)).expect("legal");
        assert_eq!(names(std::slice::from_ref(&master), 5_000 + MASTER_MS), [Name::Mesos]);
        assert_eq!(names(std::slice::from_ref(&master), 5_001 + MASTER_MS), []);
    }

    #[test]
    fn a_killed_node_is_healed_within_a_bound_of_its_death() {
        let node = fault("s1", FaultKind::Kill, TargetClass::Node, 1_000);
        assert!(names(std::slice::from_ref(&node), 1_000 + HEAL_MS).contains(&Name::Etcd));
        assert_eq!(names(std::slice::from_ref(&node), 1_001 + HEAL_MS), []);
        let master = fault("s2", FaultKind::Kill, TargetClass::MesosMaster, 500);
        assert!(names(&[node, master], 1_000 + 2 * HEAL_MS).contains(&Name::Etcd));
    }

    #[test]
    fn only_a_leaders_loss_excuses_jupyter() {
        for kind in [FaultKind::Kill, FaultKind::Pause, FaultKind::PARTITION] {
            let follower = fault("s1", kind, TargetClass::Node, 1);
            assert!(!excused(&follower).contains(&Name::Jupyter));
            assert!(excused(&led(follower)).contains(&Name::Jupyter));
        }
    }

    #[test]
    fn mesos_in_trouble_excuses_nothing_of_the_cluster_that_it_runs() {
        let isolate = FaultKind::isolate(Peers::ZooKeeper);
        let mut majority = fault("s1", FaultKind::Kill, TargetClass::ZooKeeper, 1);
        majority.target.role = Role::Majority;
        for fault in [
            majority,
            fault("s1", FaultKind::Kill, TargetClass::MesosAgent, 1),
            fault("s1", FaultKind::Pause, TargetClass::Framework, 1),
            led(fault("s1", FaultKind::Pause, TargetClass::Framework, 1)),
            led(fault("s1", isolate, TargetClass::MesosMaster, 1)),
        ] {
            let more = excused(&fault).iter().find(|name| !matches!(name, Name::Mesos | Name::ZooKeeper));
            assert_eq!(more, None, "{fault:?}");
        }
    }

    #[test]
    fn damage_excuses_what_it_breaks_until_it_must_be_healed() {
        let tamper = |what| led(fault("s1", FaultKind::Tamper { what }, TargetClass::Node, 1_000));
        for (what, breaks) in [
            (Damage::Hosts, &[Name::Hosts, Name::Ssh][..]),
            (Damage::AuthorizedKeys, &[Name::Ssh]),
            (Damage::Lease, &[Name::Hosts, Name::Ssh]),
        ] {
            assert_eq!(names(&[tamper(what)], 1_000 + TAMPER_MS), breaks);
            assert_eq!(names(&[tamper(what)], 1_001 + TAMPER_MS), []);
        }
        let lost = tamper(Damage::EtcdData);
        assert!(names(std::slice::from_ref(&lost), 1_000 + HEAL_MS).contains(&Name::Jupyter));
        assert!(!names(std::slice::from_ref(&lost), 1_000 + HEAL_MS).contains(&Name::Mesos));
        assert_eq!(names(&[lost], 1_001 + HEAL_MS), []);
    }

    #[test]
    fn a_blackout_excuses_everything_until_everything_must_be_back() {
        let mut cut = fault("s1", FaultKind::Blackout, TargetClass::Topology, 1_000);
        assert_eq!(names(std::slice::from_ref(&cut), 2_000).len(), Name::ALL.len());
        cut.life.step(Stage::Undone, Millis(9_000)).expect("legal");
        assert_eq!(names(std::slice::from_ref(&cut), 9_000 + BLACKOUT_MS).len(), Name::ALL.len());
        assert_eq!(names(&[cut], 9_001 + BLACKOUT_MS), []);
    }

    #[test]
    fn what_is_squeezed_may_die_of_it_and_is_healed_after_the_undo() {
        let kind = FaultKind::Squeeze { what: Means::Cpu { percent: 10 } };
        let mut squeezed = fault("s1", kind, TargetClass::Node, 1_000);
        assert!(excused(&squeezed).contains(&Name::Mesos) && !excused(&squeezed).contains(&Name::Jupyter));
        squeezed.life.step(Stage::Undone, Millis(9_000)).expect("legal");
        assert!(names(std::slice::from_ref(&squeezed), 9_000 + HEAL_MS).contains(&Name::Etcd));
        assert_eq!(names(&[squeezed], 9_001 + HEAL_MS), []);
    }

    #[test]
    fn a_bad_disk_excuses_what_waits_for_it_and_an_oom_what_a_kill_does() {
        let bad = |class| excused(&fault("s1", FaultKind::Squeeze { what: Means::Fsync }, class, 1));
        assert_eq!(bad(TargetClass::Brick), [Name::Storage, Name::Jupyter]);
        assert!(bad(TargetClass::Etcd).contains(&Name::Etcd) && !bad(TargetClass::Etcd).contains(&Name::Mesos));
        assert_eq!(bad(TargetClass::ZooKeeper), [Name::ZooKeeper]);
        let mut etcd = fault("s1", FaultKind::Squeeze { what: Means::Fsync }, TargetClass::Etcd, 1);
        etcd.life.step(Stage::Undone, Millis(9_000)).expect("legal");
        assert_eq!(ends(&etcd, &[]), Some(Millis(9_000 + HEAL_MS)));
        for class in [TargetClass::Node, TargetClass::Etcd, TargetClass::Sshd, TargetClass::Jupyter] {
            let [oom, kill] = [FaultKind::Oom, FaultKind::Kill].map(|kind| fault("s1", kind, class, 1));
            assert_eq!(excused(&oom), excused(&kill), "{class}");
            assert_eq!(ends(&oom, &[]), ends(&kill, &[]), "{class}");
        }
    }

    #[test]
    fn a_full_disk_excuses_jupyter_only_when_no_majority_has_room() {
        let mut full = fault("s1", FaultKind::DiskFull, TargetClass::Brick, 1);
        assert_eq!(excused(&full), [Name::Storage]);
        full.target.role = Role::All;
        assert_eq!(excused(&full), [Name::Storage, Name::Jupyter]);
    }

    #[test]
    fn what_takes_a_quorum_takes_the_leader() {
        let mut last = fault("s1.3", FaultKind::Kill, TargetClass::Node, 1_000);
        assert!(!excused(&last).contains(&Name::Jupyter));
        last.took_quorum = true;
        assert!(excused(&last).contains(&Name::Jupyter));
        assert!(names(std::slice::from_ref(&last), 1_000 + 2 * HEAL_MS).contains(&Name::Etcd));
    }

    #[test]
    fn a_part_that_is_heard_badly_excuses_what_one_that_is_cut_off_does() {
        let from = PeerSet::EVERYONE;
        let loss = FaultKind::Loss { from, way: Way::Both, percent: 30 };
        let slow = FaultKind::SlowLink { from, link: Link { delay_ms: 100, ..Link::default() } };
        for class in FaultKind::isolate(Peers::Everyone).targets() {
            let excused_by = |kind| (excused(&fault("s1", kind, class, 1)), excused(&led(fault("s1", kind, class, 1))));
            let cut_off = excused_by(FaultKind::isolate(Peers::Everyone));
            assert_eq!(excused_by(loss), cut_off, "{class}");
            assert_eq!(excused_by(slow), cut_off, "{class}");
        }
        assert!(excused(&fault("s1", loss, TargetClass::Proxy, 1)).contains(&Name::Network));
    }

    #[test]
    fn a_silent_brick_excuses_jupyter_and_a_dead_one_does_not() {
        let host = |kind| fault("s1", kind, TargetClass::Host, 1);
        assert!(!excused(&host(FaultKind::Kill)).contains(&Name::Jupyter));
        assert!(excused(&host(FaultKind::isolate(Peers::Everyone))).contains(&Name::Jupyter));
    }
}

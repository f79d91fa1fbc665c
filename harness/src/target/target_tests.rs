//! Choices and the quorum rule on a small made-up cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;
use stormbed::clock::Millis;
use stormbed::outpost::processes::ProcessView;
use stormbed::outpost::protocol::{ContainerState, MachineView, MasterView, MesosView, ZooKeeperServer, ZooKeeperView};

use super::quorum::{keeps_data, keeps_quorum};
use super::*;
use crate::fault::{Damage, FaultKind};
use crate::invariant::truth::{EtcdLeader, MesosLeader, ZooKeeperLeader};
use crate::observe::observation::{Deep, Fast, PartView, Probe, RunnerView};

fn probe<T>(result: T) -> Probe<T> {
    Probe { begin: Millis(0), end: Millis(1), result: Ok(result) }
}

fn names(prefix: &str) -> Vec<String> {
    (1..=3).map(|k| format!("{prefix}-{k}")).collect()
}

fn shape() -> Shape {
    let addresses = (0..5).map(|slot| (slot, Ipv4Addr::from(slot))).collect();
    Shape {
        prefix: "storm".into(),
        cluster: "storm".into(),
        addresses,
        pool: String::new(),
        machines: BTreeMap::new(),
        hosts: names("host"),
        masters: names("master").into_iter().map(|n| (n.clone(), n)).collect(),
        zookeepers: names("zk"),
        frameworks: Vec::new(),
        framework_name: String::new(),
        jupyter_port: 8888,
        edge: "edge".into(),
    }
}

fn seen() -> Observation {
    let part = |name: String| {
        let id = format!("id-{name}");
        let view = PartView { id, state: ContainerState::Running };
        (name, view)
    };
    let master = |name: String| {
        let view = MasterView { elected: name == "master-2", redirect: Some("master-2".into()), state: None };
        (name, Ok(view))
    };
    let server = |name: String| {
        let mode = if name == "zk-3" { "leader" } else { "follower" };
        let view = ZooKeeperServer { mode: mode.into(), epoch: 4 };
        (name, Ok(view))
    };
    let parts = ["master", "zk", "host"].into_iter().flat_map(names).map(part);
    let fast = Fast {
        parts: probe(parts.collect()),
        containers: BTreeMap::new(),
        routes: BTreeMap::new(),
        machines: BTreeMap::new(),
        etcd_before: probe(BTreeMap::new()),
        etcd_after: probe(BTreeMap::new()),
        mesos: probe(MesosView { masters: names("master").into_iter().map(master).collect(), agents: BTreeMap::new() }),
        zookeeper: probe(ZooKeeperView {
            servers: names("zk").into_iter().map(server).collect(),
            election: Ok(Vec::new()),
            schedulers: Ok(Vec::new()),
        }),
        status: Probe { begin: Millis(0), end: Millis(1), result: Err("not asked".into()) },
    };
    Observation {
        tick: 0,
        begin: Millis(0),
        end: Millis(1),
        runner: RunnerView::default(),
        fast,
        deep: Deep::default(),
    }
}

fn truth() -> Truth {
    let node = |slot: Slot| {
        let node = RunningNode { incarnation: 1, container: format!("c{slot}"), host: "host-1".into() };
        (slot, vec![node])
    };
    Truth {
        members: (0..5).collect(),
        running: (0..5).map(node).collect(),
        etcd_leader: Some(EtcdLeader { slot: 2, member: 0xab, term: 7 }),
        zookeeper_leader: Some(ZooKeeperLeader { name: "zk-3".into(), epoch: 4 }),
        mesos_leader: Some(MesosLeader { name: "master-2".into(), znode: Some("json.info_1".into()) }),
        ..Truth::default()
    }
}

/// Names of all candidates.
fn who(class: TargetClass, role: Role, truth: &Truth, hit: &BTreeSet<String>) -> Vec<String> {
    let (shape, seen) = (shape(), seen());
    let scene = Scene { seen: &seen, truth, shape: &shape, hit, previous_host: None };
    let found = candidates(&Target::new(class, role), &scene);
    assert!(found.iter().all(|victim| victim.class == class));
    found.into_iter().map(|victim| victim.name).collect()
}

#[test]
fn a_topology_is_every_machine_as_what_it_is() {
    let (mut seen, truth, shape, none) = (seen(), truth(), shape(), BTreeSet::new());
    let parts = seen.fast.parts.result.as_mut().expect("seen");
    parts.insert("edge".into(), PartView { id: "id-edge".into(), state: ContainerState::Running });
    let target = Target::new(TargetClass::Topology, Role::All);
    let resolved = |seen: &Observation| {
        let scene = Scene { seen, truth: &truth, shape: &shape, hit: &none, previous_host: None };
        resolve(&target, &scene, 1, "s1").expect("somebody is there")
    };
    let victims = resolved(&seen);
    assert_eq!(victims.len(), 10, "{victims:?}");
    let class = |name: &str| victims.iter().find(|victim| victim.name == name).map(|victim| victim.class);
    assert_eq!(class("host-2"), Some(TargetClass::Host));
    assert_eq!(class("zk-3"), Some(TargetClass::ZooKeeper));
    assert_eq!(class("master-1"), Some(TargetClass::MesosMaster));
    assert_eq!(class("edge"), Some(TargetClass::Topology));
}

#[test]
fn a_majority_never_loses_its_data_whatever_a_file_allows() {
    let (seen, truth, shape, none) = (seen(), truth(), shape(), BTreeSet::new());
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &none, previous_host: None };
    let all = candidates(&Target::new(TargetClass::Node, Role::Any), &scene);
    let (lost, hosts) = (FaultKind::Tamper { what: Damage::EtcdData }, FaultKind::Tamper { what: Damage::Hosts });
    assert_eq!(keeps_data(lost, &all[..2], &scene), Ok(()));
    assert!(keeps_data(lost, &all[..3], &scene).is_err());
    assert_eq!(keeps_data(hosts, &all, &scene), Ok(()), "that is written again");
    assert_eq!(keeps_data(FaultKind::Kill, &all, &scene), Ok(()), "they come back with their data");
    let hit = BTreeSet::from(["c0".to_owned()]);
    let scene = Scene { hit: &hit, ..scene };
    assert!(keeps_data(lost, &all[1..3], &scene).is_err(), "one isn't back yet");
}

#[test]
fn roles_mean_those_who_hold_them() {
    use TargetClass::{MesosMaster, Node, ZooKeeper};
    let (truth, none) = (truth(), BTreeSet::new());
    let who = |class, role| who(class, role, &truth, &none);
    assert_eq!(who(Node, Role::Leader), ["storm-s2"]);
    assert_eq!(who(Node, Role::Slot(4)), ["storm-s4"]);
    assert_eq!(who(Node, Role::Any).len(), 5);
    let followers = ["storm-s0", "storm-s1", "storm-s3", "storm-s4"];
    assert_eq!(who(Node, Role::Follower), followers);
    assert_eq!(who(MesosMaster, Role::Leader), ["master-2"]);
    assert_eq!(who(MesosMaster, Role::Follower), ["master-1", "master-3"]);
    assert_eq!(who(ZooKeeper, Role::Leader), ["zk-3"]);
    assert_eq!(who(ZooKeeper, Role::Any).len(), 3);
}

#[test]
fn without_a_leader_nobody_leads_and_nobody_follows() {
    let truth = Truth { etcd_leader: None, mesos_leader: None, zookeeper_leader: None, ..truth() };
    let none = BTreeSet::new();
    for class in [TargetClass::Node, TargetClass::MesosMaster, TargetClass::ZooKeeper] {
        assert!(who(class, Role::Leader, &truth, &none).is_empty());
        assert!(who(class, Role::Follower, &truth, &none).is_empty());
        assert!(!who(class, Role::Any, &truth, &none).is_empty());
    }
}

#[test]
fn what_is_hit_already_is_no_target() {
    let hit = BTreeSet::from(["c2".to_owned(), "id-zk-1".to_owned()]);
    let truth = truth();
    assert!(who(TargetClass::Node, Role::Leader, &truth, &hit).is_empty());
    assert_eq!(who(TargetClass::ZooKeeper, Role::Any, &truth, &hit), ["zk-2", "zk-3"]);
}

#[test]
fn a_leader_is_pinned_to_its_incarnation_and_term() {
    let (shape, seen, truth, hit) = (shape(), seen(), truth(), BTreeSet::new());
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let target = Target::new(TargetClass::Node, Role::Leader);
    let victim = candidates(&target, &scene).pop().expect("slot 2 leads");
    assert_eq!(victim.container, "c2");
    assert_eq!(victim.node, Some((2, 1)));
    assert_eq!(victim.term, Some(7));
    assert!(victim.led);
}

#[test]
fn a_choice_depends_on_seed_and_fault_alone_and_reaches_everyone() {
    let (shape, seen, truth, hit) = (shape(), seen(), truth(), BTreeSet::new());
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let target = Target::new(TargetClass::Node, Role::Any);
    let pick = |seed, fault: &str| {
        let victims = resolve(&target, &scene, seed, fault);
        victims.map(|victims| victims[0].name.clone())
    };
    assert_eq!(pick(1, "s3.14"), pick(1, "s3.14"));
    let reached: BTreeSet<_> = (0..100).map(|k| pick(1, &format!("s3.{k}"))).collect();
    assert_eq!(reached.len(), 5);
    assert_eq!(choose(Vec::new(), Count { all: 1, first: 0 }, 1, "s1"), None);
}

#[test]
fn a_share_names_as_many_as_it_says_each_once() {
    let (shape, seen, truth, hit) = (shape(), seen(), truth(), BTreeSet::new());
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let names = |class, role, seed| {
        let victims = resolve(&Target::new(class, role), &scene, seed, "s1").expect("enough of them");
        victims.into_iter().map(|victim| victim.name).collect::<Vec<_>>()
    };
    let mut companions = BTreeSet::new();
    for seed in 0..50 {
        let majority = names(TargetClass::ZooKeeper, Role::Majority, seed);
        assert_eq!(majority.iter().collect::<BTreeSet<_>>().len(), 2, "{majority:?}");
        assert_eq!(names(TargetClass::ZooKeeper, Role::Minority, seed).len(), 1);
        let minority = names(TargetClass::Node, Role::MinorityWithLeader, seed);
        assert_eq!((minority.len(), minority[0].as_str()), (2, "storm-s2"), "{minority:?}");
        companions.insert(minority[1].clone());
    }
    assert_eq!(companions.len(), 4, "any follower may be the other one");
    let leaderless = Truth { etcd_leader: None, ..truth.clone() };
    let scene = Scene { truth: &leaderless, ..scene };
    let target = Target::new(TargetClass::Node, Role::MinorityWithLeader);
    assert_eq!(resolve(&target, &scene, 1, "s1"), None, "without a leader there is no such minority");
}

#[test]
fn hosts_and_their_agents_are_named_by_number_and_by_the_leader() {
    let (shape, mut seen, truth, hit) = (shape(), seen(), truth(), BTreeSet::new());
    let leaders = truth.host_of(2).expect("slot 2 runs").clone();
    for host in &shape.hosts {
        let processes = BTreeMap::from([("agent".to_owned(), ProcessView { pid: 9, started_ticks: 1 })]);
        seen.fast.machines.insert(host.clone(), probe(MachineView { processes, ..MachineView::default() }));
    }
    seen.fast.machines.remove("host-3");
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let names = |class, role| {
        let all = candidates(&Target::new(class, role), &scene).into_iter();
        all.map(|victim| victim.name).collect::<Vec<_>>()
    };
    assert_eq!(names(TargetClass::Host, Role::OfLeader), std::slice::from_ref(&leaders));
    assert_eq!(names(TargetClass::Host, Role::NotOfLeader).len(), 2);
    assert!(!names(TargetClass::Host, Role::NotOfLeader).contains(&leaders));
    assert_eq!(names(TargetClass::Host, Role::Number(2)), ["host-2"]);
    assert_eq!(names(TargetClass::Host, Role::Number(7)), [""; 0]);
    assert_eq!(names(TargetClass::MesosAgent, Role::Any), ["host-1", "host-2"], "host-3's process was not seen");
    let agent = candidates(&Target::new(TargetClass::MesosAgent, Role::Number(1)), &scene);
    assert_eq!(agent[0].process, Some(ProcessView { pid: 9, started_ticks: 1 }));
}

#[test]
fn recorded_victims_are_found_by_name_whatever_they_are_now() {
    let (shape, seen, truth) = (shape(), seen(), truth());
    let hit = BTreeSet::from(["c4".to_owned()]);
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let find = |names: &[&str], class| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = recorded(&names, class, &scene);
        found.map(|victims| victims.into_iter().map(|victim| victim.container).collect::<Vec<_>>())
    };
    assert_eq!(find(&["storm-s3", "storm-s1"], TargetClass::Node), Ok(vec!["c3".into(), "c1".into()]));
    assert_eq!(find(&["master-2"], TargetClass::MesosMaster), Ok(vec!["id-master-2".into()]));
    let why = find(&["storm-s1", "storm-s4"], TargetClass::Node).expect_err("slot 4 is hit already");
    assert!(why.contains("storm-s4") && !why.contains("storm-s1"), "{why}");
    assert!(find(&[], TargetClass::Node).expect_err("nobody").contains("hit nobody"));
}

/// Who may be killed when these nodes settle and these containers are hit.
fn allowed(class: TargetClass, settling: &[Slot], hit: &[&str]) -> usize {
    let truth = Truth { settling: settling.iter().copied().collect(), ..truth() };
    let hit = hit.iter().map(|id| (*id).to_owned()).collect();
    let (shape, seen) = (shape(), seen());
    let scene = Scene { seen: &seen, truth: &truth, shape: &shape, hit: &hit, previous_host: None };
    let role = Role::Any;
    let all = candidates(&Target::new(class, role), &scene);
    let keeps = |victim: &&Victim| keeps_quorum(std::slice::from_ref(*victim), &scene).is_ok();
    all.iter().filter(keeps).count()
}

#[test]
fn a_storm_keeps_every_quorum() {
    use TargetClass::{MesosMaster, Node, ZooKeeper};
    assert_eq!(allowed(Node, &[], &[]), 5);
    // One away: any other may go. Two away: nobody may, or three would be gone of five.
    assert_eq!(allowed(Node, &[], &["c0"]), 4);
    assert_eq!(allowed(Node, &[], &["c0", "c1"]), 0);
    // Who settles is no support, but may itself be hit.
    assert_eq!(allowed(Node, &[3], &["c0"]), 1);
    assert_eq!(allowed(MesosMaster, &[], &[]), 3);
    assert_eq!(allowed(MesosMaster, &[], &["id-master-1"]), 0);
    assert_eq!(allowed(ZooKeeper, &[], &["id-zk-1"]), 0);
}

proptest! {
    /// Whatever has been hit: who may go leaves three of five behind.
    #[test]
    fn a_majority_always_stays(hit in proptest::collection::btree_set(0u32..5, 0..5)) {
        let ids: Vec<String> = hit.iter().map(|slot| format!("c{slot}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let may = allowed(TargetClass::Node, &[], &ids);
        let expected = if 5 - hit.len() > 3 { 5 - hit.len() } else { 0 };
        prop_assert_eq!(may, expected);
    }
}

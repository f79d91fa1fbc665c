use super::*;
use crate::invariant::fixture::{Cluster, Roles, hosts_file_of};

#[test]
fn a_steady_cluster_shows_its_roles() {
    let cluster = Cluster::steady();
    let truth = cluster.truth();
    assert_eq!(truth.members, BTreeSet::from([0, 1, 2, 3, 4]));
    assert!(truth.settling.is_empty() && truth.unsure.is_empty());
    assert_eq!(truth.etcd_leader.as_ref().map(|l| l.slot), Some(2));
    assert_eq!(truth.zookeeper_leader.as_ref().map(|l| l.name.as_str()), Some("zk-2"));
    assert_eq!(truth.mesos_leader.as_ref().map(|l| l.name.as_str()), Some("master-1"));
    assert_eq!(truth.serving_jupyter, BTreeSet::from([2]));
    assert!(truth.jupyter_answers);
}

#[test]
fn a_leader_needs_a_majority_itself_and_both_looks() {
    let mut minority = Cluster::steady();
    for slot in [0, 1, 3] {
        minority.etcd_view(slot).leader_id = 0;
    }
    assert_eq!(minority.truth().etcd_leader, None);
    let mut silent = Cluster::steady();
    silent.etcd_view(2).leader_id = 0;
    assert_eq!(silent.truth().etcd_leader, None, "it doesn't confirm itself");
    let mut moving = Cluster::steady();
    if let Ok(views) = &mut moving.seen.fast.etcd_before.result {
        for view in views.values_mut().flatten() {
            view.term -= 1;
        }
    }
    assert_eq!(moving.truth().etcd_leader, None, "another term before than after");
}

#[test]
fn a_frozen_or_learning_or_cut_off_node_is_no_member() {
    let mut cluster = Cluster::steady();
    cluster.container(0).state = ContainerState::Paused;
    cluster.etcd_view(1).learner = true;
    cluster.etcd_view(3).leader_id = 0;
    assert_eq!(cluster.truth().members, BTreeSet::from([2, 4]));
}

#[test]
fn a_new_container_settles_and_a_silent_member_is_unsure() {
    let mut cluster = Cluster::steady();
    cluster.container(3).id = "new".into();
    let truth = cluster.truth();
    assert!(truth.members.contains(&3) && truth.settling.contains(&3));
    let mut cluster = Cluster::steady();
    cluster.etcd_fails(4, "timed out");
    let truth = cluster.truth();
    assert!(!truth.members.contains(&4) && truth.unsure.contains(&4));
}

#[test]
fn a_host_that_is_not_seen_leaves_its_nodes_unsure() {
    let mut cluster = Cluster::steady();
    for probe in cluster.seen.fast.containers.values_mut() {
        probe.result = Err("no answer".into());
    }
    let truth = cluster.truth();
    assert_eq!(truth.unsure.len(), 5);
    assert!(truth.serving_jupyter.is_empty(), "nothing was seen to listen in this tick");
}

#[test]
fn a_slot_is_forgotten_when_no_other_member_names_it() {
    let mut cluster = Cluster::steady();
    assert!(!cluster.truth().is_forgotten(3));
    let mut without = Roles::default();
    without.present.remove(&3);
    for slot in [0, 1, 2] {
        cluster.container(slot).hosts_file = Ok(hosts_file_of(&without));
    }
    assert!(!cluster.truth().is_forgotten(3), "slot 4 still names it");
    cluster.container(4).hosts_file = Err("no such process".into());
    assert!(!cluster.truth().is_forgotten(3), "nobody knows what slot 4 names");
    cluster.container(4).hosts_file = Ok(hosts_file_of(&without));
    assert!(cluster.truth().is_forgotten(3));
}

#[test]
fn nothing_runs_on_a_machine_that_is_down_or_frozen() {
    for state in [ContainerState::Exited, ContainerState::Paused] {
        let mut cluster = Cluster::steady();
        cluster.part("host-1").state = state;
        cluster.seen.fast.containers.get_mut("host-1").expect("a host").result = Err("no answer".into());
        let truth = cluster.truth();
        assert!(truth.running.keys().eq([1, 2, 4].iter()), "{state:?}: {:?}", truth.running);
        assert!(truth.unsure.is_empty());
    }
}

#[test]
fn of_two_that_run_one_slot_the_newest_is_meant() {
    let mut cluster = Cluster::steady();
    let mut second = cluster.container(0).clone();
    second.id = "newer".into();
    second.incarnation = 2;
    cluster.containers("host-2").push(second);
    let incarnations: Vec<_> = cluster.truth().running[&0].iter().map(|node| node.incarnation).collect();
    assert_eq!(incarnations, [2, 1]);
}

#[test]
fn the_active_scheduler_is_elected_and_subscribed() {
    let mut cluster = Cluster::steady();
    assert_eq!(cluster.truth().active_framework.as_deref(), Some("framework-1"));
    cluster.state().frameworks[0].hostname = "198.18.0.32".into();
    assert_eq!(cluster.truth().active_framework, None, "another one is subscribed still");
    let mut cluster = Cluster::steady();
    cluster.zookeeper().schedulers = Ok(vec![]);
    assert_eq!(cluster.truth().active_framework, None, "nobody is elected");
}

#[test]
fn two_leading_masters_are_none() {
    let mut cluster = Cluster::steady();
    cluster.master("master-2").elected = true;
    assert_eq!(cluster.truth().mesos_leader, None);
}

#[test]
fn names_follow_the_leader_in_slot_order_without_gaps() {
    let names = Truth::names("storm", 2, &BTreeSet::from([0, 2, 4]));
    let expected = [("storm-0", 2), ("storm-1", 0), ("storm-2", 4)];
    assert_eq!(names, expected.map(|(n, s)| (n.to_owned(), s)).into());
}

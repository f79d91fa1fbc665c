//! Aims: a live role becomes an incarnation at the moment of injection. Pure.
//!
//! What is chosen among equals comes from the plan's seed and the fault's own name, not from a shared stream of numbers: a
//! draw that is skipped doesn't change the next one's choice.

pub mod quorum;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use stormbed::config::Slot;
use stormbed::outpost::protocol::{ContainerState, ContainerView};

use crate::fault::{Role, Target, TargetClass, Victim};
use crate::invariant::truth::{RunningNode, Truth};
use crate::observe::observation::{Observation, Shape};

/// What a choice is made from.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The newest observation.
    pub seen: &'a Observation,
    /// The truth that it shows.
    pub truth: &'a Truth,
    /// The cluster.
    pub shape: &'a Shape,
    /// Containers that a fault has hit already and that nobody has seen well since: no targets, and no support for a quorum.
    pub hit: &'a BTreeSet<String>,
}

/// All that the aim could mean now, in a fixed order.
#[must_use]
pub fn candidates(target: &Target, scene: &Scene<'_>) -> Vec<Victim> {
    let all = match target.class {
        TargetClass::Node => nodes(target.role, scene),
        TargetClass::MesosMaster => masters(target.role, scene),
        TargetClass::ZooKeeper => zookeepers(target.role, scene),
    };
    all.into_iter().filter(|victim| !scene.hit.contains(&victim.container)).collect()
}

/// Chooses one, by seed and name.
#[must_use]
pub fn choose(mut among: Vec<Victim>, seed: u64, fault: &str) -> Option<Victim> {
    if among.is_empty() {
        return None;
    }
    let digest = Sha256::digest(format!("{seed}/{fault}"));
    let number = digest.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let count = u64::try_from(among.len()).unwrap_or(1);
    let index = usize::try_from(number % count).unwrap_or(0);
    Some(among.swap_remove(index))
}

fn nodes(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let truth = scene.truth;
    let leader = truth.etcd_leader.as_ref().map(|leader| leader.slot);
    let fits = |slot: Slot| match role {
        Role::Leader => leader == Some(slot),
        // Without a leader nobody is known to follow it.
        Role::Follower => leader.is_some() && leader != Some(slot) && truth.members.contains(&slot),
        Role::Any => truth.members.contains(&slot),
        Role::Slot(wanted) => wanted == slot,
    };
    let slots = truth.running.iter().filter(|(slot, _)| fits(**slot));
    slots.filter_map(|(slot, nodes)| nodes.first().map(|node| node_victim(*slot, node, scene))).collect()
}

fn node_victim(slot: Slot, node: &RunningNode, scene: &Scene<'_>) -> Victim {
    let view = container(scene.seen, node);
    let etcd = scene.seen.fast.etcd_after.result.as_ref().ok();
    let etcd = etcd.and_then(|all| all.get(&slot)?.as_ref().ok());
    let leader = scene.truth.etcd_leader.as_ref();
    let led = leader.is_some_and(|leader| leader.slot == slot);
    Victim {
        class: TargetClass::Node,
        name: view.map_or_else(|| format!("{}-s{slot}", scene.shape.prefix), |view| view.hostname.clone()),
        host: Some(node.host.clone()),
        container: node.container.clone(),
        node: Some((slot, node.incarnation)),
        member: etcd.map(|view| format!("{:x}", view.member_id)),
        term: match leader {
            Some(leader) if led => Some(leader.term),
            _ => etcd.map(|view| view.term),
        },
        led,
    }
}

fn container<'a>(seen: &'a Observation, node: &RunningNode) -> Option<&'a ContainerView> {
    let host = seen.fast.containers.get(&node.host)?.result.as_ref().ok()?;
    host.iter().find(|view| view.id == node.container)
}

fn masters(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let leader = scene.truth.mesos_leader.as_ref();
    let led = |name: &String| leader.is_some_and(|leader| leader.name == *name);
    let names = scene.shape.masters.keys();
    let fits = |name: &&String| match role {
        Role::Leader => led(name),
        Role::Follower => leader.is_some() && !led(name),
        Role::Any => true,
        Role::Slot(_) => false,
    };
    let victim = |name: &String| {
        let member = leader.filter(|_| led(name)).and_then(|l| l.znode.clone());
        part(TargetClass::MesosMaster, name, member, None, led(name), scene)
    };
    names.filter(fits).filter_map(victim).collect()
}

fn zookeepers(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let leader = scene.truth.zookeeper_leader.as_ref();
    let led = |name: &String| leader.is_some_and(|leader| leader.name == *name);
    let fits = |name: &&String| match role {
        Role::Leader => led(name),
        Role::Follower => leader.is_some() && !led(name),
        Role::Any => true,
        Role::Slot(_) => false,
    };
    let epoch = leader.map(|leader| leader.epoch);
    let victim = |name: &String| part(TargetClass::ZooKeeper, name, None, epoch, led(name), scene);
    let names = scene.shape.zookeepers.iter();
    names.filter(fits).filter_map(victim).collect()
}

/// A running container of the topology itself.
fn part(
    class: TargetClass,
    name: &str,
    member: Option<String>,
    term: Option<u64>,
    led: bool,
    scene: &Scene<'_>,
) -> Option<Victim> {
    let view = scene.seen.fast.parts.result.as_ref().ok()?.get(name)?;
    (view.state == ContainerState::Running).then(|| Victim {
        class,
        name: name.to_owned(),
        host: None,
        container: view.id.clone(),
        node: None,
        member,
        term,
        led,
    })
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;

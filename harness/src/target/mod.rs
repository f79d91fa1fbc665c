//! Aims: a live role becomes an incarnation at the moment of injection. Pure.
//!
//! What is chosen among equals comes from the plan's seed and the fault's own name, not from a shared stream of numbers: a
//! draw that is skipped doesn't change the next one's choice.

pub mod quorum;
mod recorded;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use stormbed::config::Slot;
use stormbed::outpost::processes::ProcessView;
use stormbed::outpost::protocol::{ContainerState, ContainerView};

use crate::fault::{Pick, Role, Target, TargetClass, Victim};
use crate::invariant::truth::{RunningNode, Truth};
use crate::observe::observation::{Observation, Shape};

pub use recorded::recorded;

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
    /// The host of the previous step's first victim, if that has one.
    pub previous_host: Option<&'a str>,
}

/// Whom the aim means now, chosen by seed and name where it leaves a choice: one, or as many as its share asks for. None if
/// nobody holds the role, or too few do.
#[must_use]
pub fn resolve(target: &Target, scene: &Scene<'_>, seed: u64, fault: &str) -> Option<Vec<Victim>> {
    let found = candidates(target, scene);
    let count = count(target, scene.shape, found.len());
    choose(found, count, seed, fault)
}

/// All that the aim could mean now, in a fixed order; whoever must be among the chosen comes first.
#[must_use]
pub fn candidates(target: &Target, scene: &Scene<'_>) -> Vec<Victim> {
    let mut all = match target.class {
        TargetClass::Node => nodes(target.role, scene),
        TargetClass::Etcd | TargetClass::Sshd | TargetClass::NodeAgent | TargetClass::Jupyter => {
            processes(target.class, nodes(target.role, scene), scene)
        }
        TargetClass::MesosMaster => masters(target.role, scene),
        TargetClass::MesosAgent => agents(target.role, scene),
        TargetClass::ZooKeeper => zookeepers(target.role, scene),
        TargetClass::Framework => frameworks(target.role, scene),
        TargetClass::Host => hosts(target.role, scene),
        TargetClass::Brick | TargetClass::NetworkDriver | TargetClass::Bird => {
            processes(target.class, hosts(target.role, scene), scene)
        }
        TargetClass::Proxy => {
            let edge = part(TargetClass::Proxy, &scene.shape.edge, None, None, false, scene);
            processes(target.class, edge.into_iter().collect(), scene)
        }
        TargetClass::Topology => everything(scene),
    };
    all.retain(|victim| !scene.hit.contains(&victim.container));
    if target.beside {
        all.retain(|victim| scene.previous_host.is_some() && victim.on_host() == scene.previous_host);
    }
    if target.role == Role::MinorityWithLeader {
        if !all.iter().any(|victim| victim.led) {
            return vec![];
        }
        all.sort_by_key(|victim| !victim.led);
    }
    all
}

/// Somebody leads the cluster that this kind of part belongs to.
#[must_use]
pub fn is_led(class: TargetClass, truth: &Truth) -> bool {
    match class {
        TargetClass::MesosMaster => truth.mesos_leader.is_some(),
        TargetClass::Framework => truth.active_framework.is_some(),
        TargetClass::ZooKeeper => truth.zookeeper_leader.is_some(),
        _ => truth.etcd_leader.is_some(),
    }
}

/// A slot isn't a member yet, or the volume has something to heal.
#[must_use]
pub fn is_healing(scene: &Scene<'_>) -> bool {
    let volume = scene.seen.deep.gluster.as_ref().and_then(|probe| probe.result.as_ref().ok());
    scene.truth.members.len() < scene.shape.addresses.len()
        || !scene.truth.settling.is_empty()
        || volume.is_some_and(|volume| volume.heal_pending > 0)
}

/// How many the aim means, and how many of them are the first candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Victims.
    pub all: usize,
    /// The first so many candidates are among them.
    pub first: usize,
}

/// How many the aim means, of `found` candidates.
#[must_use]
pub fn count(target: &Target, shape: &Shape, found: usize) -> Count {
    let of = shape.number_of(target.class);
    let minority = (of.saturating_sub(1) / 2).max(1);
    let first = usize::from(target.role == Role::MinorityWithLeader);
    let all = match (target.pick, target.role) {
        (Some(Pick::Count(count)), _) => usize::from(count),
        (Some(Pick::Percent(percent)), _) => (found * usize::from(percent)).div_ceil(100).max(1),
        (None, Role::All) => found.max(1),
        (None, Role::Minority | Role::MinorityWithLeader) => minority,
        (None, Role::Majority) => of / 2 + 1,
        (None, _) => 1,
    };
    Count { all, first }
}

/// Chooses that many, by seed and name; none if there are fewer.
#[must_use]
pub fn choose(mut among: Vec<Victim>, count: Count, seed: u64, fault: &str) -> Option<Vec<Victim>> {
    if among.len() < count.all {
        return None;
    }
    let mut chosen: Vec<Victim> = among.drain(..count.first.min(count.all)).collect();
    while chosen.len() < count.all {
        // The first choice has the fault's own name, so that what a share asks for doesn't change a single victim.
        let draw = if chosen.is_empty() { String::new() } else { format!("/{}", chosen.len()) };
        let digest = Sha256::digest(format!("{seed}/{fault}{draw}"));
        let number = digest.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let index = usize::try_from(number % u64::try_from(among.len()).unwrap_or(1)).unwrap_or(0);
        chosen.push(among.remove(index));
    }
    Some(chosen)
}

fn nodes(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let truth = scene.truth;
    let leader = truth.etcd_leader.as_ref().map(|leader| leader.slot);
    let fits = |slot: Slot| match role {
        Role::Leader => leader == Some(slot),
        // Without a leader nobody is known to follow it.
        Role::Follower => leader.is_some() && leader != Some(slot) && truth.members.contains(&slot),
        Role::Slot(wanted) => wanted == slot,
        _ => truth.members.contains(&slot),
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
        process: None,
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
        _ => true,
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
        _ => true,
    };
    let epoch = leader.map(|leader| leader.epoch);
    let victim = |name: &String| part(TargetClass::ZooKeeper, name, None, epoch, led(name), scene);
    let names = scene.shape.zookeepers.iter();
    names.filter(fits).filter_map(victim).collect()
}

/// Whole machines.
fn hosts(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let leader = scene.truth.etcd_leader.as_ref();
    let of_leader = leader.and_then(|leader| scene.truth.host_of(leader.slot));
    let named = |number: u8| format!("host-{number}");
    let fits = |name: &&String| match role {
        Role::OfLeader => of_leader == Some(*name),
        Role::NotOfLeader => of_leader.is_some_and(|host| host != *name),
        Role::Number(number) => **name == named(number),
        _ => true,
    };
    let victim = |name: &String| part(TargetClass::Host, name, None, None, of_leader == Some(name), scene);
    scene.shape.hosts.iter().filter(fits).filter_map(victim).collect()
}

/// The agents' processes.
fn agents(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let known = scene.truth.agents.as_ref();
    let mut agents = processes(TargetClass::MesosAgent, hosts(role, scene), scene);
    for agent in &mut agents {
        agent.member = known.and_then(|agents| agents.get(&agent.name)).map(|agent| agent.id.clone());
    }
    agents
}

/// The processes of this kind on these machines or nodes, as the kernels there show them; who has none is left out.
fn processes(class: TargetClass, of: Vec<Victim>, scene: &Scene<'_>) -> Vec<Victim> {
    let victims = of.into_iter().map(|victim| Victim { class, ..victim });
    victims.filter_map(|victim| Some(Victim { process: Some(process(&victim, scene)?), ..victim })).collect()
}

/// The victim's process, if its machine was looked at.
fn process(victim: &Victim, scene: &Scene<'_>) -> Option<ProcessView> {
    let view = scene.seen.fast.machines.get(victim.machine())?.result.as_ref().ok()?;
    view.processes.get(&victim.process_key()?).copied()
}

fn frameworks(role: Role, scene: &Scene<'_>) -> Vec<Victim> {
    let active = scene.truth.active_framework.as_ref();
    let fits = |name: &&String| match role {
        Role::Leader => active == Some(*name),
        Role::Follower => active.is_some_and(|active| active != *name),
        _ => true,
    };
    let victim = |name: &String| part(TargetClass::Framework, name, None, None, active == Some(name), scene);
    scene.shape.frameworks.iter().filter(fits).filter_map(victim).collect()
}

/// Every machine, as what it is.
fn everything(scene: &Scene<'_>) -> Vec<Victim> {
    let mut all = hosts(Role::All, scene);
    all.extend(zookeepers(Role::All, scene));
    all.extend(masters(Role::All, scene));
    all.extend(frameworks(Role::All, scene));
    all.extend(part(TargetClass::Topology, &scene.shape.edge, None, None, false, scene));
    all
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
    let victim = (view.state == ContainerState::Running).then(|| Victim {
        class,
        name: name.to_owned(),
        host: None,
        container: view.id.clone(),
        node: None,
        process: None,
        member,
        term,
        led,
    })?;
    Some(Victim { process: process(&victim, scene), ..victim })
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;

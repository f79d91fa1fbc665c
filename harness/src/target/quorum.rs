//! The rule for storms: a draw may not take a quorum away. Pure.
//!
//! What is still joining, settling or not seen well since it was hit doesn't count as support.

use stormbed::outpost::protocol::ContainerState;

use super::Scene;
use crate::fault::{TargetClass, Victim};

/// Whether a majority stays without this victim; else says what would be left.
///
/// # Errors
/// If it doesn't.
pub fn keeps_quorum(victim: &Victim, scene: &Scene<'_>) -> Result<(), String> {
    let (of, well) = match victim.class {
        TargetClass::Node => (scene.shape.addresses.len(), well_nodes(victim, scene)),
        TargetClass::MesosMaster => (scene.shape.masters.len(), well_masters(victim, scene)),
        TargetClass::ZooKeeper => (scene.shape.zookeepers.len(), well_zookeepers(victim, scene)),
    };
    let quorum = of / 2 + 1;
    if well >= quorum {
        return Ok(());
    }
    Err(format!("without {} only {well} of {of} would be well; a quorum is {quorum}", victim.name))
}

fn well_nodes(victim: &Victim, scene: &Scene<'_>) -> usize {
    let truth = scene.truth;
    let settled = truth.members.iter().filter(|s| !truth.settling.contains(s));
    let support = settled.filter_map(|slot| truth.running.get(slot)?.first());
    support.filter(|node| stands(&node.container, victim, scene)).count()
}

fn well_masters(victim: &Victim, scene: &Scene<'_>) -> usize {
    let answers = scene.seen.fast.mesos.result.as_ref().ok();
    let well = |name: &&String| {
        let view = answers.and_then(|all| all.masters.get(*name)?.as_ref().ok());
        // A master that knows no leader isn't part of the election yet.
        view.is_some_and(|view| view.elected || view.redirect.is_some()) && part_stands(name, victim, scene)
    };
    scene.shape.masters.keys().filter(well).count()
}

fn well_zookeepers(victim: &Victim, scene: &Scene<'_>) -> usize {
    let answers = scene.seen.fast.zookeeper.result.as_ref().ok();
    let well = |name: &&String| {
        let view = answers.and_then(|all| all.servers.get(*name)?.as_ref().ok());
        view.is_some_and(|view| view.mode == "leader" || view.mode == "follower") && part_stands(name, victim, scene)
    };
    scene.shape.zookeepers.iter().filter(well).count()
}

fn part_stands(name: &str, victim: &Victim, scene: &Scene<'_>) -> bool {
    let parts = scene.seen.fast.parts.result.as_ref().ok();
    let view = parts.and_then(|parts| parts.get(name));
    view.is_some_and(|view| view.state == ContainerState::Running && stands(&view.id, victim, scene))
}

fn stands(container: &str, victim: &Victim, scene: &Scene<'_>) -> bool {
    container != victim.container && !scene.hit.contains(container)
}

//! The rule for storms: a draw may not take a quorum away. Pure.
//!
//! What is still joining, settling or not seen well since it was hit doesn't count as support.

use stormbed::outpost::protocol::ContainerState;

use super::Scene;
use crate::fault::{FaultKind, TargetClass, Victim};

/// Whether a majority stays without these victims; else says what would be left.
///
/// # Errors
/// If it doesn't.
pub fn keeps_quorum(victims: &[Victim], scene: &Scene<'_>) -> Result<(), String> {
    let Some(first) = victims.first() else {
        return Ok(());
    };
    let gone = Gone { victims, scene };
    let shape = scene.shape;
    match first.class {
        // Without its etcd, or with a frozen agent, a node is no member for long.
        TargetClass::Node | TargetClass::Etcd | TargetClass::NodeAgent => {
            gone.leave(shape.addresses.len(), gone.well_nodes())
        }
        TargetClass::MesosMaster => gone.leave(shape.masters.len(), gone.well_masters()),
        TargetClass::ZooKeeper => gone.leave(shape.zookeepers.len(), gone.well_zookeepers()),
        // A host takes its nodes and its brick along.
        TargetClass::Host => {
            gone.leave(shape.hosts.len(), gone.well_hosts())?;
            gone.leave(shape.addresses.len(), gone.well_nodes())
        }
        // Without its routes a host's nodes are cut off from the others.
        TargetClass::Bird => gone.leave(shape.addresses.len(), gone.well_nodes()),
        TargetClass::Brick => gone.leave(shape.hosts.len(), gone.well_hosts()),
        // Nothing counts votes of these.
        TargetClass::MesosAgent
        | TargetClass::Framework
        | TargetClass::Sshd
        | TargetClass::Jupyter
        | TargetClass::NetworkDriver
        | TargetClass::Proxy
        | TargetClass::Topology => Ok(()),
    }
}

/// Whether this may be done to these victims at all: a majority that has lost its data is lost for good, whatever a file allows.
///
/// # Errors
/// If it may not.
pub fn keeps_data(kind: FaultKind, victims: &[Victim], scene: &Scene<'_>) -> Result<(), String> {
    if kind.loses_data() { keeps_quorum(victims, scene) } else { Ok(()) }
}

/// The scene without some victims.
struct Gone<'a> {
    victims: &'a [Victim],
    scene: &'a Scene<'a>,
}

impl Gone<'_> {
    fn leave(&self, of: usize, well: usize) -> Result<(), String> {
        let quorum = of / 2 + 1;
        if well >= quorum {
            return Ok(());
        }
        let names: Vec<&str> = self.victims.iter().map(|victim| victim.name.as_str()).collect();
        Err(format!("without {} only {well} of {of} would be well; a quorum is {quorum}", names.join(" and ")))
    }

    fn well_nodes(&self) -> usize {
        let truth = self.scene.truth;
        let settled = truth.members.iter().filter(|s| !truth.settling.contains(s));
        let support = settled.filter_map(|slot| truth.running.get(slot)?.first());
        let on_host = |host: &String| self.scene.shape.hosts.contains(host) && !self.part_stands(host);
        support.filter(|node| self.stands(&node.container) && !on_host(&node.host)).count()
    }

    fn well_masters(&self) -> usize {
        let answers = self.scene.seen.fast.mesos.result.as_ref().ok();
        let well = |name: &&String| {
            let view = answers.and_then(|all| all.masters.get(*name)?.as_ref().ok());
            // A master that knows no leader isn't part of the election yet.
            view.is_some_and(|view| view.elected || view.redirect.is_some()) && self.part_stands(name)
        };
        self.scene.shape.masters.keys().filter(well).count()
    }

    fn well_zookeepers(&self) -> usize {
        let answers = self.scene.seen.fast.zookeeper.result.as_ref().ok();
        let well = |name: &&String| {
            let view = answers.and_then(|all| all.servers.get(*name)?.as_ref().ok());
            view.is_some_and(|view| view.mode == "leader" || view.mode == "follower") && self.part_stands(name)
        };
        self.scene.shape.zookeepers.iter().filter(well).count()
    }

    fn well_hosts(&self) -> usize {
        self.scene.shape.hosts.iter().filter(|host| self.part_stands(host)).count()
    }

    fn part_stands(&self, name: &str) -> bool {
        let parts = self.scene.seen.fast.parts.result.as_ref().ok();
        let view = parts.and_then(|parts| parts.get(name));
        view.is_some_and(|view| view.state == ContainerState::Running && self.stands(&view.id))
    }

    fn stands(&self, container: &str) -> bool {
        !self.scene.hit.contains(container) && self.victims.iter().all(|victim| victim.container != container)
    }
}

//! `kill`: SIGKILL, at once. A node is brought back by the system; everything else stays down while the fault is held and is
//! started again, with its data, at undo.

use stormbed::clock::Millis;
use stormbed::outpost::protocol::{Act, ContainerState};

use super::effect::{after_that, machine, node_container, part, serves};
use super::work::{Deed, Work};
use super::{TargetClass, Victim};
use crate::observe::observation::Observation;

/// The agent, as its host's supervisor calls it.
pub const AGENT: &str = "agent";

/// What kills one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Work {
    match (&victim.host, victim.class) {
        (Some(host), _) => Work::at(host, fault, victim, Act::KillContainer { container: victim.container.clone() }),
        (None, TargetClass::MesosAgent) => {
            Work::at(&victim.name, fault, victim, Act::KillPart { part: AGENT.to_owned() })
        }
        (None, _) => Work::outside(victim, Deed::Kill),
    }
}

/// It is dead.
pub(super) fn effect_seen(victim: &Victim, seen: &Observation, began: Millis) -> bool {
    let dead = |state| matches!(state, None | Some(ContainerState::Exited | ContainerState::Dead));
    match (&victim.host, victim.class) {
        (Some(_), _) => node_container(victim, seen, began).is_some_and(|found| dead(found.map(|c| c.state))),
        (None, TargetClass::MesosAgent) => {
            machine(&victim.name, seen, began).is_some_and(|view| view.processes.get(AGENT) != victim.process.as_ref())
        }
        (None, _) => part(victim, seen, began).is_some_and(|found| dead(found.map(|part| part.state))),
    }
}

/// A new incarnation runs; a part runs again and serves.
pub(super) fn undone_seen(victim: &Victim, seen: &Observation, undone: Millis) -> bool {
    match (&victim.host, victim.class) {
        (Some(_), _) => replaced(victim, seen, undone),
        (None, TargetClass::MesosAgent) => {
            let process = machine(&victim.name, seen, undone).and_then(|view| view.processes.get(AGENT));
            process.is_some_and(|process| Some(process) != victim.process.as_ref()) && serves(victim, seen, undone)
        }
        (None, _) => {
            let runs = part(victim, seen, undone).flatten().is_some_and(|part| part.state == ContainerState::Running);
            runs && serves(victim, seen, undone)
        }
    }
}

/// A higher incarnation of the victim's slot runs, on whatever host.
fn replaced(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let Some((slot, incarnation)) = victim.node else {
        return false;
    };
    seen.fast.containers.values().filter_map(|probe| after_that(probe, after)).flatten().any(|container| {
        container.slot == slot && container.incarnation > incarnation && container.state == ContainerState::Running
    })
}

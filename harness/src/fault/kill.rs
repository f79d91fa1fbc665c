//! `kill`: SIGKILL, at once. A node is brought back by the system; everything else stays down while the fault is held and is
//! started again, with its data, at undo.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stormbed::clock::Millis;
use stormbed::outpost::protocol::{Act, ContainerState};

use super::effect::{after_that, machine, node_container, part, serves};
use super::inject::{end_outside, hold_at, let_go_at, outside};
use super::journal::Owed;
use super::{TargetClass, Victim};
use crate::observe::machines::Verb;
use crate::observe::observation::Observation;
use crate::observe::world::World;

/// The agent, as its host's supervisor calls it.
pub const AGENT: &str = "agent";

/// Kills one victim.
pub(super) fn inject<'a>(world: &'a World, name: &'a str, victim: &'a Victim) -> BoxFuture<'a, Result<(), String>> {
    async move {
        match (&victim.host, victim.class) {
            (Some(host), _) => {
                let act = Act::KillContainer { container: victim.container.clone() };
                hold_at(world, host, held(name, victim), act).await
            }
            (None, TargetClass::MesosAgent) => hold_at(world, &victim.name, held(name, victim), agent()).await,
            (None, _) => outside(world, victim, Verb::Kill).await,
        }
    }
    .boxed()
}

/// Starts it again, unless that is the system's business.
pub(super) fn undo<'a>(world: &'a World, name: &'a str, victim: &'a Victim) -> BoxFuture<'a, Result<(), String>> {
    async move {
        match (&victim.host, victim.class) {
            (Some(_), _) => Ok(()),
            (None, TargetClass::MesosAgent) => let_go_at(world, &victim.name, held(name, victim), agent()).await,
            (None, _) => end_outside(&*world.machines, &victim.container, Owed::Kill).await,
        }
    }
    .boxed()
}

fn agent() -> Act {
    Act::KillPart { part: AGENT.to_owned() }
}

/// An outpost knows a fault by a name of its own per victim: two of them may be on one machine.
pub(super) fn held(name: &str, victim: &Victim) -> String {
    format!("{name} {}", victim.name)
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

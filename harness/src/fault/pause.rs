//! `pause`: every process of a container freezes where it is; its connections stay open and silent. Undone by thawing it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stormbed::clock::Millis;
use stormbed::outpost::protocol::{Act, ContainerState};

use super::Victim;
use super::effect::{node_container, part, serves};
use super::inject::{end_outside, hold_at, let_go_at, outside};
use super::journal::Owed;
use super::kill::held;
use crate::observe::machines::Verb;
use crate::observe::observation::Observation;
use crate::observe::world::World;

/// Freezes one victim.
pub(super) fn inject<'a>(world: &'a World, name: &'a str, victim: &'a Victim) -> BoxFuture<'a, Result<(), String>> {
    async move {
        match &victim.host {
            Some(host) => hold_at(world, host, held(name, victim), freeze(victim)).await,
            None => outside(world, victim, Verb::Pause).await,
        }
    }
    .boxed()
}

/// Thaws it.
pub(super) fn undo<'a>(world: &'a World, name: &'a str, victim: &'a Victim) -> BoxFuture<'a, Result<(), String>> {
    async move {
        match &victim.host {
            Some(host) => let_go_at(world, host, held(name, victim), freeze(victim)).await,
            None => end_outside(&*world.machines, &victim.container, Owed::Pause).await,
        }
    }
    .boxed()
}

fn freeze(victim: &Victim) -> Act {
    Act::PauseContainer { container: victim.container.clone() }
}

/// Its engine says that it is frozen.
pub(super) fn effect_seen(victim: &Victim, seen: &Observation, began: Millis) -> bool {
    let state = match &victim.host {
        Some(_) => node_container(victim, seen, began).flatten().map(|container| container.state),
        None => part(victim, seen, began).flatten().map(|part| part.state),
    };
    state == Some(ContainerState::Paused)
}

/// It is frozen no more (gone altogether counts, for a node), and serves.
pub(super) fn undone_seen(victim: &Victim, seen: &Observation, undone: Millis) -> bool {
    if victim.host.is_some() {
        let found = node_container(victim, seen, undone);
        return found.is_some_and(|container| container.is_none_or(|c| c.state != ContainerState::Paused));
    }
    let runs = part(victim, seen, undone).flatten().is_some_and(|part| part.state == ContainerState::Running);
    runs && serves(victim, seen, undone)
}

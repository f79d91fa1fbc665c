//! `pause`: every process of a container freezes where it is; its connections stay open and silent. Undone by thawing it.

use stormbed::clock::Millis;
use stormbed::outpost::protocol::{Act, ContainerState};

use super::Victim;
use super::effect::{node_container, part, serves};
use super::work::{Deed, Work};
use crate::observe::observation::Observation;

/// What freezes one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Work {
    match &victim.host {
        Some(host) => Work::at(host, fault, victim, Act::PauseContainer { container: victim.container.clone() }),
        None => Work::outside(victim, Deed::Pause),
    }
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

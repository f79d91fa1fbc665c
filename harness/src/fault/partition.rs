//! `partition`: no packet passes between these nodes and all other nodes of the cluster, either way. Both sides still talk among
//! themselves, and to everything that isn't a node: proxy, shared volume, testbed.
//!
//! Nodes' packets pass their host's kernel, so every host drops those from one side to the other, and each outpost removes
//! its rules by itself when the runner falls silent. Addresses belong to slots: a slot that is replaced stays on its side.

use std::net::Ipv4Addr;

use futures_util::future::join_all;
use stormbed::clock::Millis;
use stormbed::outpost::cut::{Cut, chain};
use stormbed::outpost::protocol::Act;

use super::Fault;
use super::effect::machine;
use super::inject::{all, hold_at, let_go_at};
use crate::observe::observation::{Observation, Shape};
use crate::observe::world::World;

/// Cuts the victims off, on every host at the same time.
pub(super) async fn inject(world: &World, fault: &Fault) -> Result<(), String> {
    let cut = cut(&world.shape, fault)?;
    let hosts = world.shape.hosts.iter();
    let made = hosts.map(|host| hold_at(world, host, fault.name.clone(), Act::Cut(cut.clone())));
    all(join_all(made).await)
}

/// Removes the rules on every host.
pub(super) async fn undo(world: &World, fault: &Fault) -> Result<(), String> {
    let cut = cut(&world.shape, fault)?;
    let hosts = world.shape.hosts.iter();
    let removed = hosts.map(|host| let_go_at(world, host, fault.name.clone(), Act::Cut(cut.clone())));
    all(join_all(removed).await)
}

fn cut(shape: &Shape, fault: &Fault) -> Result<Cut, String> {
    let hit = |slot| fault.victims.iter().any(|victim| victim.node.is_some_and(|(hit, _)| hit == slot));
    let (one, other): (Vec<_>, Vec<_>) = shape.addresses.iter().partition(|(slot, _)| hit(**slot));
    if one.is_empty() || other.is_empty() {
        return Err(format!("a partition has two sides; found {} and {} nodes", one.len(), other.len()));
    }
    let addresses = |side: Vec<(_, &Ipv4Addr)>| side.into_iter().map(|(_, address)| *address).collect();
    Ok(Cut::Between { one: addresses(one), other: addresses(other) })
}

/// The rules are in force on every host, and some packet was dropped.
pub(super) fn effect_seen(fault: &Fault, seen: &Observation, began: Millis) -> bool {
    let chain = chain(&fault.name);
    let packets = |host| machine(host, seen, began)?.cuts.get(&chain).copied();
    let counts: Vec<Option<u64>> = seen.fast.containers.keys().map(|host| packets(host)).collect();
    counts.iter().all(Option::is_some) && counts.into_iter().flatten().sum::<u64>() > 0
}

/// The rules are gone on every host.
pub(super) fn undone_seen(fault: &Fault, seen: &Observation, undone: Millis) -> bool {
    let chain = chain(&fault.name);
    let mut hosts = seen.fast.containers.keys();
    hosts.all(|host| machine(host, seen, undone).is_some_and(|view| !view.cuts.contains_key(&chain)))
}

//! `partition`: no packet passes between these nodes and all other nodes of the cluster, either way. Both sides still talk among
//! themselves, and to everything that isn't a node: proxy, shared volume, testbed.
//!
//! Nodes' packets pass their host's kernel, so every host drops those from one side to the other, and each outpost removes
//! its rules by itself when the runner falls silent. Addresses belong to slots: a slot that is replaced stays on its side.

use std::net::Ipv4Addr;

use stormbed::outpost::cut::{Cut, Way};
use stormbed::outpost::protocol::Act;

use super::Fault;
use super::work::Work;
use crate::observe::observation::Shape;

/// What cuts the victims off: the same rules on every host.
pub(super) fn works(shape: &Shape, fault: &Fault) -> Result<Vec<Work>, String> {
    let act = Act::Cut(cut(shape, fault)?);
    let at = |host: &String| Work::At { machine: host.clone(), held: fault.name.clone(), act: act.clone() };
    Ok(shape.hosts.iter().map(at).collect())
}

fn cut(shape: &Shape, fault: &Fault) -> Result<Cut, String> {
    let hit = |slot| fault.victims.iter().any(|victim| victim.node.is_some_and(|(hit, _)| hit == slot));
    let (one, other): (Vec<_>, Vec<_>) = shape.addresses.iter().partition(|(slot, _)| hit(**slot));
    if one.is_empty() || other.is_empty() {
        return Err(format!("a partition has two sides; found {} and {} nodes", one.len(), other.len()));
    }
    let addresses = |side: Vec<(_, &Ipv4Addr)>| side.into_iter().map(|(_, address)| *address).collect();
    Ok(Cut::Between { one: addresses(one), other: addresses(other), way: Way::Both })
}

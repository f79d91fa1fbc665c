//! `partition`: parts of one kind don't reach each other, either way; everything else still reaches all of them.
//!
//! * Nodes: the victims and all others, or in the [`Split`] of a ring or a bridge. Nodes' packets pass their host's kernel, so every
//!   host drops those from one side to the other. Addresses belong to slots: a slot that is replaced stays on its side.
//! * Hosts: the victims and all others, with all that runs on them. What runs on a host has addresses that may move to another one, so
//!   each side drops what comes from, or by way of, the other side's machines, and knows them by their network cards.
//!
//! Each outpost removes its rules by itself when the runner falls silent.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use stormbed::outpost::cut::{Cut, Way};
use stormbed::outpost::protocol::Act;

use super::work::Work;
use super::{Fault, TargetClass, isolate};
use crate::observe::observation::Shape;
use crate::observe::world::World;

/// Fewer nodes than this reach each other all the same when they stand in a ring.
pub const RING_MIN: u32 = 4;
/// Two halves, and the node between them.
pub const BRIDGE_MIN: u32 = 3;

/// Who doesn't reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The victims and all others.
    #[default]
    Sides,
    /// Everyone but those whose slots are next to each other; the last one's next is the first.
    Ring,
    /// Two halves, of which the victim alone reaches both.
    Bridge,
}

/// Every host can make and remove such a cut.
pub(super) async fn available(world: &World, class: TargetClass) -> Result<(), String> {
    if class != TargetClass::Host {
        return isolate::available(world).await;
    }
    let act = Act::Cut(Cut::Beyond { others: vec![] });
    let needs = "a partition of hosts needs netfilter that matches network cards (xt_mac) in the kernel";
    isolate::trial(world, world.shape.hosts.iter(), &act, needs).await
}

/// What cuts the victims off: rules on every host.
pub(super) fn works(shape: &Shape, fault: &Fault, split: Split) -> Result<Vec<Work>, String> {
    let at = |host: &String, cut| Work::At { machine: host.clone(), held: fault.name.clone(), act: Act::Cut(cut) };
    if fault.target.class == TargetClass::Host {
        return shape.hosts.iter().map(|host| Ok(at(host, beyond(shape, fault, host)?))).collect();
    }
    let cut = match split {
        Split::Sides => sides(shape, fault)?,
        Split::Ring => ring(shape)?,
        Split::Bridge => bridge(shape, fault)?,
    };
    Ok(shape.hosts.iter().map(|host| at(host, cut.clone())).collect())
}

/// It is a victim's slot.
fn hit(fault: &Fault, slot: stormbed::config::Slot) -> bool {
    fault.victims.iter().any(|victim| victim.node.is_some_and(|(hit, _)| hit == slot))
}

fn sides(shape: &Shape, fault: &Fault) -> Result<Cut, String> {
    let (one, other): (Vec<_>, Vec<_>) = shape.addresses.iter().partition(|(slot, _)| hit(fault, **slot));
    between(one.into_iter().map(|(_, address)| *address), other.into_iter().map(|(_, address)| *address))
}

fn between(one: impl Iterator<Item = Ipv4Addr>, other: impl Iterator<Item = Ipv4Addr>) -> Result<Cut, String> {
    let (one, other): (Vec<_>, Vec<_>) = (one.collect(), other.collect());
    if one.is_empty() || other.is_empty() {
        return Err(format!("a partition has two sides; found {} and {} nodes", one.len(), other.len()));
    }
    Ok(Cut::Between { one, other, way: Way::Both })
}

fn ring(shape: &Shape) -> Result<Cut, String> {
    let all: Vec<Ipv4Addr> = shape.addresses.values().copied().collect();
    let count = all.len();
    let mut pairs = vec![];
    for (at, one) in all.iter().enumerate() {
        for (beyond, other) in all.iter().enumerate().skip(at + 2) {
            let neighbours = at == 0 && beyond == count - 1;
            pairs.extend((!neighbours).then_some((*one, *other)));
        }
    }
    if pairs.is_empty() {
        return Err(format!("a ring of {count} nodes cuts nothing; {RING_MIN} are needed"));
    }
    Ok(Cut::Pairs { pairs })
}

fn bridge(shape: &Shape, fault: &Fault) -> Result<Cut, String> {
    let others: Vec<Ipv4Addr> =
        shape.addresses.iter().filter(|(slot, _)| !hit(fault, **slot)).map(|(_, address)| *address).collect();
    let (one, other) = others.split_at(others.len() / 2);
    between(one.iter().copied(), other.iter().copied())
}

/// What this host drops: all that comes from the machines of the other side.
fn beyond(shape: &Shape, fault: &Fault, host: &String) -> Result<Cut, String> {
    let hit = |name: &String| fault.victims.iter().any(|victim| victim.name == *name);
    let others = shape.hosts.iter().filter(|other| hit(other) != hit(host));
    let address = |name: &String| shape.machines.get(name).copied().ok_or_else(|| format!("{name} has no address"));
    let others = others.map(address).collect::<Result<Vec<_>, _>>()?;
    if others.is_empty() {
        return Err("a partition has two sides; all hosts are on one".to_owned());
    }
    Ok(Cut::Beyond { others })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultKind, Role, Target, fixture};
    use crate::invariant::fixture::{Cluster, host_of};

    /// Five nodes on three hosts.
    fn shape() -> Shape {
        let mut shape = Cluster::steady().shape;
        shape.machines = shape.hosts.iter().cloned().zip((1..).map(host)).collect();
        shape
    }

    fn host(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, number)
    }

    fn fault(class: TargetClass, role: Role, victims: Vec<crate::fault::Victim>) -> Fault {
        let mut fault = Fault::planned("t", "s1", FaultKind::PARTITION, Target::new(class, role));
        fault.victims = victims;
        fault
    }

    fn nodes(slots: &[u32]) -> Fault {
        let victims = slots.iter().map(|slot| fixture::node(*slot, 1, &host_of(*slot), "c")).collect();
        fault(TargetClass::Node, Role::Any, victims)
    }

    /// The cuts of every host.
    fn cuts(fault: &Fault, split: Split) -> Result<Vec<(String, Cut)>, String> {
        let works = works(&shape(), fault, split)?.into_iter().map(|work| match work {
            Work::At { machine, act: Act::Cut(cut), .. } => (machine, cut),
            other => panic!("{other:?}"),
        });
        Ok(works.collect())
    }

    fn slots(slots: &[u32]) -> Vec<Ipv4Addr> {
        let shape = shape();
        slots.iter().map(|slot| shape.addresses[slot]).collect()
    }

    #[test]
    fn two_sides_are_the_victims_and_all_others_on_every_host() {
        let cuts = cuts(&nodes(&[1, 3]), Split::Sides).expect("two sides");
        assert_eq!(cuts.len(), 3);
        let expected = Cut::Between { one: slots(&[1, 3]), other: slots(&[0, 2, 4]), way: Way::Both };
        assert!(cuts.iter().all(|(_, cut)| *cut == expected), "{cuts:?}");
        assert!(super::sides(&shape(), &nodes(&[0, 1, 2, 3, 4])).is_err(), "nobody is on the other side");
    }

    #[test]
    fn in_a_ring_every_node_reaches_its_two_neighbours_alone() {
        let cuts = cuts(&nodes(&[0, 1, 2, 3, 4]), Split::Ring).expect("five are enough");
        let Cut::Pairs { pairs } = &cuts[0].1 else { panic!("{cuts:?}") };
        for (slot, address) in slots(&[0, 1, 2, 3, 4]).into_iter().zip(0u32..) {
            let cut_off = pairs.iter().filter(|(one, other)| *one == slot || *other == slot).count();
            assert_eq!(cut_off, 2, "slot {address} has two neighbours of four");
            let next = slots(&[(address + 1) % 5])[0];
            assert!(!pairs.contains(&(slot, next)) && !pairs.contains(&(next, slot)), "{address} reaches the next one");
        }
    }

    #[test]
    fn a_bridge_reaches_both_halves_and_they_reach_each_other_by_no_other_way() {
        let cuts = cuts(&nodes(&[2]), Split::Bridge).expect("two halves");
        assert_eq!(cuts[0].1, Cut::Between { one: slots(&[0, 1]), other: slots(&[3, 4]), way: Way::Both });
    }

    #[test]
    fn each_host_drops_what_comes_from_the_other_side() {
        let shape = shape();
        let victim = |name: &String| fixture::part(TargetClass::Host, name, "c");
        let one = fault(TargetClass::Host, Role::Any, vec![victim(&shape.hosts[1])]);
        let others = |numbers: &[u8]| Cut::Beyond { others: numbers.iter().map(|number| host(*number)).collect() };
        let expected: Vec<_> = shape.hosts.iter().cloned().zip([others(&[2]), others(&[1, 3]), others(&[2])]).collect();
        assert_eq!(cuts(&one, Split::Sides), Ok(expected));
        let all = fault(TargetClass::Host, Role::All, shape.hosts.iter().map(victim).collect());
        assert!(cuts(&all, Split::Sides).is_err(), "nobody is on the other side");
    }
}

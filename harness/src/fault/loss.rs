//! `loss`: a random share of the packets between a part and others is dropped; both ways, or one. Peers and ways are those of
//! [`super::isolate`], and so is who makes and removes the rules. Each packet meets them once on its way.

use std::net::Ipv4Addr;

use stormbed::outpost::cut::{Cut, Way};
use stormbed::outpost::protocol::Act;

use super::isolate::{self, cut};
use super::work::Work;
use super::{PeerSet, Victim};
use crate::observe::observation::Shape;
use crate::observe::world::World;

/// No packet from elsewhere bears an address of a machine's own loopback.
pub(super) const NOWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// What no packet of the topology meets.
pub(super) fn nothing() -> Cut {
    Cut::Between { one: vec![NOWHERE], other: vec![], way: Way::Both }
}

/// Every machine with an outpost can drop a share of packets: it is done to packets that don't exist.
pub(super) async fn available(world: &World) -> Result<(), String> {
    let act = Act::Lose { cut: Box::new(nothing()), percent: 50 };
    let needs = "loss needs netfilter that draws by chance (xt_statistic) in the kernel";
    isolate::trial(world, world.outposts.keys(), &act, needs).await
}

/// What makes one victim lose packets: rules on its machine; on every host for what belongs to a node, which may move.
pub(super) fn works(
    shape: &Shape,
    fault: &str,
    victim: &Victim,
    (from, way): (PeerSet, Way),
    percent: u8,
) -> Result<Vec<Work>, String> {
    let act = Act::Lose { cut: Box::new(cut(shape, victim, from, way)?), percent };
    Ok(isolate::at_victim(shape, fault, victim, &act))
}

//! `slow-link`: what comes to a part arrives late, at times that vary, or no faster than a rate: the answer to every request takes that
//! much longer. Peers are those of [`super::isolate`].
//!
//! Outposts let the packets go when a link would have brought them, in user space: the kernel's own way (netem) isn't in every kernel,
//! delays what a machine sends to whomever, and knows no node that moves. Packets are held where they come in: held where they leave, they
//! would count as unsent, and a connection would be slowed far below its rate. When an outpost is gone, packets pass by themselves.

use stormbed::outpost::cut::Way;
use stormbed::outpost::link::Link;
use stormbed::outpost::protocol::Act;

use super::isolate::{self, cut};
use super::loss::nothing;
use super::work::Work;
use super::{PeerSet, Victim};
use crate::observe::observation::Shape;
use crate::observe::world::World;

/// Every machine with an outpost can hold packets back: it is done to packets that don't exist.
pub(super) async fn available(world: &World) -> Result<(), String> {
    let act = Act::Slow { cut: Box::new(nothing()), link: Link { delay_ms: 1, ..Link::default() } };
    let needs = "slow-link needs netfilter that queues packets (xt_NFQUEUE, nfnetlink_queue) in the kernel";
    isolate::trial(world, world.outposts.keys(), &act, needs).await
}

/// What slows one victim's link: rules on its machine; on every host for what belongs to a node, which may move.
pub(super) fn works(
    shape: &Shape,
    fault: &str,
    victim: &Victim,
    from: PeerSet,
    link: Link,
) -> Result<Vec<Work>, String> {
    let act = Act::Slow { cut: Box::new(cut(shape, victim, from, Way::In)?), link };
    Ok(isolate::at_victim(shape, fault, victim, &act))
}

//! `isolate`: no packet passes between a machine and others, either way: everybody, or those of one kind. What runs on the
//! machine still talks among itself, and the testbed still reaches it through the engine.
//!
//! The rules are made by an outpost on the machine, which removes them by itself when the runner falls silent.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use stormbed::clock::Millis;
use stormbed::outpost::cut::{Cut, chain};
use stormbed::outpost::protocol::{Act, Call, Reply};

use super::effect::{machine, serves};
use super::inject::all;
use super::work::{Work, held};
use super::{Peers, Victim};
use crate::observe::observation::{Observation, Shape};
use crate::observe::world::World;

/// Making and removing an empty cut takes some milliseconds.
const TRIAL_MAX: Duration = Duration::from_secs(10);

/// Every machine with an outpost can make and remove a cut: an empty one is made and removed on all of them.
pub(super) async fn available(world: &World) -> Result<(), String> {
    let trials = world.outposts.iter().map(|(name, outpost)| async move {
        let act = Act::Cut(Cut::Between { one: vec![], other: vec![] });
        let fault = "trial".to_owned();
        let lease_ms = u64::try_from(TRIAL_MAX.as_millis()).unwrap_or(u64::MAX);
        let inject = Call::Inject { fault: fault.clone(), act: act.clone(), lease_ms };
        for call in [inject, Call::Undo { fault, act }] {
            let done = world.call(Some(outpost), call, TRIAL_MAX, |reply| (reply == Reply::Done).then_some(()));
            done.await.result.map_err(|why| {
                format!(
                    "{name} can't drop packets: {why}; isolate and partition need netfilter (raw and mangle tables) in the kernel"
                )
            })?;
        }
        Ok(())
    });
    all(join_all(trials).await)
}

/// What cuts one machine off.
pub(super) fn work(shape: &Shape, fault: &str, victim: &Victim, from: Peers) -> Result<Work, String> {
    Ok(Work::at(&victim.name, fault, victim, Act::Cut(cut(shape, victim, from)?)))
}

fn cut(shape: &Shape, victim: &Victim, from: Peers) -> Result<Cut, String> {
    match from {
        Peers::Everyone => Ok(Cut::Uplink),
        Peers::ZooKeeper => {
            let own = shape.machines.get(&victim.name);
            let own = own.ok_or_else(|| format!("{} has no address on the underlay", victim.name))?;
            let servers = shape.zookeepers.iter().filter_map(|name| shape.machines.get(name));
            let servers: Vec<Ipv4Addr> = servers.copied().collect();
            Ok(Cut::Between { one: vec![*own], other: servers })
        }
    }
}

/// Packets were dropped.
pub(super) fn effect_seen(name: &str, victim: &Victim, seen: &Observation, began: Millis) -> bool {
    let chain = chain(&held(name, victim));
    machine(&victim.name, seen, began).and_then(|view| view.cuts.get(&chain)).is_some_and(|packets| *packets > 0)
}

/// The rules are gone, and the machine serves.
pub(super) fn undone_seen(name: &str, victim: &Victim, seen: &Observation, undone: Millis) -> bool {
    let chain = chain(&held(name, victim));
    let gone = machine(&victim.name, seen, undone).is_some_and(|view| !view.cuts.contains_key(&chain));
    gone && serves(victim, seen, undone)
}

//! `isolate`: no packet passes between a part and others: everybody, or those of one kind; both ways, or one. What runs on a cut-off
//! machine still talks among itself, and the testbed still reaches it through the engine.
//!
//! The rules are made by outposts, which remove them by themselves when the runner falls silent.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use stormbed::outpost::cut::{Cut, Way};
use stormbed::outpost::protocol::{Act, Call, Reply};
use stormbed::registry::SSH_PORT;

use super::inject::all;
use super::work::Work;
use super::{Peers, TargetClass, Victim};
use crate::observe::observation::Shape;
use crate::observe::world::World;

/// Making and removing an empty cut takes some milliseconds.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// Where etcd serves clients and its peers, and where it finds them.
const ETCD_PORTS: [u16; 2] = [2379, 2380];
/// Where BIRD serves BGP, and where it finds its peers.
const BGP_PORT: u16 = 179;

/// Every machine with an outpost can make and remove a cut: an empty one is made and removed on all of them.
pub(super) async fn available(world: &World) -> Result<(), String> {
    let trials = world.outposts.iter().map(|(name, outpost)| async move {
        let act = Act::Cut(Cut::Between { one: vec![], other: vec![], way: Way::Both });
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

/// What cuts one victim off: rules on its machine; on every host for what belongs to a node, which may move.
pub(super) fn works(shape: &Shape, fault: &str, victim: &Victim, from: Peers, way: Way) -> Result<Vec<Work>, String> {
    let act = Act::Cut(cut(shape, victim, from, way)?);
    if victim.class.is_of_node() {
        return Ok(shape.hosts.iter().map(|host| Work::at(host, fault, victim, act.clone())).collect());
    }
    Ok(vec![Work::at_victim(fault, victim, act)])
}

fn cut(shape: &Shape, victim: &Victim, from: Peers, way: Way) -> Result<Cut, String> {
    let own = || own_address(shape, victim);
    let between = |other: Vec<Ipv4Addr>| Ok(Cut::Between { one: vec![own()?], other, way });
    let ports = |served: &[u16], asked: &[u16]| {
        Ok(Cut::Ports { address: own()?, served: served.to_vec(), asked: asked.to_vec(), way })
    };
    match (victim.class, from) {
        (TargetClass::Etcd, _) => ports(&ETCD_PORTS, &ETCD_PORTS),
        (TargetClass::Sshd, _) => ports(&[SSH_PORT], &[]),
        (TargetClass::Jupyter, _) => ports(&[shape.jupyter_port], &[]),
        (TargetClass::Bird, _) => ports(&[BGP_PORT], &[BGP_PORT]),
        (TargetClass::Brick, _) => Ok(Cut::Brick { process: victim.process()?, way }),
        // Whoever an agent talks to beyond its own machine: the rest of the machine talks to neither.
        (TargetClass::MesosAgent, Peers::Everyone) => {
            between([addresses(shape, Peers::Masters), addresses(shape, Peers::ZooKeeper)].concat())
        }
        (TargetClass::Node, Peers::Everyone) => between(vec![]),
        (_, Peers::Everyone) => Ok(Cut::Uplink { way }),
        (_, peers) => between(addresses(shape, peers)),
    }
}

fn own_address(shape: &Shape, victim: &Victim) -> Result<Ipv4Addr, String> {
    let found = match victim.node {
        Some((slot, _)) => shape.addresses.get(&slot),
        None => shape.machines.get(&victim.name),
    };
    found.copied().ok_or_else(|| format!("{} has no address", victim.name))
}

/// Addresses of peers that are named.
fn addresses(shape: &Shape, peers: Peers) -> Vec<Ipv4Addr> {
    let of =
        |names: &mut dyn Iterator<Item = &String>| names.filter_map(|name| shape.machines.get(name)).copied().collect();
    match peers {
        Peers::Everyone => shape.machines.values().copied().collect(),
        Peers::ZooKeeper => of(&mut shape.zookeepers.iter()),
        Peers::Masters => of(&mut shape.masters.keys()),
        Peers::Frameworks => of(&mut shape.frameworks.iter()),
        Peers::Hosts => of(&mut shape.hosts.iter()),
        Peers::Proxy => of(&mut std::iter::once(&shape.edge)),
    }
}

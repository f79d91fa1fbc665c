//! `isolate`: no packet passes between a part and others: everybody, or those of some kinds; both ways, or one. What runs on a cut-off
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
use super::{PeerSet, Peers, TargetClass, Victim};
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
    let nothing = Act::Cut(Cut::Between { one: vec![], other: vec![], way: Way::Both });
    let needs = "isolate and partition need netfilter (raw and mangle tables) in the kernel";
    trial(world, world.outposts.keys(), &nothing, needs).await
}

/// These machines can do this, which harms nobody: it is made and undone on all of them.
pub(super) async fn trial(
    world: &World,
    machines: impl Iterator<Item = &String>,
    act: &Act,
    needs: &str,
) -> Result<(), String> {
    let trials = machines.map(|machine| async move {
        let fault = "trial".to_owned();
        let lease_ms = u64::try_from(TRIAL_MAX.as_millis()).unwrap_or(u64::MAX);
        let inject = Call::Inject { fault: fault.clone(), act: act.clone(), lease_ms };
        for call in [inject, Call::Undo { fault, act: act.clone() }] {
            let outpost = world.outposts.get(machine);
            let done = world.call(outpost, call, TRIAL_MAX, |reply| (reply == Reply::Done).then_some(()));
            done.await.result.map_err(|why| format!("{machine} can't: {why}; {needs}"))?;
        }
        Ok(())
    });
    all(join_all(trials).await)
}

/// What cuts one victim off: rules on its machine; on every host for what belongs to a node, which may move.
pub(super) fn works(shape: &Shape, fault: &str, victim: &Victim, from: PeerSet, way: Way) -> Result<Vec<Work>, String> {
    let act = Act::Cut(cut(shape, victim, from, way)?);
    Ok(at_victim(shape, fault, victim, &act))
}

/// This act wherever packets of the victim pass: on its machine; on every host for what belongs to a node, which may move.
pub(super) fn at_victim(shape: &Shape, fault: &str, victim: &Victim, act: &Act) -> Vec<Work> {
    if victim.class.is_of_node() {
        return shape.hosts.iter().map(|host| Work::at(host, fault, victim, act.clone())).collect();
    }
    vec![Work::at_victim(fault, victim, act.clone())]
}

/// The packets between a victim and these peers.
pub(super) fn cut(shape: &Shape, victim: &Victim, from: PeerSet, way: Way) -> Result<Cut, String> {
    let own = || own_address(shape, victim);
    let between = |other: Vec<Ipv4Addr>| Ok(Cut::Between { one: vec![own()?], other, way });
    let ports = |served: &[u16], asked: &[u16]| {
        Ok(Cut::Ports { address: own()?, served: served.to_vec(), asked: asked.to_vec(), way })
    };
    match victim.class {
        TargetClass::Etcd => ports(&ETCD_PORTS, &ETCD_PORTS),
        TargetClass::Sshd => ports(&[SSH_PORT], &[]),
        TargetClass::Jupyter => ports(&[shape.jupyter_port], &[]),
        TargetClass::Bird => ports(&[BGP_PORT], &[BGP_PORT]),
        TargetClass::Brick => Ok(Cut::Brick { process: victim.process()?, way }),
        _ if from != PeerSet::EVERYONE => between(addresses(shape, from)),
        // Whoever an agent talks to beyond its own machine: the rest of the machine talks to neither.
        TargetClass::MesosAgent => between(addresses(shape, [Peers::Masters, Peers::ZooKeeper].into_iter().collect())),
        TargetClass::Node => between(vec![]),
        _ => Ok(Cut::Uplink { way }),
    }
}

fn own_address(shape: &Shape, victim: &Victim) -> Result<Ipv4Addr, String> {
    let found = match victim.node {
        Some((slot, _)) => shape.addresses.get(&slot),
        None => shape.machines.get(&victim.name),
    };
    found.copied().ok_or_else(|| format!("{} has no address", victim.name))
}

/// Addresses of all these peers.
fn addresses(shape: &Shape, from: PeerSet) -> Vec<Ipv4Addr> {
    let names = |peers| -> Vec<&String> {
        match peers {
            Peers::Everyone => shape.machines.keys().collect(),
            Peers::ZooKeeper => shape.zookeepers.iter().collect(),
            Peers::Masters => shape.masters.keys().collect(),
            Peers::Frameworks => shape.frameworks.iter().collect(),
            Peers::Hosts => shape.hosts.iter().collect(),
            Peers::Proxy => vec![&shape.edge],
        }
    };
    from.iter().flat_map(names).filter_map(|name| shape.machines.get(name)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::fixture;
    use crate::invariant::fixture::Cluster;

    #[test]
    fn a_part_is_cut_off_from_all_that_are_named_in_the_way_that_is_named() {
        let mut shape = Cluster::steady().shape;
        let names = shape.hosts.iter().chain(&shape.zookeepers).chain(shape.masters.keys());
        let addresses = (1..).map(|n| Ipv4Addr::new(198, 18, 0, n));
        shape.machines = names.cloned().zip(addresses).collect();
        let agent = fixture::part(TargetClass::MesosAgent, &shape.hosts[0], "c");
        let address = |name: &String| shape.machines[name];
        let masters: Vec<Ipv4Addr> = shape.masters.keys().map(address).collect();
        let zookeepers: Vec<Ipv4Addr> = shape.zookeepers.iter().map(address).collect();
        let from = |peers: &[Peers]| cut(&shape, &agent, peers.iter().copied().collect(), Way::In);
        let one = vec![address(&shape.hosts[0])];
        let expected =
            |other: &[Vec<Ipv4Addr>]| Ok(Cut::Between { one: one.clone(), other: other.concat(), way: Way::In });
        assert_eq!(from(&[Peers::Masters]), expected(std::slice::from_ref(&masters)));
        let both = expected(&[zookeepers, masters]);
        assert_eq!(from(&[Peers::Masters, Peers::ZooKeeper]), both);
        assert_eq!(from(&[Peers::Everyone]), both, "an agent talks to nobody else");
        let host = fixture::part(TargetClass::Host, &shape.hosts[0], "c");
        assert_eq!(cut(&shape, &host, PeerSet::EVERYONE, Way::Out), Ok(Cut::Uplink { way: Way::Out }));
    }
}

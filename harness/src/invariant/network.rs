//! `network`: every node's address is in the pool and used once; every pair of nodes can talk; BGP sessions are up between all
//! live hosts (and from the edge to them); no route to the dead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use stormbed::config::{Slot, parse_cidr};
use stormbed::outpost::protocol::{ContainerState, ContainerView, RoutesView};

use super::evidence::Evidence;
use super::{Invariant, Judged, Look, Part};

/// The invariant.
#[derive(Debug)]
pub struct Network;

impl Invariant for Network {
    fn judge(&self, look: &Look<'_>) -> Judged {
        Judged { fast: Some(fast(look)), deep: Some(deep(look)), ..Judged::default() }
    }
}

fn fast(look: &Look<'_>) -> Part {
    let mut evidence = Evidence::default();
    let mut alive: BTreeMap<Slot, &str> = BTreeMap::new();
    let mut users: BTreeMap<Ipv4Addr, Vec<&str>> = BTreeMap::new();
    let mut complete = true;
    for (host, probe) in look.containers() {
        let Some(views) = evidence.look(&format!("the containers of {host}"), probe) else {
            complete = false;
            continue;
        };
        // A frozen container keeps its address and route.
        for view in views.iter().filter(|v| matches!(v.state, ContainerState::Running | ContainerState::Paused)) {
            alive.insert(view.slot, host);
            judge_address(look, view, &mut evidence);
            users.entry(view.address.unwrap_or(Ipv4Addr::UNSPECIFIED)).or_default().push(&view.name);
        }
    }
    for (address, names) in users.iter().filter(|(_, names)| names.len() > 1) {
        evidence.broken(format!("{address} is used {} times: by {}", names.len(), names.join(" and ")));
    }
    for (machine, probe) in look.seen.fast.routes.iter().filter(|(machine, _)| !look.held.hosts.contains(*machine)) {
        if let Some(view) = evidence.look(&format!("the routes of {machine}"), probe) {
            if complete {
                judge_routes(look, machine, view, &alive, &mut evidence);
            }
            judge_sessions(look, machine, view, &mut evidence);
        }
    }
    for machine in look.shape.hosts.iter().chain([&look.shape.edge]) {
        if !look.seen.fast.routes.contains_key(machine) {
            evidence.unknown(format!("the routes of {machine} were not asked for"));
        }
    }
    evidence.part()
}

fn judge_address(look: &Look<'_>, view: &ContainerView, evidence: &mut Evidence) {
    let whose = format!("the address of slot {} ({})", view.slot, view.name);
    match (view.address, look.shape.addresses.get(&view.slot)) {
        // The engine shows no address until the container has joined its network.
        (None, _) if look.truth.settling.contains(&view.slot) => {}
        (Some(found), Some(expected)) if found == *expected => {
            if !in_pool(&look.shape.pool, found) {
                evidence.broken(format!("{whose}, {found}, is outside of the pool {}", look.shape.pool));
            }
        }
        (found, expected) => evidence.broken(format!("{whose}: expected {expected:?}, found {found:?}")),
    }
}

fn in_pool(pool: &str, address: Ipv4Addr) -> bool {
    parse_cidr(pool).is_ok_and(|(base, bits)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        u32::from(address) & mask == u32::from(base)
    })
}

/// A /32 to every living node, by the right way, and none to the dead.
fn judge_routes(
    look: &Look<'_>,
    machine: &str,
    view: &RoutesView,
    alive: &BTreeMap<Slot, &str>,
    evidence: &mut Evidence,
) {
    for (slot, address) in &look.shape.addresses {
        let routes: Vec<_> = view.routes.iter().filter(|route| route.to == *address).collect();
        match (alive.get(slot), routes.as_slice()) {
            (Some(_), _) if look.truth.settling.contains(slot) => {}
            (None, []) => {}
            (None, [route, ..]) => evidence.broken(format!(
                "{machine} has a route to {address} (via {:?}, {}), but nothing runs slot {slot}: a route to the dead",
                route.via, route.dev
            )),
            (Some(host), []) => evidence.broken(format!("{machine} has no route to slot {slot} ({address}) on {host}")),
            (Some(host), [route]) if route.via.is_none() == (*host == machine) => {}
            (Some(host), _) => evidence.broken(format!(
                "{machine}'s routes to slot {slot} ({address}) on {host}: expected one {}, found {routes:?}",
                if *host == machine { "to a local interface" } else { "through another machine" }
            )),
        }
    }
    let known: BTreeSet<&Ipv4Addr> = look.shape.addresses.values().collect();
    for route in view.routes.iter().filter(|route| !known.contains(&route.to)) {
        evidence.broken(format!("{machine} has a route to {}, which is no slot's address", route.to));
    }
}

/// Sessions are named after the peer: `Mesh_host_2`.
fn judge_sessions(look: &Look<'_>, machine: &str, view: &RoutesView, evidence: &mut Evidence) {
    for peer in look.hosts().filter(|peer| *peer != machine) {
        let mapped: String = peer.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        match view.bgp.iter().find(|(name, _)| name.ends_with(&mapped)) {
            Some((_, state)) if state == "Established" => {}
            Some((_, state)) => {
                evidence.broken(format!("{machine}'s BGP session with {peer}: expected Established, found {state}"));
            }
            None => evidence.broken(format!("{machine} has no BGP session with {peer}; it has {:?}", view.bgp.keys())),
        }
    }
}

/// Every pair of settled members can talk.
fn deep(look: &Look<'_>) -> Part {
    let mut evidence = Evidence::default();
    let core = look.truth.core();
    let hosts: BTreeSet<&String> = look
        .truth
        .running
        .iter()
        .filter(|(slot, _)| core.contains(slot))
        .flat_map(|(_, nodes)| nodes.iter().map(|node| &node.host))
        .filter(|host| !look.held.hosts.contains(*host))
        .collect();
    if hosts.is_empty() {
        evidence.unknown("no settled member was seen, so nobody can echo");
    }
    for host in hosts {
        let Some(probe) = look.seen.deep.reach.get(host) else {
            evidence.unknown(format!("{host} hasn't tried its echoes yet"));
            continue;
        };
        if probe.begin < look.truth.since {
            evidence.uses(probe);
            evidence.unknown(format!("{host}'s newest echoes began before the members were what they are"));
            continue;
        }
        let Some(view) = evidence.look(&format!("the echoes of {host}"), probe) else {
            continue;
        };
        if view.tried == 0 {
            evidence.unknown(format!("{host} tried no echo"));
        }
        for (container, address) in &view.failed {
            let from = core.iter().find(|slot| look.truth.runs(**slot, container));
            let to = core.iter().find(|slot| look.shape.addresses.get(slot) == Some(address));
            if let (Some(from), Some(to)) = (from, to) {
                evidence.broken(format!("slot {from} on {host} got no echo from slot {to} ({address})"));
            }
        }
    }
    evidence.part()
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;
    use stormbed::outpost::protocol::Route;

    use super::*;
    use crate::invariant::fixture::{BEGIN, Cluster, address, probe};
    use crate::observe::observation::ReachView;

    fn changed(change: impl Fn(&mut Cluster)) -> Cluster {
        let mut cluster = Cluster::steady();
        change(&mut cluster);
        cluster
    }

    fn routes<'a>(cluster: &'a mut Cluster, machine: &str) -> &'a mut RoutesView {
        let probe = cluster.seen.fast.routes.get_mut(machine).expect("a machine");
        probe.result.as_mut().expect("a look")
    }

    #[test]
    fn a_right_network_holds() {
        Cluster::steady().accepted(&Network);
    }

    #[test]
    fn a_host_that_a_fault_holds_down_has_no_sessions_and_needs_none() {
        let mut cluster = changed(|c| {
            for machine in ["host-1", "host-3", "edge"] {
                routes(c, machine).bgp.insert("peer_host_2".into(), "Active".into());
            }
            let dead = Err("no answer".to_owned());
            c.seen.fast.routes.get_mut("host-2").expect("a host").result = dead;
        });
        cluster.rejected(&Network, &["BGP session with host-2"]);
        cluster.held.hosts.insert("host-2".into());
        cluster.rejected(&Network, &["a route to the dead"]);
        for machine in ["host-1", "host-3", "edge"] {
            routes(&mut cluster, machine).routes.retain(|route| ![address(1), address(4)].contains(&route.to));
        }
        cluster.accepted(&Network);
    }

    #[test]
    fn addresses_are_right_and_used_once() {
        changed(|c| c.container(1).address = Some(Ipv4Addr::new(10, 0, 0, 1)))
            .rejected(&Network, &["slot 1", "10.0.0.1"]);
        changed(|c| c.container(1).address = None).rejected(&Network, &["slot 1", "None"]);
        changed(|c| c.container(1).address = Some(address(0))).rejected(&Network, &["198.19.0.10 is used 2 times"]);
        changed(|c| c.shape.pool = "10.0.0.0/24".into()).rejected(&Network, &["outside of the pool 10.0.0.0/24"]);
    }

    #[test]
    fn a_missing_a_dead_and_a_foreign_route_are_rejected() {
        changed(|c| routes(c, "edge").routes.retain(|r| r.to != address(3)))
            .rejected(&Network, &["edge has no route to slot 3"]);
        changed(|c| {
            c.container(3).state = ContainerState::Exited;
            c.etcd_fails(3, "refused");
        })
        .rejected(&Network, &["nothing runs slot 3", "a route to the dead"]);
        let foreign = Route { to: Ipv4Addr::new(198, 19, 0, 99), via: None, dev: "cali1".into() };
        changed(|c| routes(c, "host-1").routes.push(foreign.clone()))
            .rejected(&Network, &["198.19.0.99", "no slot's address"]);
        changed(|c| routes(c, "host-1").routes[1].via = None)
            .rejected(&Network, &["host-1", "slot 1", "through another machine"]);
    }

    #[test]
    fn sessions_are_up() {
        changed(|c| {
            routes(c, "host-2").bgp.insert("peer_host_3".into(), "Active".into());
        })
        .rejected(&Network, &["host-2's BGP session with host-3", "Active"]);
        changed(|c| routes(c, "edge").bgp.clear()).rejected(&Network, &["edge has no BGP session with host-1"]);
    }

    #[test]
    fn every_pair_can_talk() {
        let silent = |container: &str| {
            changed(|c| {
                let view = ReachView { tried: 8, failed: vec![(container.into(), address(4))] };
                c.seen.deep.reach.insert("host-1".into(), probe(view));
            })
        };
        silent("c0").rejected(&Network, &["slot 0 on host-1 got no echo from slot 4"]);
        silent("former").accepted(&Network);
    }

    #[test]
    fn missing_or_old_evidence_is_unknown() {
        changed(|c| c.seen.deep.reach.clear()).unknown(&Network, &["host-1 hasn't tried"]);
        changed(|c| {
            let reach = c.seen.deep.reach.get_mut("host-2").expect("a host");
            reach.begin = Millis(BEGIN - 90_000);
        })
        .unknown(&Network, &["host-2's newest echoes"]);
        changed(|c| {
            c.seen.fast.routes.remove("edge");
        })
        .unknown(&Network, &["routes of edge were not asked"]);
        changed(|c| {
            let routes = c.seen.fast.routes.get_mut("host-3").expect("a host");
            routes.result = Err("no answer".into());
        })
        .unknown(&Network, &["routes of host-3", "no answer"]);
    }
}

//! The allocation table: who has which address on this host. Pure; [`super::server`] carries out its actions.
//!
//! Life of an address, with the calls in Docker's order:
//! ```text
//! free ─RequestAddress─► reserved ─CreateEndpoint─► bound ─Join─► joined ─Leave─► bound ─DeleteEndpoint─► reserved ─ReleaseAddress─► free
//! ```
//! A crash of the engine or of this program can cut the line anywhere. Whoever asks for an address that such a cut left behind
//! gets it: one that should have an interface but has none any more, or that nobody joined within [`PENDING_MAX_MS`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::wire::{NO_GATEWAY, Reply, Request, Role};
use crate::clock::Millis;
use crate::config::parse_cidr;

/// An address that was asked for but not joined by then is up for grabs: four times the 15 s after which Docker gives up a plugin call.
pub const PENDING_MAX_MS: u64 = 60_000;

/// An address in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The endpoint that has it, once there is one.
    pub endpoint: Option<String>,
    /// True between Join and Leave: the interface must exist.
    pub joined: bool,
    /// When it was last asked for or left.
    #[serde(skip)]
    pub since: Millis,
}

/// What the shell does before it answers, in this order. If one fails, the answer is its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the table.
    Persist,
    /// Remove leftovers of these names, make the pair, set the host end up, route the address to it.
    MakeLink {
        /// The host end, `cali…`.
        host: String,
        /// The container's end, `temp…`.
        container: String,
        /// The address.
        address: Ipv4Addr,
    },
    /// Remove the pair if it is there.
    RemoveLink {
        /// The host end.
        host: String,
    },
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pool: String,
    allocations: BTreeMap<Ipv4Addr, Allocation>,
}

/// The host end's name: Calico's `cali` and eleven characters of the endpoint's id.
#[must_use]
pub fn host_interface(endpoint: &str) -> String {
    format!("cali{}", endpoint.chars().take(11).collect::<String>())
}

fn container_interface(endpoint: &str) -> String {
    format!("temp{}", endpoint.chars().take(11).collect::<String>())
}

impl Table {
    /// An empty table over a pool (CIDR).
    ///
    /// # Errors
    /// If the pool isn't an IPv4 CIDR.
    pub fn new(pool: &str) -> Result<Self, String> {
        parse_cidr(pool)?;
        Ok(Self { pool: pool.to_owned(), allocations: BTreeMap::new() })
    }

    /// The pool (CIDR).
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// All addresses in use.
    #[must_use]
    pub fn allocations(&self) -> &BTreeMap<Ipv4Addr, Allocation> {
        &self.allocations
    }

    /// After a restart: `present` are the host ends that exist. What was joined and has lost its interface is free (the machine
    /// was restarted); everything else counts as just asked for.
    pub fn recover(&mut self, now: Millis, present: &BTreeSet<String>) {
        self.allocations.retain(|_, a| !orphaned(a, present));
        for allocation in self.allocations.values_mut() {
            allocation.since = now;
        }
    }

    /// Decides one call. `present` are the host ends that exist now.
    pub fn on(
        &mut self,
        now: Millis,
        role: Role,
        request: Request,
        present: &BTreeSet<String>,
    ) -> (Reply, Vec<Action>) {
        let answer = |reply| (reply, Vec::new());
        match request {
            Request::Activate => answer(Reply::Implements(role)),
            Request::Capabilities => answer(match role {
                Role::Network => Reply::NetworkCapabilities,
                Role::Ipam => Reply::IpamCapabilities,
            }),
            Request::AddressSpaces => answer(Reply::AddressSpaces),
            Request::RequestPool { pool, sub_pool } => answer(self.request_pool(pool, sub_pool)),
            Request::RequestAddress { pool_id, address, gateway } => {
                self.request_address(now, &pool_id, address, gateway, present)
            }
            Request::ReleaseAddress { address } => self.release_address(address),
            Request::CreateNetwork { gateways, unknown_options, .. } => {
                answer(create_network(&gateways, &unknown_options))
            }
            Request::CreateEndpoint { endpoint, address, .. } => self.create_endpoint(now, endpoint, address),
            Request::DeleteEndpoint { endpoint } => self.delete_endpoint(now, &endpoint),
            Request::Join { endpoint } => self.join(&endpoint),
            Request::Leave { endpoint } => self.leave(now, &endpoint),
            Request::ReleasePool | Request::DeleteNetwork { .. } | Request::Nothing => answer(Reply::Empty),
        }
    }

    fn request_pool(&self, pool: Option<String>, sub_pool: Option<String>) -> Reply {
        if let Some(part) = sub_pool {
            return Reply::Refused(format!(
                "the sub-pool {part} is refused: addresses come from the whole pool {}; leave --ip-range out",
                self.pool
            ));
        }
        match pool {
            Some(pool) if pool == self.pool => Reply::Pool(pool),
            None => Reply::Pool(self.pool.clone()),
            Some(other) => Reply::Refused(format!(
                "{other} is not the pool of this network plugin; expected --subnet {}",
                self.pool
            )),
        }
    }

    fn request_address(
        &mut self,
        now: Millis,
        pool_id: &str,
        address: Option<Ipv4Addr>,
        gateway: bool,
        present: &BTreeSet<String>,
    ) -> (Reply, Vec<Action>) {
        let refuse = |why| (Reply::Refused(why), Vec::new());
        if gateway {
            // Docker replays the gateway it was told; anything else would be an address of the user's.
            return match address {
                None | Some(Ipv4Addr::UNSPECIFIED) => (Reply::Address(NO_GATEWAY.to_owned()), Vec::new()),
                Some(other) => refuse(format!(
                    "the gateway {other} is refused: workloads reach everything through 169.254.1.1; leave --gateway out"
                )),
            };
        }
        if pool_id != self.pool {
            return refuse(format!("unknown pool {pool_id}; expected {}", self.pool));
        }
        let Some(address) = address else {
            return refuse(
                "no address was asked for: on this network every container is given its address (--ip)".to_owned(),
            );
        };
        if !self.contains(address) {
            return refuse(format!("the address {address} lies outside of the pool {}", self.pool));
        }
        if let Some(held) = self.allocations.get(&address) {
            let abandoned = !held.joined && now.since(held.since).as_millis() >= u128::from(PENDING_MAX_MS);
            if !abandoned && !orphaned(held, present) {
                return refuse(format!("address in use: {address} (endpoint {})", holder(held)));
            }
        }
        let allocation = Allocation { endpoint: None, joined: false, since: now };
        self.allocations.insert(address, allocation);
        (Reply::Address(format!("{address}/32")), vec![Action::Persist])
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        parse_cidr(&self.pool).is_ok_and(|(base, bits)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(address) & mask == u32::from(base)
        })
    }

    fn release_address(&mut self, address: Ipv4Addr) -> (Reply, Vec<Action>) {
        let mut actions = Vec::new();
        if let Some(released) = self.allocations.remove(&address) {
            if let Some(endpoint) = released.endpoint.filter(|_| released.joined) {
                // Out of Docker's order; whoever gets the address next must not share it with this link.
                actions.push(Action::RemoveLink { host: host_interface(&endpoint) });
            }
            actions.push(Action::Persist);
        }
        (Reply::Empty, actions)
    }

    fn create_endpoint(&mut self, now: Millis, endpoint: String, address: Option<Ipv4Addr>) -> (Reply, Vec<Action>) {
        let refuse = |why| (Reply::Refused(why), Vec::new());
        let Some(address) = address else {
            return refuse(
                "the endpoint has no IPv4 address; create the network with --ipam-driver calico-ipam".into(),
            );
        };
        if let Some((other, _)) = self.find(&endpoint).filter(|(other, _)| *other != address) {
            return refuse(format!("the endpoint {endpoint} already has the address {other}"));
        }
        let Some(allocation) = self.allocations.get_mut(&address) else {
            return refuse(format!("the address {address} was not given by calico-ipam"));
        };
        if let Some(other) = allocation.endpoint.as_ref().filter(|e| **e != endpoint) {
            return refuse(format!("address in use: {address} (endpoint {other})"));
        }
        allocation.endpoint = Some(endpoint);
        allocation.since = now;
        (Reply::Endpoint, vec![Action::Persist])
    }

    fn find(&mut self, endpoint: &str) -> Option<(Ipv4Addr, &mut Allocation)> {
        self.allocations
            .iter_mut()
            .find(|(_, a)| a.endpoint.as_deref() == Some(endpoint))
            .map(|(address, allocation)| (*address, allocation))
    }

    fn join(&mut self, endpoint: &str) -> (Reply, Vec<Action>) {
        let Some((address, allocation)) = self.find(endpoint) else {
            let why = format!("the endpoint {endpoint} is unknown here: its container must be started again");
            return (Reply::Refused(why), Vec::new());
        };
        allocation.joined = true;
        let (host, container) = (host_interface(endpoint), container_interface(endpoint));
        let reply = Reply::Joined { source: container.clone() };
        // The link first: a table that says "joined" for a link that was never made would free the address at once.
        (reply, vec![Action::MakeLink { host, container, address }, Action::Persist])
    }

    fn leave(&mut self, now: Millis, endpoint: &str) -> (Reply, Vec<Action>) {
        let mut actions = vec![Action::RemoveLink { host: host_interface(endpoint) }];
        if let Some((_, allocation)) = self.find(endpoint) {
            allocation.joined = false;
            allocation.since = now;
            actions.push(Action::Persist);
        }
        (Reply::Empty, actions)
    }

    fn delete_endpoint(&mut self, now: Millis, endpoint: &str) -> (Reply, Vec<Action>) {
        let left = self.leave(now, endpoint);
        if let Some((_, allocation)) = self.find(endpoint) {
            allocation.endpoint = None;
        }
        left
    }
}

fn create_network(gateways: &[String], unknown_options: &[String]) -> Reply {
    if let Some(option) = unknown_options.first() {
        return Reply::Refused(format!("the network option {option} is not supported; leave it out"));
    }
    match gateways.iter().find(|gateway| *gateway != NO_GATEWAY) {
        Some(other) => Reply::Refused(format!(
            "the network's gateway is {other} instead of {NO_GATEWAY}; create it with --ipam-driver calico-ipam"
        )),
        None if gateways.is_empty() => {
            Reply::Refused("the network has no IPv4 pool; create it with --ipam-driver calico-ipam".into())
        }
        None => Reply::Empty,
    }
}

/// Joined, yet the interface is gone: nobody can be using the address.
fn orphaned(allocation: &Allocation, present: &BTreeSet<String>) -> bool {
    allocation.joined
        && allocation.endpoint.as_deref().is_none_or(|endpoint| !present.contains(&host_interface(endpoint)))
}

fn holder(allocation: &Allocation) -> &str {
    allocation.endpoint.as_deref().unwrap_or("not yet created")
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

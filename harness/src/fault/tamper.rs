//! `tamper`: what a node keeps is damaged: its table of names, the keys that may log in, its registration, its etcd data. Nothing of
//! it is undone by the testbed: the system must notice and heal it.
//!
//! An outpost does the damage and sees it right then, before the system can heal it.

use stormbed::node::ssh::AUTHORIZED_KEYS;
use stormbed::outpost::protocol::Act;
use stormbed::outpost::tamper::Tamper;
use stormbed::registry::Keys;

use super::work::Work;
use super::{Damage, Victim};
use crate::observe::observation::Shape;

/// Where every process looks names up.
const HOSTS: &str = "/etc/hosts";

/// What damages one node.
pub(super) fn work(shape: &Shape, fault: &str, victim: &Victim, what: Damage) -> Result<Work, String> {
    let (slot, _) = victim.node.ok_or_else(|| format!("{} is no node", victim.name))?;
    let container = victim.container.clone();
    let file = |path: &str| Tamper::File { container: container.clone(), path: path.to_owned() };
    let tamper = match what {
        Damage::Hosts => file(HOSTS),
        Damage::AuthorizedKeys => file(AUTHORIZED_KEYS),
        Damage::Lease => {
            let others = shape.addresses.iter().filter(|(other, _)| **other != slot);
            let endpoints = others.map(|(_, address)| *address).collect();
            Tamper::Registration { endpoints, key: Keys::of(&shape.cluster).node(slot) }
        }
        Damage::EtcdData => Tamper::EtcdData { container, slot },
    };
    Ok(Work::at_victim(fault, victim, Act::Tamper(tamper)))
}

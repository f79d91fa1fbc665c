//! `hosts`: every member's /etc/hosts names exactly the members, PREFIX-0..PREFIX-(m-1), each with the right address, the same on
//! all, and PREFIX-0 is the etcd leader.
//!
//! Only names `PREFIX-<digits>` count: a container's own `PREFIX-s<k>` and everything else in the file is its own business.
//! Tables with or without a slot that settles (or whose etcd wasn't heard in this tick) are right; that slot's own file isn't judged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use stormbed::config::Slot;
use stormbed::outpost::protocol::ContainerView;

use super::evidence::Evidence;
use super::truth::Truth;
use super::{Invariant, Judged, Look};

/// The invariant.
#[derive(Debug)]
pub struct Hosts;

impl Invariant for Hosts {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        evidence.uses(&look.seen.fast.etcd_before);
        evidence.uses(&look.seen.fast.etcd_after);
        let core = look.truth.core();
        let mut judged = 0;
        for (host, probe) in look.containers() {
            let Some(views) = evidence.look(&format!("the containers of {host}"), probe) else {
                continue;
            };
            for view in views.iter().filter(|view| core.contains(&view.slot) && look.truth.runs(view.slot, &view.id)) {
                judged += 1;
                judge_file(look, view, &core, &mut evidence);
            }
        }
        if judged == 0 {
            evidence.unknown("no member whose /etc/hosts could be judged was seen");
        }
        if look.truth.etcd_leader.is_none() {
            evidence.unknown("there is no etcd leader, so nobody is PREFIX-0");
        }
        Judged { fast: Some(evidence.part()), ..Judged::default() }
    }
}

fn judge_file(look: &Look<'_>, view: &ContainerView, core: &BTreeSet<Slot>, evidence: &mut Evidence) {
    let whose = format!("/etc/hosts of slot {} ({})", view.slot, view.hostname);
    let text = match &view.hosts_file {
        Ok(text) => text,
        Err(why) => {
            evidence.unknown(format!("{whose} could not be read: {why}"));
            return;
        }
    };
    let table = parse(&look.shape.prefix, text);
    let mut named: BTreeMap<&String, Slot> = BTreeMap::new();
    for (name, addresses) in &table {
        let slots: Vec<Slot> = look
            .shape
            .addresses
            .iter()
            .filter(|(_, address)| addresses.contains(address))
            .map(|(slot, _)| *slot)
            .collect();
        match (slots.as_slice(), addresses.len()) {
            ([slot], 1) => {
                named.insert(name, *slot);
            }
            _ => evidence
                .broken(format!("{whose}: {name} must have exactly one address, that of a slot; found {addresses:?}")),
        }
    }
    let slots: BTreeSet<Slot> = named.values().copied().collect();
    let optional = look.truth.optional();
    for slot in core.difference(&slots) {
        evidence.broken(format!("{whose}: member slot {slot} is missing; expected {core:?}, found {slots:?}"));
    }
    for slot in slots.difference(core).filter(|slot| !optional.contains(slot)) {
        evidence.broken(format!("{whose}: slot {slot} is no member; expected {core:?}, found {slots:?}"));
    }
    let Some(leader) = &look.truth.etcd_leader else {
        return;
    };
    if !slots.contains(&leader.slot) && optional.contains(&leader.slot) {
        evidence.unknown(format!("{whose}: the etcd leader, slot {}, is still settling", leader.slot));
        return;
    }
    let expected = Truth::names(&look.shape.prefix, leader.slot, &slots);
    for (name, slot) in &expected {
        match named.get(name) {
            Some(found) if found == slot => {}
            found => evidence.broken(format!(
                "{whose}: {name} must be slot {slot} (etcd leads slot {}), found {}",
                leader.slot,
                found.map_or("no such name".to_owned(), |found| format!("slot {found}"))
            )),
        }
    }
    for name in named.keys().filter(|name| !expected.contains_key(**name)) {
        evidence.broken(format!(
            "{whose}: {name} must not be there: {} members have {} names without gaps",
            slots.len(),
            slots.len()
        ));
    }
}

/// The names `PREFIX-<digits>` of a hosts file with their addresses.
#[must_use]
pub fn parse(prefix: &str, text: &str) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    let mut table: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<Ipv4Addr>) else {
            continue;
        };
        for name in words.filter(|name| is_numbered(prefix, name)) {
            table.entry(name.to_owned()).or_default().insert(address);
        }
    }
    table
}

fn is_numbered(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::protocol::ContainerState;

    use super::*;
    use crate::invariant::fixture::{Cluster, address, hosts_file};

    fn with_file(slot: Slot, file: String) -> Cluster {
        let mut cluster = Cluster::steady();
        cluster.container(slot).hosts_file = Ok(file);
        cluster
    }

    fn everywhere(file: &str) -> Cluster {
        let mut cluster = Cluster::steady();
        for slot in 0..5 {
            cluster.container(slot).hosts_file = Ok(file.to_owned());
        }
        cluster
    }

    #[test]
    fn a_right_table_holds() {
        Cluster::steady().accepted(&Hosts);
    }

    #[test]
    fn one_missing_member_is_rejected() {
        let file: String = hosts_file().lines().filter(|l| !l.ends_with("storm-4")).map(|l| format!("{l}\n")).collect();
        with_file(1, file).rejected(&Hosts, &["slot 1", "slot 4 is missing"]);
    }

    #[test]
    fn a_dead_member_that_is_still_named_is_rejected() {
        let mut cluster = Cluster::steady();
        cluster.container(3).state = ContainerState::Exited;
        cluster.etcd_fails(3, "refused");
        cluster.rejected(&Hosts, &["slot 3 is no member"]);
    }

    #[test]
    fn prefix_0_must_be_the_leader() {
        let file = hosts_file()
            .replace("storm-0\n", "storm-x\n")
            .replace("storm-1\n", "storm-0\n")
            .replace("storm-x\n", "storm-1\n");
        everywhere(&file).rejected(&Hosts, &["storm-0 must be slot 2", "found slot 0"]);
    }

    #[test]
    fn a_gap_in_the_numbers_is_rejected() {
        let file = hosts_file().replace("storm-4\n", "storm-5\n");
        everywhere(&file).rejected(&Hosts, &["storm-4 must be slot 4", "no such name"]);
    }

    #[test]
    fn a_wrong_address_and_two_addresses_are_rejected() {
        let wrong = hosts_file().replace(&format!("{} storm-4", address(4)), "198.19.0.99 storm-4");
        with_file(0, wrong).rejected(&Hosts, &["storm-4 must have exactly one address"]);
        let two = hosts_file() + &format!("{} storm-4\n", address(3));
        with_file(0, two).rejected(&Hosts, &["storm-4 must have exactly one address"]);
    }

    #[test]
    fn tables_that_swap_two_followers_are_rejected() {
        let file = hosts_file()
            .replace("storm-3\n", "storm-x\n")
            .replace("storm-4\n", "storm-3\n")
            .replace("storm-x\n", "storm-4\n");
        with_file(0, file).rejected(&Hosts, &["slot 0", "storm-3 must be slot 3"]);
    }

    #[test]
    fn a_settling_slot_may_be_named_or_not() {
        let mut cluster = Cluster::steady();
        cluster.container(4).id = "new".into();
        cluster.accepted(&Hosts);
        let without: String =
            hosts_file().lines().filter(|l| !l.ends_with("storm-4")).map(|l| format!("{l}\n")).collect();
        for slot in 0..5 {
            cluster.container(slot).hosts_file = Ok(without.clone());
        }
        cluster.accepted(&Hosts);
    }

    #[test]
    fn missing_evidence_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.container(0).hosts_file = Err("no such process".into());
        cluster.unknown(&Hosts, &["slot 0", "no such process"]);
        let mut cluster = Cluster::steady();
        if let Some(probe) = cluster.seen.fast.containers.get_mut("host-1") {
            probe.result = Err("no answer".into());
        }
        cluster.unknown(&Hosts, &["host-1", "no answer"]);
        let mut cluster = Cluster::steady();
        cluster.etcd_view(2).leader_id = 0;
        cluster.unknown(&Hosts, &["no etcd leader"]);
    }

    #[test]
    fn only_numbered_names_count() {
        let table = parse("storm", "10.0.0.1 storm-s1 storm-1 storm-01x other # storm-2\n::1 storm-3\n");
        assert_eq!(table.keys().collect::<Vec<_>>(), ["storm-1"]);
    }
}

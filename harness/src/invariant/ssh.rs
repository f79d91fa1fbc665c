//! `ssh`: every ordered pair of members logs in by host name, with keys only and strict host-key checking, and lands on the
//! machine that the name means.
//!
//! All evidence is deep: fresh logins. One that began before members or leader were what they are now speaks of other tables
//! and tells nothing. While a slot settles, a name may mean what it means with or without that slot.

use std::collections::{BTreeMap, BTreeSet};

use stormbed::config::Slot;

use super::evidence::Evidence;
use super::truth::Truth;
use super::{Invariant, Judged, Look};
use crate::observe::observation::LoginProbe;

/// With more optional slots than this, only the tables with all and with none of them are considered.
const OPTIONAL_MAX: usize = 6;

/// The invariant.
#[derive(Debug)]
pub struct Ssh;

impl Invariant for Ssh {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        let core = look.truth.core();
        match &look.truth.etcd_leader {
            None => evidence.unknown("there is no etcd leader, so the names mean nothing yet"),
            Some(leader) => {
                let tables = tables(look, leader.slot, &core);
                for from in &core {
                    for to in core.iter().filter(|to| *to != from) {
                        judge_pair(look, &tables, *from, *to, &mut evidence);
                    }
                }
                if core.len() < 2 {
                    evidence.unknown("fewer than two settled members: there is no pair to log in");
                }
            }
        }
        Judged { deep: Some(evidence.part()), ..Judged::default() }
    }
}

/// Every table that is right now: name → slot.
fn tables(look: &Look<'_>, leader: Slot, core: &BTreeSet<Slot>) -> Vec<BTreeMap<String, Slot>> {
    let optional: Vec<Slot> = look.truth.optional().into_iter().filter(|slot| *slot != leader).collect();
    let table = |chosen: BTreeSet<Slot>| Truth::names(&look.shape.prefix, leader, &chosen);
    if optional.len() > OPTIONAL_MAX {
        let all = core.iter().chain(&optional).copied().collect();
        return vec![table(core.clone()), table(all)];
    }
    (0..1usize << optional.len())
        .map(|choice| {
            let chosen = optional.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
            table(core.iter().chain(chosen.map(|(_, slot)| slot)).copied().collect())
        })
        .collect()
}

fn judge_pair(look: &Look<'_>, tables: &[BTreeMap<String, Slot>], from: Slot, to: Slot, evidence: &mut Evidence) {
    let names: BTreeSet<&String> =
        tables.iter().flatten().filter(|(_, slot)| **slot == to).map(|(name, _)| name).collect();
    let newest = look
        .seen
        .deep
        .logins
        .iter()
        .filter(|login| look.truth.runs(from, &login.container) && names.contains(&login.to))
        .filter(|login| login.probe.begin >= look.truth.since)
        .max_by_key(|login| login.probe.begin);
    match newest {
        None => evidence.unknown(format!("no login from slot {from} to slot {to} since the members are what they are")),
        Some(login) => judge_login(look, tables, login, evidence),
    }
}

fn judge_login(look: &Look<'_>, tables: &[BTreeMap<String, Slot>], login: &LoginProbe, evidence: &mut Evidence) {
    evidence.uses(&login.probe);
    let meant: BTreeSet<Slot> = tables.iter().filter_map(|table| table.get(&login.to)).copied().collect();
    let what = format!("login from slot {} to {}", login.from, login.to);
    let asked = match &login.probe.result {
        Ok(asked) => asked,
        Err(why) => {
            evidence.unknown(format!("the {what} could not be tried: {why}"));
            return;
        }
    };
    match asked {
        Err(why) if tables.len() > 1 && tables.iter().any(|table| !table.contains_key(&login.to)) => {
            evidence.unknown(format!("{what} failed while the name may be absent: {why}"));
        }
        Err(why) => evidence.broken(format!("{what} failed: {why}; expected to land on slot {meant:?}")),
        Ok(view) => {
            let landed = meant.iter().any(|slot| {
                view.hostname == look.shape.slot_hostname(*slot)
                    && look.shape.addresses.get(slot).is_some_and(|address| view.addresses.contains(address))
            });
            if !landed {
                evidence.broken(format!(
                    "{what} landed on {} with {:?}; expected the machine of slot {meant:?}",
                    view.hostname, view.addresses
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;

    use super::*;
    use crate::invariant::fixture::{BEGIN, Cluster, address};

    fn login<'a>(cluster: &'a mut Cluster, from: Slot, to: &str) -> &'a mut LoginProbe {
        let mut logins = cluster.seen.deep.logins.iter_mut();
        logins.find(|l| l.from == from && l.to == to).expect("a login")
    }

    #[test]
    fn right_logins_hold() {
        Cluster::steady().accepted(&Ssh);
    }

    #[test]
    fn a_refused_login_is_rejected() {
        let mut cluster = Cluster::steady();
        login(&mut cluster, 1, "storm-4").probe.result = Ok(Err("Host key verification failed".into()));
        cluster.rejected(&Ssh, &["from slot 1 to storm-4", "Host key"]);
    }

    #[test]
    fn a_login_that_could_not_be_tried_tells_nothing() {
        let mut cluster = Cluster::steady();
        login(&mut cluster, 1, "storm-4").probe.result = Err("no outpost is connected".into());
        cluster.unknown(&Ssh, &["from slot 1 to storm-4", "could not be tried", "no outpost"]);
    }

    #[test]
    fn landing_elsewhere_is_rejected() {
        let mut cluster = Cluster::steady();
        if let Ok(Ok(view)) = &mut login(&mut cluster, 0, "storm-0").probe.result {
            view.hostname = "storm-s3".into();
        }
        cluster.rejected(&Ssh, &["landed on storm-s3", "slot {2}"]);
        let mut cluster = Cluster::steady();
        if let Ok(Ok(view)) = &mut login(&mut cluster, 0, "storm-0").probe.result {
            view.addresses = vec![address(3)];
        }
        cluster.rejected(&Ssh, &["expected the machine of slot {2}"]);
    }

    #[test]
    fn a_missing_or_stale_login_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.seen.deep.logins.retain(|l| !(l.from == 4 && l.to == "storm-1"));
        cluster.unknown(&Ssh, &["from slot 4 to slot 0"]);
        let mut cluster = Cluster::steady();
        login(&mut cluster, 4, "storm-1").probe.begin = Millis(BEGIN - 90_000);
        cluster.unknown(&Ssh, &["from slot 4 to slot 0"]);
    }

    #[test]
    fn a_login_from_a_former_incarnation_does_not_count() {
        let mut cluster = Cluster::steady();
        login(&mut cluster, 4, "storm-1").container = "former".into();
        cluster.unknown(&Ssh, &["from slot 4 to slot 0"]);
    }

    #[test]
    fn while_a_slot_settles_a_name_may_mean_either() {
        let mut cluster = Cluster::steady();
        cluster.container(3).id = "new".into();
        // The table without slot 3: storm-3 is slot 4.
        for from in [0, 1, 2] {
            if let Ok(Ok(view)) = &mut login(&mut cluster, from, "storm-3").probe.result {
                view.hostname = "storm-s4".into();
                view.addresses = vec![address(4)];
            }
            login(&mut cluster, from, "storm-4").probe.result = Ok(Err("no such name".into()));
        }
        for l in &mut cluster.seen.deep.logins {
            l.probe.begin = Millis(BEGIN + 1);
        }
        cluster.seen.deep.logins.retain(|l| l.to != "storm-4");
        cluster.accepted(&Ssh);
    }
}

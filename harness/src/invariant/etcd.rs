//! `etcd`: one leader, N members, all healthy and voting, no stale member.
//!
//! A slot whose container a fault holds frozen stays a member of the list and needn't answer. That acknowledged writes are
//! readable is the ledger's account, judged by [`crate::history`].

use std::collections::{BTreeMap, BTreeSet};

use stormbed::config::Slot;
use stormbed::outpost::protocol::EtcdView;

use super::evidence::Evidence;
use super::{Breach, Invariant, Judged, Look};

/// The invariant.
#[derive(Debug)]
pub struct Etcd;

impl Invariant for Etcd {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        evidence.uses(&look.seen.fast.etcd_before);
        if let Some(views) = evidence.look("etcd", &look.seen.fast.etcd_after) {
            match &look.truth.etcd_leader {
                None => evidence.broken(
                    "there is no etcd leader that a majority names and that confirms itself, before and after the other probes",
                ),
                Some(leader) => {
                    for slot in look.shape.addresses.keys().filter(|slot| !look.held.slots.contains(slot)) {
                        judge_member(look, *slot, views.get(slot), leader.member, leader.term, &mut evidence);
                    }
                }
            }
        }
        Judged {
            fast: Some(evidence.part()),
            breach: two_leaders(look).or_else(|| two_clusters(look)),
            ..Judged::default()
        }
    }
}

fn judge_member(
    look: &Look<'_>,
    slot: Slot,
    view: Option<&Result<EtcdView, String>>,
    leader: u64,
    term: u64,
    evidence: &mut Evidence,
) {
    let view = match view {
        Some(Ok(view)) => view,
        Some(Err(why)) => {
            evidence.broken(format!("slot {slot}'s etcd doesn't answer: {why}"));
            return;
        }
        None => {
            evidence.unknown(format!("slot {slot}'s etcd was not asked"));
            return;
        }
    };
    if view.learner {
        evidence.broken(format!("slot {slot}'s member {:x} is a learner; expected a voter", view.member_id));
    }
    if view.leader_id != leader || view.term != term {
        evidence.broken(format!(
            "slot {slot}'s member {:x} names leader {:x} at term {}; expected {leader:x} at term {term}",
            view.member_id, view.leader_id, view.term
        ));
    }
    if !view.errors.is_empty() {
        evidence.broken(format!("slot {slot}'s member {:x} reports {}", view.member_id, view.errors.join(", ")));
    }
    judge_list(look, slot, view, evidence);
}

/// The member list of one view: N started voters, each at the address of a slot of its own.
fn judge_list(look: &Look<'_>, slot: Slot, view: &EtcdView, evidence: &mut Evidence) {
    let expected = look.shape.addresses.len();
    if view.members.len() != expected {
        let names: Vec<String> = view.members.iter().map(|m| format!("{}={:x}", m.name, m.id)).collect();
        evidence.broken(format!(
            "slot {slot}'s list has {} members ({}); expected {expected}",
            view.members.len(),
            names.join(" ")
        ));
    }
    let mut seen: BTreeSet<Slot> = BTreeSet::new();
    for member in &view.members {
        let of = look.shape.addresses.iter().find(|(_, address)| {
            let here = format!("//{address}:");
            member.peer_urls.iter().any(|url| url.contains(&here))
        });
        match of {
            None => evidence.broken(format!(
                "slot {slot}'s list names member {:x} at {:?}, which is no slot's address",
                member.id, member.peer_urls
            )),
            Some((of, _)) if !seen.insert(*of) => {
                evidence.broken(format!(
                    "slot {slot}'s list names two members at slot {of}'s address: one of them is stale"
                ));
            }
            Some((of, _)) if member.learner => {
                evidence.broken(format!("slot {slot}'s list names slot {of}'s member {:x} as a learner", member.id));
            }
            Some((of, _)) if member.name.is_empty() => {
                evidence.broken(format!(
                    "slot {slot}'s list names slot {of}'s member {:x}, which has never started",
                    member.id
                ));
            }
            Some(_) => {}
        }
    }
}

fn answers<'a>(look: &Look<'a>) -> impl Iterator<Item = (Slot, &'a EtcdView)> {
    [&look.seen.fast.etcd_before, &look.seen.fast.etcd_after]
        .into_iter()
        .filter_map(|probe| probe.result.as_ref().ok())
        .flatten()
        .filter_map(|(slot, view)| view.as_ref().ok().map(|view| (*slot, view)))
}

/// Raft promises at most one leader per term.
fn two_leaders(look: &Look<'_>) -> Option<Breach> {
    let mut of_term: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (_, view) in answers(look).filter(|(_, view)| view.member_id != 0 && view.leader_id == view.member_id) {
        of_term.entry(view.term).or_default().insert(view.member_id);
    }
    let (term, leaders) = of_term.into_iter().find(|(_, leaders)| leaders.len() > 1)?;
    Some(Breach {
        why: format!("{} etcd members lead at term {term}: {leaders:x?}; expected at most one", leaders.len()),
        tolerated_ms: 0,
    })
}

/// A wiped member that starts as a cluster of its own loses what the first one acknowledged.
fn two_clusters(look: &Look<'_>) -> Option<Breach> {
    let mut clusters: BTreeMap<u64, BTreeSet<Slot>> = BTreeMap::new();
    for (slot, view) in answers(look).filter(|(_, view)| view.cluster_id != 0) {
        clusters.entry(view.cluster_id).or_default().insert(slot);
    }
    (clusters.len() > 1).then(|| Breach {
        why: format!("there are {} etcd clusters (id → slots): {clusters:x?}; expected one", clusters.len()),
        tolerated_ms: 0,
    })
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::protocol::EtcdMember;

    use super::*;
    use crate::invariant::fixture::Cluster;

    fn changed(slot: Slot, change: impl Fn(&mut EtcdView)) -> Cluster {
        let mut cluster = Cluster::steady();
        change(cluster.etcd_view(slot));
        cluster
    }

    #[test]
    fn a_right_cluster_holds() {
        Cluster::steady().accepted(&Etcd);
    }

    #[test]
    fn no_leader_is_rejected() {
        changed(2, |view| view.leader_id = 0).rejected(&Etcd, &["no etcd leader"]);
    }

    #[test]
    fn a_silent_member_is_rejected_unless_it_is_held_frozen() {
        let mut cluster = Cluster::steady();
        cluster.etcd_fails(3, "timed out");
        cluster.rejected(&Etcd, &["slot 3", "timed out"]);
        cluster.held.slots.insert(3);
        cluster.accepted(&Etcd);
    }

    #[test]
    fn a_learner_an_alarm_and_another_opinion_are_rejected() {
        changed(3, |view| view.learner = true).rejected(&Etcd, &["slot 3", "learner"]);
        changed(3, |view| view.errors.push("NOSPACE".into())).rejected(&Etcd, &["slot 3", "NOSPACE"]);
        changed(3, |view| view.leader_id = 0xa1).rejected(&Etcd, &["slot 3", "names leader a1", "expected a2"]);
    }

    #[test]
    fn a_stale_a_missing_and_a_foreign_member_are_rejected() {
        let stale = EtcdMember {
            id: 0xdead,
            name: "s3".into(),
            peer_urls: vec!["http://198.19.0.13:2380".into()],
            learner: false,
        };
        changed(0, |view| view.members.push(stale.clone())).rejected(&Etcd, &["6 members", "two members at slot 3"]);
        changed(0, |view| {
            view.members.pop();
        })
        .rejected(&Etcd, &["4 members", "expected 5"]);
        changed(0, |view| view.members[4].peer_urls = vec!["http://10.0.0.1:2380".into()])
            .rejected(&Etcd, &["no slot's address"]);
        changed(0, |view| view.members[4].learner = true).rejected(&Etcd, &["slot 4's member a4 as a learner"]);
        changed(0, |view| view.members[4].name.clear()).rejected(&Etcd, &["never started"]);
    }

    #[test]
    fn two_leaders_at_one_term_and_two_clusters_are_breaches() {
        let cluster = changed(4, |view| view.leader_id = view.member_id);
        let breach = cluster.judged(&Etcd).breach.expect("two leaders");
        assert!(breach.why.contains("lead at term 7") && breach.tolerated_ms == 0, "{breach:?}");
        let older = changed(4, |view| {
            view.leader_id = view.member_id;
            view.term -= 1;
        });
        assert_eq!(older.judged(&Etcd).breach, None, "an old leader that hasn't heard yet");
        let breach = changed(4, |view| view.cluster_id = 0xbad).judged(&Etcd).breach.expect("two clusters");
        assert!(breach.why.contains("2 etcd clusters"), "{breach:?}");
    }

    #[test]
    fn missing_evidence_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.seen.fast.etcd_after.result = Err("outpost gone".into());
        cluster.unknown(&Etcd, &["outpost gone"]);
        let mut cluster = Cluster::steady();
        if let Ok(views) = &mut cluster.seen.fast.etcd_after.result {
            views.remove(&0);
        }
        cluster.unknown(&Etcd, &["slot 0's etcd was not asked"]);
    }
}

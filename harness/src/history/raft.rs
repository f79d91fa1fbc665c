//! Raft in the open: every etcd member's term, role and index, whenever somebody's term, role or leader changes.

use std::collections::BTreeMap;

use stormbed::config::Slot;

use crate::invariant::truth::RaftView;

/// What a timeline says of a change; none if nobody's term, role or leader changed. Members that don't answer are left out.
#[must_use]
pub fn change(before: &BTreeMap<Slot, RaftView>, now: &BTreeMap<Slot, RaftView>) -> Option<String> {
    let place = |view: &RaftView| (view.member, view.leader, view.term, view.learner);
    let same =
        before.len() == now.len() && before.iter().all(|(slot, was)| now.get(slot).map(place) == Some(place(was)));
    (!same).then(|| table(now))
}

/// `term 7: s0 follows s2 at 118, s2 leads at 118; term 6: s4 knows no leader at 97`.
fn table(views: &BTreeMap<Slot, RaftView>) -> String {
    let slot_of: BTreeMap<u64, Slot> = views.iter().map(|(slot, view)| (view.member, *slot)).collect();
    let mut terms: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (slot, view) in views {
        let role = match view.leader {
            0 => "knows no leader".to_owned(),
            leader if leader == view.member => "leads".to_owned(),
            leader => {
                let verb = if view.learner { "learns from" } else { "follows" };
                slot_of.get(&leader).map_or(format!("{verb} {leader:x}"), |slot| format!("{verb} s{slot}"))
            }
        };
        terms.entry(view.term).or_default().push(format!("s{slot} {role} at {}", view.index));
    }
    if terms.is_empty() {
        return "no member answers".to_owned();
    }
    let lines = terms.iter().rev().map(|(term, members)| format!("term {term}: {}", members.join(", ")));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(slot: Slot, leader: Slot, term: u64, index: u64) -> (Slot, RaftView) {
        let id = |slot: Slot| 0xa0 + u64::from(slot);
        (slot, RaftView { member: id(slot), leader: id(leader), term, index, learner: false })
    }

    #[test]
    fn a_change_of_term_role_or_leader_is_told_and_an_index_alone_is_not() {
        let before = BTreeMap::from([view(0, 2, 6, 90), view(2, 2, 6, 90), view(4, 2, 6, 90)]);
        let grown = BTreeMap::from([view(0, 2, 6, 91), view(2, 2, 6, 91), view(4, 2, 6, 91)]);
        assert_eq!(change(&before, &grown), None);
        let mut split = BTreeMap::from([view(0, 0, 7, 95), view(2, 2, 6, 92), view(4, 0, 7, 95)]);
        let told = change(&grown, &split).expect("two of them changed");
        assert_eq!(told, "term 7: s0 leads at 95, s4 follows s0 at 95; term 6: s2 leads at 92");
        split.remove(&2);
        assert_eq!(change(&grown, &split).as_deref(), Some("term 7: s0 leads at 95, s4 follows s0 at 95"));
    }

    #[test]
    fn who_knows_no_leader_says_so() {
        let (slot, mut lost) = view(1, 2, 6, 90);
        lost.leader = 0;
        let told = change(&BTreeMap::new(), &BTreeMap::from([(slot, lost)]));
        assert_eq!(told.as_deref(), Some("term 6: s1 knows no leader at 90"));
        assert_eq!(change(&BTreeMap::from([(slot, lost)]), &BTreeMap::new()).as_deref(), Some("no member answers"));
    }
}

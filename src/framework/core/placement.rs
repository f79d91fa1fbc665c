//! Where slots get their homes: spread evenly, and so that one host's death doesn't take the quorum along, if there are hosts
//! enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::state::State;
use crate::clock::Millis;
use crate::config::Slot;

/// Hosts are counted once none has newly appeared for this long: agents that start together register within a second
/// (`registration_backoff_factor`), offers after a REVIVE come within one allocation interval, and homes are sticky.
const QUIET_MS: u64 = 1_000;

/// Which hosts make offers now that hold at least one node, and since when.
#[derive(Debug, Default)]
pub(super) struct Placement {
    hosts: BTreeSet<String>,
    first_seen: Option<Millis>,
    last_new: Millis,
}

impl Placement {
    /// These hosts make offers now.
    pub(super) fn saw<'a>(&mut self, now: Millis, hosts: impl Iterator<Item = &'a String>) {
        let hosts: BTreeSet<String> = hosts.cloned().collect();
        if !hosts.is_subset(&self.hosts) {
            self.last_new = now;
        }
        self.first_seen = if hosts.is_empty() { None } else { self.first_seen.or(Some(now)) };
        self.hosts = hosts;
    }

    /// Whether all hosts that make offers are known.
    pub(super) fn is_settled(&self, now: Millis) -> bool {
        !self.hosts.is_empty() && now.since(self.last_new) >= Duration::from_millis(QUIET_MS)
    }

    /// Whether there are hosts enough for first homes, or patience has run out.
    pub(super) fn may_found(&self, now: Millis, patience: Duration, nodes: usize) -> bool {
        let enough = self.hosts.len() >= hosts_for_quorum(nodes);
        enough || self.first_seen.is_some_and(|first| now.since(first) >= patience)
    }
}

/// A host with room for each of these slots, as far as there is room: always the one that is home to the fewest.
pub(super) fn spread(
    state: &State,
    slots: &BTreeSet<Slot>,
    mut room: BTreeMap<String, usize>,
) -> BTreeMap<Slot, String> {
    let mut load: BTreeMap<String, usize> = BTreeMap::new();
    for (slot, record) in &state.slots {
        if let Some(home) = record.home.as_ref().filter(|_| !slots.contains(slot)) {
            *load.entry(home.clone()).or_default() += 1;
        }
    }
    let mut homes = BTreeMap::new();
    for slot in slots {
        let roomy = room.iter_mut().filter(|(_, free)| **free > 0);
        let Some((host, free)) = roomy.min_by_key(|(host, _)| load.get(*host).copied().unwrap_or_default()) else {
            break;
        };
        *free -= 1;
        *load.entry(host.clone()).or_default() += 1;
        homes.insert(*slot, host.clone());
    }
    homes
}

/// The fewest hosts over which `nodes` can be spread so that without any one of them a majority is left. At most three: an
/// even number of nodes survives no more than the odd one below it, and isn't worth waiting for a fourth host.
fn hosts_for_quorum(nodes: usize) -> usize {
    let on_one_host_max = (nodes.saturating_sub(1) / 2).max(1);
    nodes.div_ceil(on_one_host_max).min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn saw(placement: &mut Placement, now_ms: u64, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        placement.saw(Millis(now_ms), hosts.iter());
    }

    fn room(hosts: &[(&str, usize)]) -> BTreeMap<String, usize> {
        hosts.iter().map(|(host, free)| ((*host).to_owned(), *free)).collect()
    }

    fn first_homes(nodes: u32, hosts: &[(&str, usize)]) -> Vec<String> {
        let slots = (0..nodes).collect();
        spread(&State::new(nodes), &slots, room(hosts)).into_values().collect()
    }

    #[test]
    fn five_nodes_on_three_hosts_are_two_two_one() {
        assert_eq!(first_homes(5, &[("c", 3), ("a", 3), ("b", 3)]), ["a", "b", "c", "a", "b"]);
    }

    #[test]
    fn what_does_not_fit_waits() {
        assert_eq!(first_homes(5, &[("a", 1), ("b", 2)]), ["a", "b", "b"]);
        assert!(first_homes(5, &[]).is_empty());
    }

    #[test]
    fn hosts_are_counted_when_no_new_one_came_for_a_while() {
        let mut placement = Placement::default();
        assert!(!placement.is_settled(Millis(99_000)));
        saw(&mut placement, 99_000, &["a", "b", "c"]);
        saw(&mut placement, 99_900, &["a", "b", "c", "d"]);
        assert!(!placement.is_settled(Millis(100_500)));
        saw(&mut placement, 100_600, &["a", "d"]);
        assert!(placement.is_settled(Millis(100_900)), "who leaves doesn't count as new");
    }

    #[test]
    fn too_few_hosts_are_taken_only_when_patience_has_run_out() {
        let mut placement = Placement::default();
        saw(&mut placement, 0, &["a"]);
        saw(&mut placement, 5_000, &["a", "b"]);
        let may = |placement: &Placement, now_ms| placement.may_found(Millis(now_ms), PATIENCE, 5);
        assert!(!may(&placement, 29_999) && may(&placement, 30_000));
        saw(&mut placement, 30_000, &[]);
        saw(&mut placement, 30_001, &["a"]);
        assert!(!may(&placement, 30_002), "patience starts again");
        saw(&mut placement, 30_003, &["a", "b", "c"]);
        assert!(may(&placement, 30_003));
    }

    #[test]
    fn the_death_of_one_host_leaves_a_majority() {
        let needed: Vec<_> = [1, 2, 3, 4, 5, 7].map(hosts_for_quorum).to_vec();
        assert_eq!(needed, [1, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn slots_with_a_home_keep_it_and_count_and_those_that_leave_do_not() {
        let mut state = State::new(5);
        for (slot, home) in ["a", "b", "c", "a", "b"].into_iter().enumerate() {
            state.slots.get_mut(&(slot as Slot)).unwrap().home = Some(home.into());
        }
        let homes = spread(&state, &BTreeSet::from([0, 3]), room(&[("b", 3), ("c", 3)]));
        assert_eq!(homes, BTreeMap::from([(0, "c".into()), (3, "b".into())]), "three and two");
        let homes = spread(&state, &BTreeSet::from([0, 3]), room(&[("b", 3), ("c", 3), ("d", 3)]));
        assert_eq!(homes, BTreeMap::from([(0, "d".into()), (3, "c".into())]));
    }
}

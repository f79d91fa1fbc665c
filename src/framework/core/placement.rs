//! Where slots get their first home: spread evenly, and never so that one host's death takes the quorum along.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::state::State;
use crate::clock::Millis;
use crate::config::Slot;

/// Hosts are counted once none has newly appeared for this long: agents that start together register within a second
/// (`registration_backoff_factor`), and homes are for good.
const QUIET_MS: u64 = 1_000;

/// What is known of the hosts before all slots have homes.
#[derive(Debug, Default)]
pub(super) struct Placement {
    hosts: BTreeSet<String>,
    first_seen: Option<Millis>,
    last_new: Millis,
}

impl Placement {
    /// A host made an offer that holds at least one node.
    pub(super) fn saw(&mut self, now: Millis, host: &str) {
        if self.hosts.insert(host.to_owned()) {
            self.first_seen.get_or_insert(now);
            self.last_new = now;
        }
    }

    /// Homes for all slots without one, if it is time: when there are hosts enough and no new one came for a while, or
    /// patience has run out.
    pub(super) fn homes(&self, now: Millis, patience: Duration, state: &State) -> BTreeMap<Slot, String> {
        let Some(first_seen) = self.first_seen else {
            return BTreeMap::new();
        };
        let quiet = now.since(self.last_new) >= Duration::from_millis(QUIET_MS);
        let enough = self.hosts.len() >= hosts_for_quorum(state.slots.len());
        if !(quiet && enough) && now.since(first_seen) < patience {
            return BTreeMap::new();
        }
        let mut load: BTreeMap<&str, usize> = self.hosts.iter().map(|h| (h.as_str(), 0)).collect();
        for home in state.slots.values().filter_map(|slot| slot.home.as_deref()) {
            *load.entry(home).or_default() += 1;
        }
        let unplaced = state.slots.iter().filter(|(_, slot)| slot.home.is_none());
        unplaced
            .filter_map(|(slot, _)| {
                let least = self.hosts.iter().min_by_key(|host| load[host.as_str()])?;
                *load.entry(least).or_default() += 1;
                Some((*slot, least.clone()))
            })
            .collect()
    }
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

    fn homes(placement: &Placement, now_ms: u64, nodes: u32) -> Vec<String> {
        let homes = placement.homes(Millis(now_ms), PATIENCE, &State::new(nodes));
        homes.into_values().collect()
    }

    #[test]
    fn five_nodes_on_three_hosts_are_two_two_one() {
        let mut placement = Placement::default();
        for host in ["c", "a", "b", "a"] {
            placement.saw(Millis(100), host);
        }
        assert_eq!(homes(&placement, 1_099, 5), Vec::<String>::new());
        assert_eq!(homes(&placement, 1_100, 5), ["a", "b", "c", "a", "b"]);
    }

    #[test]
    fn too_few_hosts_are_taken_only_when_patience_has_run_out() {
        let mut placement = Placement::default();
        assert_eq!(homes(&placement, 99_000, 5), Vec::<String>::new());
        placement.saw(Millis(0), "a");
        placement.saw(Millis(5_000), "b");
        assert_eq!(homes(&placement, 29_999, 5), Vec::<String>::new());
        assert_eq!(homes(&placement, 30_000, 5), ["a", "b", "a", "b", "a"]);
    }

    #[test]
    fn a_new_host_starts_the_quiet_time_again() {
        let mut placement = Placement::default();
        for host in ["a", "b", "c"] {
            placement.saw(Millis(0), host);
        }
        placement.saw(Millis(900), "d");
        assert!(homes(&placement, 1_500, 5).is_empty());
        assert_eq!(homes(&placement, 1_900, 5), ["a", "b", "c", "d", "a"]);
    }

    #[test]
    fn the_death_of_one_host_leaves_a_majority() {
        let needed: Vec<_> = [1, 2, 3, 4, 5, 7].map(hosts_for_quorum).to_vec();
        assert_eq!(needed, [1, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn slots_with_a_home_keep_it_and_count() {
        let mut placement = Placement::default();
        for host in ["a", "b", "c"] {
            placement.saw(Millis(0), host);
        }
        let mut state = State::new(3);
        state.slots.get_mut(&1).unwrap().home = Some("a".into());
        let homes = placement.homes(Millis(2_000), PATIENCE, &state);
        assert_eq!(homes, BTreeMap::from([(0, "b".into()), (2, "c".into())]));
    }
}

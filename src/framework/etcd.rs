//! What the framework asks of etcd: whether a forming cluster has formed, who is registered, and the withdrawal of ended
//! incarnations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use crate::config::{Incarnation, Slot};
use crate::registry::store::{Store, StoreError};
use crate::registry::{ETCD_CLIENT_PORT, Keys, NodeRecord};

/// Bound of one question to one member: they are a network hop away.
const ANSWER_MS: u64 = 1_000;
/// Pause between two rounds of a withdrawal, while the members elect a leader.
const ROUND_MS: u64 = 200;

async fn connect(address: Ipv4Addr) -> Result<Client, Error> {
    let timeout = Duration::from_millis(ANSWER_MS);
    let options = ConnectOptions::new().with_connect_timeout(timeout).with_timeout(timeout);
    Client::connect([format!("http://{address}:{ETCD_CLIENT_PORT}")], Some(options)).await
}

/// What one member says of itself and of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    cluster_id: u64,
    leader: u64,
    /// Ids of started, voting members.
    voters: BTreeSet<u64>,
    /// All members.
    members: usize,
}

async fn view(address: Ipv4Addr) -> Result<View, Error> {
    let mut client = connect(address).await?;
    let status = client.status().await?;
    let list = client.member_list().await?;
    // A member has its name from its start on.
    let voting = list.members().iter().filter(|m| !m.is_learner() && !m.name().is_empty());
    Ok(View {
        cluster_id: status.header().map_or(0, etcd_client::ResponseHeader::cluster_id),
        leader: status.leader(),
        voters: voting.map(etcd_client::Member::id).collect(),
        members: list.members().len(),
    })
}

/// Whether every slot's member answers, and all see the same cluster: all of them voting, under one leader.
pub async fn has_formed(addresses: &BTreeMap<Slot, Ipv4Addr>) -> bool {
    let views = join_all(addresses.values().map(|address| view(*address))).await;
    match views.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(views) => agree(&views, addresses.len()),
        Err(error) => {
            tracing::debug!(%error, "not formed yet");
            false
        }
    }
}

fn agree(views: &[View], nodes: usize) -> bool {
    views.first().is_some_and(|first| {
        first.members == nodes
            && first.voters.len() == nodes
            && first.voters.contains(&first.leader)
            && views.iter().all(|view| view == first)
    })
}

/// The registered incarnation of each slot, by the first member that confirms it with a quorum; none if nobody does.
pub async fn census(keys: &Keys, addresses: &BTreeMap<Slot, Ipv4Addr>) -> Option<BTreeMap<Slot, Incarnation>> {
    let mut asked: FuturesUnordered<_> = addresses.values().map(|address| registered(keys, *address)).collect();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(registered) => return Some(registered),
            Err(error) => tracing::debug!(%error, "a member confirms nothing"),
        }
    }
    None
}

/// One linearizable read.
async fn registered(keys: &Keys, address: Ipv4Addr) -> Result<BTreeMap<Slot, Incarnation>, Error> {
    let mut client = connect(address).await?;
    let found = client.get(keys.nodes(), Some(GetOptions::new().with_prefix())).await?;
    let records = found.kvs().iter().filter_map(|kv| serde_json::from_slice::<NodeRecord>(kv.value()).ok());
    Ok(records.map(|record| (record.slot, record.incarnation)).collect())
}

/// Deletes the slot's registration if it still carries the incarnation that has ended. Asks the other slots' members in turn,
/// at most until `bound` has passed: then the registration's lease has ended it.
pub async fn withdraw(
    keys: &Keys,
    addresses: &BTreeMap<Slot, Ipv4Addr>,
    slot: Slot,
    incarnation: Incarnation,
    bound: Duration,
) {
    let rounds = async {
        loop {
            for (_, address) in addresses.iter().filter(|(other, _)| **other != slot) {
                match withdraw_at(*address, keys, slot, incarnation).await {
                    Ok(withdrawn) => return withdrawn,
                    Err(error) => tracing::debug!(%address, %error, "can't withdraw here"),
                }
            }
            tokio::time::sleep(Duration::from_millis(ROUND_MS)).await;
        }
    };
    match tokio::time::timeout(bound, rounds).await {
        Ok(withdrawn) => tracing::info!(slot, incarnation, withdrawn, "registration withdrawn"),
        Err(_) => tracing::warn!(slot, incarnation, "left to its lease: no member answers"),
    }
}

async fn withdraw_at(address: Ipv4Addr, keys: &Keys, slot: Slot, incarnation: Incarnation) -> Result<bool, StoreError> {
    Store::with_keys(connect(address).await?, keys.clone()).remove_registration(slot, incarnation).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View { cluster_id: 7, leader: 2, voters: BTreeSet::from([1, 2, 3]), members: 3 }
    }

    #[test]
    fn formed_is_when_all_see_one_cluster_of_voters_under_one_leader() {
        assert!(agree(&[view(), view(), view()], 3));
        let broken: [fn(&mut View); 5] = [
            |view| view.cluster_id = 8,
            |view| view.leader = 0,
            |view| view.leader = 1,
            |view| view.members = 4,
            |view| view.voters = BTreeSet::from([1, 2]),
        ];
        for breaks in broken {
            let mut other = view();
            breaks(&mut other);
            assert!(!agree(&[view(), other.clone(), view()], 3), "{other:?}");
        }
        let leaderless = View { leader: 0, ..view() };
        assert!(!agree(&[leaderless.clone(), leaderless], 3));
        assert!(!agree(&[view(), view()], 2), "a member too many");
        assert!(!agree(&[], 0));
    }
}

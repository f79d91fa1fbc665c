//! The etcd program and the questions that a node asks etcd members, its own and the others'.

use std::net::Ipv4Addr;
use std::time::Duration;

use etcd_client::{Client, GetOptions, MemberAddOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::process::Command;

use super::core::member::{Joined, Peer, Start};
use super::core::{Event, Local, Setup, tables};
use super::disk::DataDir;
use crate::config::{Incarnation, Slot, cluster_token};
use crate::registry::state::digits;
use crate::registry::store::{Store, StoreError, bounded, client_url, connect};
use crate::registry::{ETCD_PEER_PORT, Keys};

/// Survivors answer a linearizable read in milliseconds, or they are in an election (1–2 s): then the survey is repeated.
const SURVEY_MAX: Duration = Duration::from_secs(2);
/// A leader confirms itself by one round of heartbeats.
const CONFIRM_MAX: Duration = Duration::from_secs(1);
/// The lock of membership changes outlives its holder's death no longer than this; a change is three bounded calls.
const LOCK_TTL_S: i64 = 15;
/// Old revisions are of no use to anybody; watchers that fall behind start from a fresh read.
const COMPACT_AFTER: &str = "10m";

/// The program as this node runs it.
#[must_use]
pub fn command(setup: &Setup, data: &DataDir, start: &Start) -> Command {
    let config = &setup.config;
    let own = setup.address;
    let name_of = |address: Option<Ipv4Addr>| {
        let slot = config.addresses.iter().find(|(_, a)| Some(**a) == address).map(|(slot, _)| *slot);
        slot.map_or_else(|| "unknown".to_owned(), |slot| tables::hostname(&config.prefix, slot))
    };
    let members: Vec<Option<Ipv4Addr>> = match start {
        Start::Existing(members) => members.iter().map(|m| m.address).collect(),
        Start::New | Start::Own => config.addresses.values().map(|a| Some(*a)).collect(),
    };
    let initial: Vec<String> = members
        .into_iter()
        .filter_map(|address| Some(format!("{}={}", name_of(address), peer_url(address?))))
        .collect();
    let (crate::config::Bootstrap::Forming { generation } | crate::config::Bootstrap::Formed { generation }) =
        config.bootstrap;
    let state = if *start == Start::New { "new" } else { "existing" };
    let client = client_url(own);
    let local = client_url(Ipv4Addr::LOCALHOST);
    let mut command = Command::new("etcd");
    command
        .arg(format!("--name={}", name_of(Some(own))))
        .arg(format!("--data-dir={}", data.etcd().display()))
        .arg(format!("--listen-peer-urls={}", peer_url(own)))
        .arg(format!("--initial-advertise-peer-urls={}", peer_url(own)))
        .arg(format!("--listen-client-urls={client},{local}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--initial-cluster={}", initial.join(",")))
        .arg(format!("--initial-cluster-state={state}"))
        .arg(format!("--initial-cluster-token={}", cluster_token(&config.cluster, generation)))
        .arg(format!("--heartbeat-interval={}", config.etcd_heartbeat_ms))
        .arg(format!("--election-timeout={}", config.etcd_election_ms))
        // A member that comes back must not depose a leader that works.
        .arg("--pre-vote=true")
        .arg("--grpc-keepalive-min-time=500ms")
        .args(["--auto-compaction-mode=periodic", &format!("--auto-compaction-retention={COMPACT_AFTER}")])
        .args(["--logger=zap", "--log-level=warn"]);
    command
}

fn peer_url(address: Ipv4Addr) -> String {
    format!("http://{address}:{ETCD_PEER_PORT}")
}

/// What a member says of itself, without asking the others.
///
/// # Errors
/// If it doesn't answer.
pub async fn status(client: &Client) -> Result<Local, StoreError> {
    let answer = bounded(client.maintenance_client().status()).await?;
    Ok(Local {
        member: answer.header().map_or(0, etcd_client::ResponseHeader::member_id),
        leader: answer.leader(),
        term: answer.raft_term(),
        learner: answer.is_learner(),
    })
}

/// Confirms by a linearizable read that this member leads: the term in which it does, before and after the read.
pub async fn confirm(client: &Client, cluster: &str) -> Option<u64> {
    let ask = async {
        let before = status(client).await.ok().filter(Local::leads)?;
        linearizable_read(client, cluster).await.ok()?;
        let after = status(client).await.ok()?;
        (before == after).then_some(after.term)
    };
    tokio::time::timeout(CONFIRM_MAX, ask).await.ok().flatten()
}

async fn linearizable_read(client: &Client, cluster: &str) -> Result<(), StoreError> {
    let options = GetOptions::new().with_count_only();
    bounded(client.kv_client().get(Keys::of(cluster).leader(), Some(options))).await?;
    Ok(())
}

/// A survivor with a quorum, and what it confirmed.
struct Found {
    client: Client,
    peers: Vec<Peer>,
    /// The highest incarnation of the asking slot that ever registered; 0 = none.
    incarnation: Incarnation,
}

/// The other slots' members: where a node asks about itself.
#[derive(Debug, Clone)]
pub struct Survivors {
    cluster: String,
    slot: Slot,
    incarnation: Incarnation,
    own: Ipv4Addr,
    others: Vec<Ipv4Addr>,
}

impl Survivors {
    /// The members of all slots but this one.
    #[must_use]
    pub fn of(setup: &Setup) -> Self {
        let others = setup.config.addresses.values().copied().filter(|a| *a != setup.address);
        Self {
            cluster: setup.config.cluster.clone(),
            slot: setup.config.slot,
            incarnation: setup.config.incarnation,
            own: setup.address,
            others: others.collect(),
        }
    }

    /// The member list as the first one that has a quorum confirms it; or that a later incarnation has this slot.
    pub async fn survey(&self) -> Event {
        match self.find().await {
            Some(found) if found.incarnation > self.incarnation => Event::Fenced(found.incarnation),
            found => Event::Survey(found.map(|found| found.peers)),
        }
    }

    async fn find(&self) -> Option<Found> {
        let mut asked: FuturesUnordered<_> = self.others.iter().map(|a| self.ask(*a)).collect();
        let first = async {
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(found) => return Some(found),
                    Err(error) => tracing::debug!("a survivor confirmed nothing: {error}"),
                }
            }
            None
        };
        tokio::time::timeout(SURVEY_MAX, first).await.ok().flatten()
    }

    async fn ask(&self, address: Ipv4Addr) -> Result<Found, StoreError> {
        let client = connect(&[client_url(address)]).await?;
        let key = Keys::of(&self.cluster).incarnation(self.slot);
        // etcd 3.4 answers a member list from what it has applied: after a linearizable read that is up to date.
        let fence = bounded(client.kv_client().get(key, None)).await?;
        let list = bounded(client.cluster_client().member_list()).await?;
        Ok(Found {
            peers: peers(list.members()),
            incarnation: fence.kvs().first().and_then(|kv| digits(kv.value())).unwrap_or(0),
            client,
        })
    }

    /// Replaces this slot's member: removes its former lives, adds it as a learner. Under the registry's lock and fence.
    pub async fn join(&self, remove: &[u64]) -> Event {
        match self.try_join(remove).await {
            Err(StoreError::Fenced { seen, .. }) => Event::Fenced(seen),
            joined => Event::Joined(joined.map_err(|error| error.to_string())),
        }
    }

    async fn try_join(&self, remove: &[u64]) -> Result<Joined, StoreError> {
        self.locked(async |lock| {
            let mut cluster = lock.client.cluster_client();
            for id in remove {
                tracing::warn!("member {id:x} has lost its data (this slot's directory is empty): removing it");
                lock.confirm().await?;
                bounded(cluster.member_remove(*id)).await?;
            }
            let learner = MemberAddOptions::new().with_is_learner();
            lock.confirm().await?;
            let added = bounded(cluster.member_add([peer_url(self.own)], Some(learner))).await?;
            Ok(Joined { members: peers(added.member_list()) })
        })
        .await
    }

    /// One change of the membership at a time, by the slot's newest incarnation alone.
    async fn locked<T>(&self, change: impl AsyncFnOnce(&Lock) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let client = self.find().await.ok_or(StoreError::Late)?.client;
        let lease = bounded(client.lease_client().grant(LOCK_TTL_S, None)).await?.id();
        let store = Store::new(client.clone(), &self.cluster);
        let lock = Lock { client, store, slot: self.slot, incarnation: self.incarnation, lease };
        let done = change(&lock).await;
        // Frees the lock; the lease's end does it otherwise.
        let _ = bounded(lock.client.lease_client().revoke(lease)).await;
        done
    }

    /// Asks a voter to let this learner vote.
    ///
    /// # Errors
    /// In words; mostly that the learner hasn't caught up yet.
    pub async fn promote(&self, member: u64) -> Result<(), String> {
        let promoted = self.locked(async |lock| {
            lock.confirm().await?;
            bounded(lock.client.cluster_client().member_promote(member)).await
        });
        promoted.await.map(drop).map_err(|error| error.to_string())
    }
}

/// The lock of membership changes, as far as it was confirmed.
struct Lock {
    client: Client,
    store: Store,
    slot: Slot,
    incarnation: Incarnation,
    lease: i64,
}

impl Lock {
    /// Takes the lock, or confirms it, in one transaction with the fence. Right before every change: who was frozen in between
    /// finds that the lease is gone, or that a later incarnation has the slot.
    async fn confirm(&self) -> Result<(), StoreError> {
        match self.store.lock_membership(self.slot, self.incarnation, self.lease).await? {
            true => Ok(()),
            false => Err(StoreError::Interrupted("another slot is changing the membership".into())),
        }
    }
}

fn peers(members: &[etcd_client::Member]) -> Vec<Peer> {
    let address = |url: &String| -> Option<Ipv4Addr> {
        url.strip_prefix("http://")?.strip_suffix(&format!(":{ETCD_PEER_PORT}"))?.parse().ok()
    };
    let peer = |m: &etcd_client::Member| Peer {
        id: m.id(),
        address: m.peer_urls().iter().find_map(address),
        learner: m.is_learner(),
    };
    members.iter().map(peer).collect()
}

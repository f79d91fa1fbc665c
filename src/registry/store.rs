//! Reading, watching and writing the registry in etcd.
//!
//! Every write of a node passes `Store::fenced`: one transaction on "no higher incarnation of this slot has registered".

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse, WatchOptions,
};

use super::state::{RegistryState, digits};
use super::{ETCD_CLIENT_PORT, Keys, LeaderRecord, NodeRecord, fence_text};
use crate::config::{Incarnation, Slot};

/// A call waits this long: an election takes up to 2 s, then the caller's own loop asks again.
const CALL_MAX: Duration = Duration::from_millis(2_500);
/// Connections are pinged this often, so that a frozen server is noticed; our etcd members allow pings every 500 ms.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A ping without an answer for this long ends the connection.
const PING_MAX: Duration = Duration::from_secs(2);

/// A registry call that didn't work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later incarnation of the slot has registered: this one must stop.
    #[error(
        "slot {slot} has registered as incarnation {seen}, higher than mine ({mine}): this incarnation is replaced and must stop"
    )]
    Fenced {
        /// The slot.
        slot: Slot,
        /// The caller's incarnation.
        mine: Incarnation,
        /// The registered one.
        seen: Incarnation,
    },
    /// etcd refused or couldn't be reached.
    #[error("etcd did not do it: {0}; it is tried again")]
    Etcd(#[from] etcd_client::Error),
    /// etcd didn't answer in time.
    #[error("etcd did not answer within {} ms (no leader, or unreachable); it is tried again", CALL_MAX.as_millis())]
    Late,
    /// The value to compare with changed in between, repeatedly, or a stream ended.
    #[error("{0}; it is tried again")]
    Interrupted(String),
}

/// Waits for an answer of etcd, bounded.
///
/// # Errors
/// What etcd said, or [`StoreError::Late`].
pub async fn bounded<T>(call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Late),
    }
}

/// The URL of the etcd member at an address.
#[must_use]
pub fn client_url(address: Ipv4Addr) -> String {
    format!("http://{address}:{ETCD_CLIENT_PORT}")
}

/// A client that notices dead connections. Connects when first used.
///
/// # Errors
/// If an endpoint isn't a URL.
pub async fn connect(endpoints: &[String]) -> Result<Client, StoreError> {
    let options = ConnectOptions::new()
        .with_keep_alive(PING_EVERY, PING_MAX)
        .with_keep_alive_while_idle(true)
        .with_connect_timeout(PING_MAX);
    Ok(Client::connect(endpoints, Some(options)).await?)
}

/// The registry of one cluster, through one etcd client.
#[derive(Clone)]
pub struct Store {
    client: Client,
    keys: Keys,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Store {
    /// The registry of the cluster with this name.
    #[must_use]
    pub fn new(client: Client, cluster: &str) -> Self {
        Self::with_keys(client, Keys::of(cluster))
    }

    /// The registry whose keys these are.
    #[must_use]
    pub fn with_keys(client: Client, keys: Keys) -> Self {
        Self { client, keys }
    }

    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// All of the registry, by a linearizable read.
    ///
    /// # Errors
    /// If etcd doesn't confirm it in time.
    pub async fn snapshot(&self) -> Result<RegistryState, StoreError> {
        let options = GetOptions::new().with_prefix();
        let answer = bounded(self.client.kv_client().get(self.keys.prefix(), Some(options))).await?;
        let mut state = RegistryState {
            revision: answer.header().map_or(0, etcd_client::ResponseHeader::revision),
            ..RegistryState::default()
        };
        for kv in answer.kvs() {
            state.apply(&self.keys, &String::from_utf8_lossy(kv.key()), Some(kv.value()));
        }
        Ok(state)
    }

    /// Hands every state of the registry to `see`, beginning with the present one, until the stream breaks. Call it again
    /// then: it begins with a fresh linearizable read, so it neither misses a change nor goes back, compaction included.
    pub async fn follow(&self, mut see: impl FnMut(&RegistryState)) -> StoreError {
        match self.follow_until_error(&mut see).await {
            Ok(()) => StoreError::Interrupted("etcd ended the watch".into()),
            Err(error) => error,
        }
    }

    async fn follow_until_error(&self, see: &mut impl FnMut(&RegistryState)) -> Result<(), StoreError> {
        let mut state = self.snapshot().await?;
        see(&state);
        let options = WatchOptions::new().with_prefix().with_start_revision(state.revision + 1);
        let mut client = self.client.watch_client();
        let mut stream = bounded(client.watch(self.keys.prefix(), Some(options))).await?;
        while let Some(answer) = stream.message().await? {
            if answer.canceled() {
                let why = format!("etcd cancelled the watch: {}", answer.cancel_reason());
                return Err(StoreError::Interrupted(why));
            }
            for event in answer.events() {
                let Some(kv) = event.kv() else { continue };
                let put = event.event_type() == etcd_client::EventType::Put;
                let key = String::from_utf8_lossy(kv.key());
                state.apply(&self.keys, &key, put.then(|| kv.value()));
                state.revision = state.revision.max(kv.mod_revision());
            }
            if !answer.events().is_empty() {
                see(&state);
            }
        }
        Ok(())
    }

    /// Registers a node under a lease, and raises its slot's incarnation. Returns the revision of the write.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a later incarnation has registered; otherwise etcd's failure.
    pub async fn register(&self, record: &NodeRecord, lease: i64) -> Result<i64, StoreError> {
        let text = serde_json::to_vec(record).expect("a record is plain data");
        let raise = TxnOp::put(self.keys.incarnation(record.slot), fence_text(record.incarnation), None);
        let put = TxnOp::put(self.keys.node(record.slot), text, Some(PutOptions::new().with_lease(lease)));
        let revision = self.fenced(record.slot, record.incarnation, vec![], vec![raise, put]).await?;
        revision.ok_or_else(|| StoreError::Interrupted("the slot's incarnation changed just now".into()))
    }

    /// Publishes a leader unless one with a higher term stands there. Returns whether the record now is this one.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a later incarnation has registered; otherwise etcd's failure.
    pub async fn publish_leader(&self, record: &LeaderRecord) -> Result<bool, StoreError> {
        let key = self.keys.leader();
        let answer = bounded(self.client.kv_client().get(key.clone(), None)).await?;
        let present = answer.kvs().first();
        let standing: Option<LeaderRecord> = present.and_then(|kv| serde_json::from_slice(kv.value()).ok());
        if standing.as_ref() == Some(record) {
            return Ok(true);
        }
        if standing.is_some_and(|standing| standing.term > record.term) {
            return Ok(false);
        }
        let revision = present.map_or(0, etcd_client::KeyValue::mod_revision);
        let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, revision);
        let text = serde_json::to_vec(record).expect("a record is plain data");
        let done =
            self.fenced(record.slot, record.incarnation, vec![unchanged], vec![TxnOp::put(key, text, None)]).await?;
        Ok(done.is_some())
    }

    /// Deletes a slot's registration if it still carries this incarnation. Returns whether it did.
    ///
    /// # Errors
    /// If etcd doesn't do it in time.
    pub async fn remove_registration(&self, slot: Slot, incarnation: Incarnation) -> Result<bool, StoreError> {
        let key = self.keys.node(slot);
        let mut kv = self.client.kv_client();
        let answer = bounded(kv.get(key.clone(), None)).await?;
        let Some(present) = answer.kvs().first() else {
            return Ok(false);
        };
        let record: Option<NodeRecord> = serde_json::from_slice(present.value()).ok();
        if record.is_none_or(|record| record.incarnation != incarnation) {
            return Ok(false);
        }
        let same = Compare::mod_revision(key.clone(), CompareOp::Equal, present.mod_revision());
        let txn = Txn::new().when([same]).and_then([TxnOp::delete(key, None)]);
        Ok(bounded(kv.txn(txn)).await?.succeeded())
    }

    /// Takes the lock of membership changes for a slot, or confirms it, under a lease. Returns false while another slot holds it.
    /// Raises the slot's incarnation: from here on an earlier one changes nothing, registered or not.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a later incarnation has registered; otherwise etcd's failure.
    pub async fn lock_membership(&self, slot: Slot, incarnation: Incarnation, lease: i64) -> Result<bool, StoreError> {
        let key = self.keys.membership();
        let holder = slot.to_string();
        for condition in [
            Compare::create_revision(key.clone(), CompareOp::Equal, 0),
            Compare::value(key.clone(), CompareOp::Equal, holder.clone()),
        ] {
            let put = TxnOp::put(key.clone(), holder.clone(), Some(PutOptions::new().with_lease(lease)));
            let raise = TxnOp::put(self.keys.incarnation(slot), fence_text(incarnation), None);
            if self.fenced(slot, incarnation, vec![condition], vec![raise, put]).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One transaction on "the slot's incarnation ≤ mine" and further conditions. Returns the revision, or none if one of the
    /// further conditions doesn't hold. etcd has no ≤ and can't compare a missing value, hence two forms of the condition.
    async fn fenced(
        &self,
        slot: Slot,
        mine: Incarnation,
        conditions: Vec<Compare>,
        writes: Vec<TxnOp>,
    ) -> Result<Option<i64>, StoreError> {
        let key = self.keys.incarnation(slot);
        let not_higher = Compare::value(key.clone(), CompareOp::Less, fence_text(mine + 1));
        let first_ever = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        for fence in [not_higher, first_ever] {
            let when: Vec<Compare> = std::iter::once(fence).chain(conditions.clone()).collect();
            let txn = Txn::new().when(when).and_then(writes.clone()).or_else([TxnOp::get(key.clone(), None)]);
            let answer = bounded(self.client.kv_client().txn(txn)).await?;
            if answer.succeeded() {
                return Ok(Some(answer.header().map_or(0, etcd_client::ResponseHeader::revision)));
            }
            let seen = answer.op_responses().into_iter().find_map(|response| match response {
                TxnOpResponse::Get(get) => get.kvs().first().and_then(|kv| digits(kv.value())),
                _ => None,
            });
            match seen {
                Some(seen) if seen > mine => return Err(StoreError::Fenced { slot, mine, seen }),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }
}

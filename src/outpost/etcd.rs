//! etcd, asked at each endpoint alone: what one member says of itself is never mixed with another's word.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::protocol::{EtcdMember, EtcdView};
use super::text;
use crate::config::Slot;
use crate::registry::ETCD_CLIENT_PORT;

/// A live endpoint accepts within a millisecond.
const CONNECT_MAX: Duration = Duration::from_millis(300);
/// Status and member list are answered from memory within milliseconds; a frozen endpoint must not cost the tick more than this.
const LOOK_MAX: Duration = Duration::from_millis(400);
/// A linearizable read at one endpoint, before the next is asked: an election fits in.
const RANGE_MAX: Duration = Duration::from_secs(3);

/// Connections to endpoints, kept while they work: a tick asks five endpoints twice, four times a second.
#[derive(Default)]
pub struct Endpoints {
    kept: Mutex<BTreeMap<Ipv4Addr, Client>>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Endpoints")
    }
}

impl Endpoints {
    /// Status and (serializable) member list of each endpoint, asked directly and at the same time.
    pub async fn look(&self, endpoints: BTreeMap<Slot, Ipv4Addr>) -> BTreeMap<Slot, Result<EtcdView, String>> {
        let looks = endpoints.into_iter().map(|(slot, address)| async move {
            let look = timeout(LOOK_MAX, self.look_at(address)).await;
            let result = look.unwrap_or_else(|_| Err(format!("no answer within {LOOK_MAX:?}")));
            if result.is_err() {
                self.forget(address);
            }
            (slot, result)
        });
        join_all(looks).await.into_iter().collect()
    }

    async fn look_at(&self, address: Ipv4Addr) -> Result<EtcdView, String> {
        let client = self.client(address).await?;
        let (mut maintenance, mut cluster) = (client.maintenance_client(), client.cluster_client());
        let (status, members) = tokio::try_join!(maintenance.status(), cluster.member_list()).map_err(text)?;
        let header = status.header().ok_or("a status without a header")?;
        let members = members.members().iter().map(|member| EtcdMember {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            learner: member.is_learner(),
        });
        Ok(EtcdView {
            cluster_id: header.cluster_id(),
            member_id: header.member_id(),
            leader_id: status.leader(),
            term: status.raft_term(),
            index: status.raft_index(),
            applied_index: status.raft_applied_index(),
            learner: status.is_learner(),
            errors: status.errors().to_vec(),
            members: members.collect(),
        })
    }

    /// Puts one key through the first endpoint that accepts a connection. `Ok` = acknowledged.
    ///
    /// # Errors
    /// If none accepts, or the outcome isn't known. Never tried a second time: the ledger counts what was acknowledged.
    pub async fn put(&self, endpoints: &[Ipv4Addr], key: &str, value: &str) -> Result<(), String> {
        let mut errors = Vec::new();
        for address in endpoints {
            if let Err(error) = accepts(*address).await {
                errors.push(error);
                continue;
            }
            let mut client = self.client(*address).await?;
            // Dropped (and with it unknown) when the request's time is over; the next use then connects anew.
            self.forget(*address);
            client
                .put(key, value, None)
                .await
                .map_err(|error| format!("the put through {address} is unsure: {}", text(error)))?;
            self.keep(*address, client);
            return Ok(());
        }
        Err(format!("no endpoint accepts connections: {}", errors.join("; ")))
    }

    /// All keys with a prefix, linearizable, from the first endpoint that answers.
    ///
    /// # Errors
    /// If none answers.
    pub async fn range(&self, endpoints: &[Ipv4Addr], prefix: &str) -> Result<BTreeMap<String, String>, String> {
        let ask = |mut client: Client| {
            let prefix = prefix.to_owned();
            async move {
                let options = GetOptions::new().with_prefix();
                let got = client.get(prefix, Some(options)).await.map_err(text)?;
                let pairs = got.kvs().iter().map(|kv| {
                    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    (lossy(kv.key()), lossy(kv.value()))
                });
                Ok(pairs.collect())
            }
            .boxed()
        };
        self.first(endpoints, ask).await
    }

    /// The lease that a key stands under (0: none); none if there is no such key. Linearizable, from the first endpoint that answers.
    ///
    /// # Errors
    /// If none answers.
    pub async fn lease(&self, endpoints: &[Ipv4Addr], key: &str) -> Result<Option<i64>, String> {
        let ask = |mut client: Client| {
            let key = key.to_owned();
            async move {
                let got = client.get(key, None).await.map_err(text)?;
                Ok(got.kvs().first().map(etcd_client::KeyValue::lease))
            }
            .boxed()
        };
        self.first(endpoints, ask).await
    }

    /// Revokes a lease, and with it whatever stands under it, through the first endpoint that answers.
    ///
    /// # Errors
    /// If none answers, or there is no such lease.
    pub async fn revoke(&self, endpoints: &[Ipv4Addr], lease: i64) -> Result<(), String> {
        let ask = |mut client: Client| async move { client.lease_revoke(lease).await.map(drop).map_err(text) }.boxed();
        self.first(endpoints, ask).await
    }

    /// What the first endpoint that answers says.
    async fn first<T>(
        &self,
        endpoints: &[Ipv4Addr],
        ask: impl Fn(Client) -> BoxFuture<'static, Result<T, String>>,
    ) -> Result<T, String> {
        let mut errors = Vec::new();
        for address in endpoints {
            let asked = async { ask(self.client(*address).await?).await };
            match timeout(RANGE_MAX, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => errors.push(format!("{address}: {error}")),
                Err(_) => errors.push(format!("{address}: no answer within {RANGE_MAX:?}")),
            }
            self.forget(*address);
        }
        Err(format!("no endpoint answers: {}", errors.join("; ")))
    }

    async fn client(&self, address: Ipv4Addr) -> Result<Client, String> {
        if let Some(client) = self.lock().get(&address) {
            return Ok(client.clone());
        }
        // The client itself connects when it is first used, and would then wait rather than tell of a refused connection.
        accepts(address).await?;
        let endpoint = format!("http://{address}:{ETCD_CLIENT_PORT}");
        let client = Client::connect([endpoint], None).await.map_err(text)?;
        self.keep(address, client.clone());
        Ok(client)
    }

    fn keep(&self, address: Ipv4Addr, client: Client) {
        self.lock().insert(address, client);
    }

    fn forget(&self, address: Ipv4Addr) {
        self.lock().remove(&address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ipv4Addr, Client>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accepts(address: Ipv4Addr) -> Result<(), String> {
    match timeout(CONNECT_MAX, TcpStream::connect((address, ETCD_CLIENT_PORT))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no connection within {CONNECT_MAX:?}")),
    }
}

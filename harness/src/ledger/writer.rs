//! The ledger's clients: one operation of each kind a second, however long the earlier ones take.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stormbed::outpost::protocol::{Call, Reply};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Entries, Entry, Kind, OP_MAX, Places, locked, next_host};
use crate::history::ledger::{Op, OpOutcome};
use crate::observe::jupyter::Saved;
use crate::observe::observer::Seen;
use crate::observe::outpost::Outpost;
use crate::observe::world::World;

/// Between two operations of a kind.
const EVERY: Duration = Duration::from_secs(1);
/// Operations of one kind under way: those that stall end after [`OP_MAX`], so five, and one in reserve.
const IN_FLIGHT_MAX: usize = 6;

/// Writes until it is told to stop.
pub(super) struct Writer {
    world: World,
    places: Places,
    entries: Entries,
    newest: watch::Receiver<Option<Arc<Seen>>>,
    stop: CancellationToken,
}

/// One operation to be made.
#[derive(Clone)]
struct Client {
    world: World,
    places: Places,
    entries: Entries,
    /// etcd endpoints, the members first.
    endpoints: Vec<Ipv4Addr>,
    number: usize,
}

impl Writer {
    pub(super) fn new(
        world: World,
        places: Places,
        entries: Entries,
        newest: watch::Receiver<Option<Arc<Seen>>>,
        stop: CancellationToken,
    ) -> Self {
        Self { world, places, entries, newest, stop }
    }

    pub(super) async fn run(self) {
        self.make_directory().await;
        let mut rhythm = tokio::time::interval(EVERY);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let busy: Arc<[AtomicUsize; 3]> = Arc::default();
        let mut under_way = JoinSet::new();
        let mut number = 0;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = rhythm.tick() => {}
            }
            while under_way.try_join_next().is_some() {}
            for (index, kind) in Kind::ALL.into_iter().enumerate() {
                if busy[index].load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                    continue;
                }
                busy[index].fetch_add(1, Ordering::Relaxed);
                let (client, busy) = (self.client(number), busy.clone());
                under_way.spawn(async move {
                    client.operate(kind).await;
                    busy[index].fetch_sub(1, Ordering::Relaxed);
                });
            }
            number += 1;
        }
        while under_way.join_next().await.is_some() {}
    }

    /// The API saves notebooks into existing directories only.
    async fn make_directory(&self) {
        let call =
            Call::FileWrite { path: self.places.notebooks.join(".keep"), content: String::new(), container: None };
        let host = self.world.any_host();
        let probe = self.world.call(host, call, OP_MAX, done).await;
        if let Err(why) = probe.result {
            tracing::warn!(%why, "no directory for the ledger's notebooks");
        }
    }

    fn client(&self, number: usize) -> Client {
        let seen = self.newest.borrow().clone();
        Client {
            world: self.world.clone(),
            places: self.places.clone(),
            entries: self.entries.clone(),
            endpoints: endpoints(&self.world, seen.as_deref(), number),
            number,
        }
    }
}

/// Running members, beginning with another one each time; every slot's address while nobody is known to be one.
fn endpoints(world: &World, seen: Option<&Seen>, turn: usize) -> Vec<Ipv4Addr> {
    let members = seen.map(|seen| &seen.truth.members);
    let member = |slot| members.is_none_or(|m| m.is_empty() || m.contains(slot));
    let all = world.shape.addresses.iter();
    let mut endpoints: Vec<Ipv4Addr> = all.filter(|(s, _)| member(s)).map(|(_, a)| *a).collect();
    let count = endpoints.len().max(1);
    if !endpoints.is_empty() {
        endpoints.rotate_left(turn % count);
    }
    endpoints
}

impl Client {
    async fn operate(self, kind: Kind) {
        let number = self.number;
        let content = content(kind, number, &self.places.name, &self.world.run);
        let op = match kind {
            Kind::Etcd => {
                let item = format!("k{number:06}");
                let call = Call::EtcdPut {
                    endpoints: self.endpoints.clone(),
                    key: format!("{}{item}", self.places.keys),
                    value: content.clone(),
                };
                self.through(item, self.world.central(), call).await
            }
            Kind::File => {
                let item = format!("f{number:06}");
                let call =
                    Call::FileWrite { path: self.places.files.join(&item), content: content.clone(), container: None };
                self.through(item, next_host(&self.world, number), call).await
            }
            Kind::Notebook => {
                let item = format!("n{number:06}.ipynb");
                let path = self.places.notebooks.join(&item);
                self.save(item, &path.display().to_string(), &content).await
            }
        };
        let mut entries = locked(&self.entries);
        entries.entry(kind).or_default().push(Entry { op, content });
    }

    async fn through(&self, item: String, outpost: Option<&Outpost>, call: Call) -> Op {
        let sent = outpost.is_some_and(Outpost::is_connected);
        let probe = self.world.call(outpost, call, OP_MAX, done).await;
        let outcome = match probe.result {
            Ok(()) => OpOutcome::Acknowledged,
            Err(_) if sent => OpOutcome::Unknown,
            Err(_) => OpOutcome::Refused,
        };
        let through = outpost.map(|outpost| outpost.machine().to_owned());
        Op { item, through, begin: probe.begin, end: probe.end, outcome }
    }

    async fn save(&self, item: String, path: &str, content: &str) -> Op {
        let begin = self.world.clock.now();
        let outcome = match self.world.jupyter.save(path, content, OP_MAX).await {
            Saved::Acknowledged => OpOutcome::Acknowledged,
            Saved::Refused(_) => OpOutcome::Refused,
            Saved::Unknown(_) => OpOutcome::Unknown,
        };
        Op { item, through: None, begin, end: self.world.clock.now(), outcome }
    }
}

/// What an item holds: nothing else that any run writes is the same, so an item found in another's place shows as altered.
fn content(kind: Kind, number: usize, name: &str, run: &str) -> String {
    format!("{} {number} of {name} in run {run}", kind.as_str())
}

fn done(reply: Reply) -> Option<()> {
    (reply == Reply::Done).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_item_of_two_plays_differs() {
        assert_ne!(content(Kind::Etcd, 0, "1-node-loss", "r"), content(Kind::Etcd, 0, "2-node-loss", "r"));
    }
}

//! Everything through which a run looks at its topology, in one cheap handle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use stormbed::clock::Clock;
use stormbed::config::Slot;
use stormbed::outpost::protocol::{Call, GlusterView, Reply};

use super::jupyter::Jupyter;
use super::machines::Machines;
use super::observation::{Probe, Shape};
use super::outpost::Outpost;
use crate::invariant::truth::Truth;

/// With more entries than this that wait for heal nobody asks for the state of each.
const HELD_MAX: u64 = 32;

/// Everything through which a run looks at its topology. Clones share all of it.
#[derive(Clone)]
pub struct World {
    /// The run's id: part of every key and file that the testbed writes.
    pub run: Arc<str>,
    /// The run's clock.
    pub clock: Clock,
    /// The cluster's shape.
    pub shape: Arc<Shape>,
    /// Outer engine.
    pub machines: Arc<dyn Machines>,
    /// Outposts, by machine.
    pub outposts: Arc<BTreeMap<String, Outpost>>,
    /// Jupyter through the proxy.
    pub jupyter: Jupyter,
    /// Machines whose processes and rules are looked at in every tick, because a scenario breaks something there.
    watched: Arc<Mutex<BTreeSet<String>>>,
    /// Machines whose outposts see less than others, because a fault cuts them off.
    avoided: Arc<Mutex<BTreeSet<String>>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("run", &self.run).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A member as a probe meets it: where it runs, and the name that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Its slot.
    pub slot: Slot,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its container's id.
    pub container: String,
    /// The host that runs it.
    pub host: String,
    /// `PREFIX-<i>` by ground truth.
    pub name: String,
}

impl World {
    /// Opens an outpost on every machine; the streams come up in the background.
    #[must_use]
    pub fn open(run: &str, clock: Clock, shape: Shape, machines: Arc<dyn Machines>, jupyter: Jupyter) -> Self {
        let names = machines.outposts();
        let outposts = names.iter().map(|name| (name.clone(), Outpost::open(name, machines.clone(), clock))).collect();
        Self {
            run: run.into(),
            clock,
            shape: Arc::new(shape),
            machines,
            outposts: Arc::new(outposts),
            jupyter,
            watched: Arc::default(),
            avoided: Arc::default(),
        }
    }

    /// From now on, looks at the processes and rules of these machines and no others.
    pub fn watch(&self, machines: BTreeSet<String>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = machines;
    }

    /// Machines whose processes and rules are looked at.
    #[must_use]
    pub fn watched(&self) -> Vec<String> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// From now on, asks others about the cluster as a whole than these machines: a fault is about to cut them off.
    pub fn avoid(&self, machines: BTreeSet<String>) {
        *self.avoided.lock().unwrap_or_else(PoisonError::into_inner) = machines;
    }

    /// The outpost that answers for the cluster as a whole: the edge's, which carries nothing of the cluster; any host's when that
    /// one has no stream, or is to be avoided.
    #[must_use]
    pub fn central(&self) -> Option<&Outpost> {
        let avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        let edge = self.outposts.get(&self.shape.edge).filter(|_| !avoided.contains(&self.shape.edge));
        edge.filter(|outpost| outpost.is_connected()).or_else(|| self.any_host())
    }

    /// A host that has a stream.
    #[must_use]
    pub fn any_host(&self) -> Option<&Outpost> {
        let mut hosts = self.shape.hosts.iter().filter_map(|h| self.outposts.get(h));
        hosts.find(|outpost| outpost.is_connected())
    }

    /// The volume. Of many entries that wait for heal GlusterFS isn't asked for the state of each: it locks them one after another, and
    /// nothing heals meanwhile. The bricks themselves know how many there are: counting costs nothing, and takes no lock.
    ///
    /// # Errors
    /// If GlusterFS doesn't answer within `bound`.
    pub async fn volume(&self, bound: Duration) -> Result<GlusterView, String> {
        let hosts = &self.shape.hosts;
        let held = join_all(hosts.iter().map(|host| async move {
            let probe = self.call(self.outposts.get(host), Call::Held, bound, |reply| match reply {
                Reply::Held(held) => held,
                _ => None,
            });
            probe.await.result.ok()
        }));
        let held: Vec<u64> = held.await.into_iter().flatten().collect();
        let (heal_pending, number) = (held.iter().sum(), |n: usize| u32::try_from(n).unwrap_or(u32::MAX));
        if heal_pending > HELD_MAX {
            let (bricks_online, bricks) = (number(held.len()), number(hosts.len()));
            return Ok(GlusterView { heal_pending, split_brain: 0, bricks_online, bricks });
        }
        let probe = self.call(self.any_host(), Call::Gluster, bound, |reply| match reply {
            Reply::Gluster(seen) => Some(seen),
            _ => None,
        });
        probe.await.result
    }

    /// Calls the outpost of a machine, or says that there is none.
    pub async fn call<T>(
        &self,
        outpost: Option<&Outpost>,
        call: Call,
        bound: Duration,
        expect: fn(Reply) -> Option<T>,
    ) -> Probe<T> {
        let Probe { begin, end, result } = self.ask(outpost, call, bound, expect).await;
        Probe { begin, end, result: result.flatten() }
    }

    /// The same, telling what could not be asked (outer error) from what was answered.
    pub async fn ask<T>(
        &self,
        outpost: Option<&Outpost>,
        call: Call,
        bound: Duration,
        expect: fn(Reply) -> Option<T>,
    ) -> Probe<Result<T, String>> {
        let Some(outpost) = outpost else {
            let now = self.clock.now();
            return Probe { begin: now, end: now, result: Err("no outpost is connected".to_owned()) };
        };
        expecting(outpost.ask(call, bound).await, expect)
    }

    /// A directory of this run on the shared volume, relative to the mount.
    #[must_use]
    pub fn directory(&self, purpose: &str) -> PathBuf {
        PathBuf::from(format!("stormbed-testbed/{}/{purpose}", self.run))
    }
}

/// Members with the names that they must have, in slot order. None while etcd has no leader: names then have no truth.
#[must_use]
pub fn actors(truth: &Truth, shape: &Shape) -> Vec<Actor> {
    let Some(leader) = &truth.etcd_leader else {
        return Vec::new();
    };
    let names = Truth::names(&shape.prefix, leader.slot, &truth.members);
    let name_of: BTreeMap<Slot, String> = names.into_iter().map(|(n, s)| (s, n)).collect();
    let actor = |slot: &Slot| {
        let node = truth.running.get(slot)?.first()?;
        Some(Actor {
            slot: *slot,
            address: *shape.addresses.get(slot)?,
            container: node.container.clone(),
            host: node.host.clone(),
            name: name_of.get(slot)?.clone(),
        })
    };
    truth.members.iter().filter_map(actor).collect()
}

/// Takes the expected kind of reply out of a probe.
fn expecting<T>(probe: Probe<Result<Reply, String>>, expect: fn(Reply) -> Option<T>) -> Probe<Result<T, String>> {
    let Probe { begin, end, result } = probe;
    let result = match result {
        Ok(Ok(reply)) => expect(reply).map(Ok).ok_or_else(|| "the outpost answered something else".to_owned()),
        Ok(Err(refused)) => Ok(Err(refused)),
        Err(why) => Err(why),
    };
    Probe { begin, end, result }
}

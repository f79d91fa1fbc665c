//! Two writes that show what a cut-off etcd leader is worth: one through it, one through the leader of the majority, and a look at
//! both when all is one again.

use std::net::Ipv4Addr;
use std::time::Duration;

use stormbed::config::Slot;
use stormbed::outpost::protocol::{Call, Reply};
use stormbed::registry::Keys;
use tokio::task::JoinHandle;

use super::session::{Session, Stop};
use crate::fault::life::Stage;
use crate::fault::{FaultKind, Role};
use crate::history::ledger::OpOutcome;
use crate::history::witness::Witness;

/// etcd gives up a proposal that isn't committed after 5 s and two election timeouts; its client is told so.
const STALE_MAX: Duration = Duration::from_secs(8);
/// The majority commits within milliseconds.
const FRESH_MAX: Duration = Duration::from_secs(5);
/// An election takes 2 s at most, and the next if the votes are split as long again.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// Two linearizable reads.
const READ_MAX: Duration = Duration::from_secs(10);

/// A write through a leader that is cut off.
#[derive(Debug)]
pub(super) struct Stale {
    /// The leader's slot.
    slot: Slot,
    /// Its outcome, in time.
    write: JoinHandle<OpOutcome>,
}

impl Session<'_> {
    /// Begins a write through the leader that this fault has just cut off, if it has.
    pub(super) fn write_stale(&self, index: usize) -> Option<Stale> {
        let fault = &self.faults[index];
        let cut = fault.kind == FaultKind::PARTITION && fault.target.role == Role::MinorityWithLeader;
        let victim = fault.victims.first().filter(|_| cut && fault.life.stage >= Stage::Injected)?;
        let slot = victim.node?.0;
        let address = *self.shared.world.shape.addresses.get(&slot)?;
        Some(Stale { slot, write: tokio::spawn(self.put(address, &fault.id, "stale", STALE_MAX)) })
    }

    /// Writes through the majority's leader as well, and waits for both outcomes.
    pub(super) async fn testify(&mut self, index: usize, stale: Option<Stale>) -> Result<(), Stop> {
        let Some(Stale { slot, write: stale }) = stale else {
            return Ok(());
        };
        let id = self.faults[index].id.clone();
        let other = |session: &Self| session.majority_leader(slot).is_some();
        self.until(LEADER_WITHIN, other).await?;
        let fresh = match self.majority_leader(slot) {
            Some((other, address)) => {
                let outcome = self.put(address, &id, "fresh", FRESH_MAX).await;
                self.say(&format!("a write through the majority's leader, slot {other}: {outcome:?}"));
                Some(outcome)
            }
            None => None,
        };
        self.until(STALE_MAX, |_| stale.is_finished()).await?;
        let stale = stale.await.unwrap_or(OpOutcome::Unknown);
        self.say(&format!("a write through the cut-off leader, slot {slot}: {stale:?}"));
        self.witnesses.push(Witness { fault: id, stale, fresh, found: None });
        Ok(())
    }

    /// Looks what became of the writes, when everybody follows one leader again.
    pub(super) async fn account_of(&mut self, index: usize) {
        let id = self.faults[index].id.clone();
        if !self.witnesses.iter().any(|witness| witness.fault == id) {
            return;
        }
        let world = self.shared.world.clone();
        let call = Call::EtcdRange {
            endpoints: world.shape.addresses.values().copied().collect(),
            prefix: self.witness_key(&id, ""),
        };
        let read = world.call(world.central(), call, READ_MAX, |reply| match reply {
            Reply::EtcdRange(found) => Some(found),
            _ => None,
        });
        let found = read.await.result.ok().map(|found| {
            let there = |which: &str| found.contains_key(&self.witness_key(&id, which));
            (there("stale"), there("fresh"))
        });
        if let Some((stale, fresh)) = found {
            let is = |there| if there { "is there" } else { "is gone" };
            self.say(&format!(
                "after the rejoin the cut-off leader's write {}, the majority's write {}",
                is(stale),
                is(fresh)
            ));
        }
        for witness in self.witnesses.iter_mut().filter(|witness| witness.fault == id) {
            witness.found = found;
        }
    }

    /// The etcd leader by ground truth, if it is another than this.
    fn majority_leader(&self, not: Slot) -> Option<(Slot, Ipv4Addr)> {
        let leader = self.seen.as_ref()?.truth.etcd_leader.as_ref().filter(|leader| leader.slot != not)?;
        Some((leader.slot, *self.shared.world.shape.addresses.get(&leader.slot)?))
    }

    fn put(
        &self,
        address: Ipv4Addr,
        fault: &str,
        which: &str,
        within: Duration,
    ) -> impl Future<Output = OpOutcome> + Send + use<> {
        let key = self.witness_key(fault, which);
        let call = Call::EtcdPut { endpoints: vec![address], key, value: which.to_owned() };
        let world = self.shared.world.clone();
        async move {
            let outpost = world.central();
            let sent = outpost.is_some();
            let done = world.call(outpost, call, within, |reply| (reply == Reply::Done).then_some(()));
            match done.await.result {
                Ok(()) => OpOutcome::Acknowledged,
                Err(why) if sent && !why.contains(NOT_SENT) => OpOutcome::Unknown,
                Err(_) => OpOutcome::Refused,
            }
        }
    }

    fn witness_key(&self, fault: &str, which: &str) -> String {
        let root = Keys::testbed(&self.shared.world.shape.cluster);
        format!("{root}witness/{}/{}/{fault}/{which}", self.shared.world.run, self.place)
    }
}

/// What an outpost says when it could send a put to nobody.
const NOT_SENT: &str = "no endpoint accepts connections";

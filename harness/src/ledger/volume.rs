//! The volume after the last write: asked until it is well, or its time is over.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use stormbed::outpost::protocol::{Call, Reply};

use super::{Ledger, READ_MAX};
use crate::history::volume::{HEAL_WITHIN_MS, VolumeOutcome, audit};

/// Connects to every brick as a client does: a second or two.
const STATE_MAX: Duration = Duration::from_secs(5);
/// Rest between two looks.
const AGAIN: Duration = Duration::from_secs(1);

impl Ledger {
    /// Looks at the volume until nothing speaks against it, at most [`HEAL_WITHIN_MS`]. To be called after [`Ledger::stop`].
    pub async fn volume(&self) -> VolumeOutcome {
        let clock = self.world.clock;
        let end = clock.now() + Duration::from_millis(HEAL_WITHIN_MS);
        loop {
            let (state, bricks) = tokio::join!(self.world.volume(STATE_MAX), self.bricks());
            let volume = VolumeOutcome { state, bricks };
            if audit(Some(&volume)).is_empty() || clock.now() >= end {
                return volume;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn bricks(&self) -> BTreeMap<String, Result<BTreeMap<String, String>, String>> {
        let dirs = vec![self.places.files.clone(), self.places.notebooks.clone()];
        let asked = self.world.shape.hosts.iter().map(|host| {
            let call = Call::BrickSums { dirs: dirs.clone() };
            async move {
                let outpost = self.world.outposts.get(host);
                let probe = self.world.call(outpost, call, READ_MAX, |r| match r {
                    Reply::BrickSums(sums) => Some(sums),
                    _ => None,
                });
                (host.clone(), probe.await.result)
            }
        });
        join_all(asked).await.into_iter().collect()
    }
}

//! `stormbed heal`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stormbed::clock::Clock;

use super::{connect, the_standing};
use crate::engine::Engine;
use crate::fault::heal::{heal, owes, sweep};
use crate::observe::machines::Machines;
use crate::observe::outpost::Outpost;
use crate::run::{Home, RunError};
use crate::topology::{Topology, TopologyError};

/// An outpost is one `docker exec`; a host that was just started again takes some seconds until it has a supervisor.
const OUTPOST_WITHIN: Duration = Duration::from_secs(30);

/// Undo every fault that a run which was killed has left on a standing topology.
#[derive(Debug, clap::Args)]
pub struct Heal {
    /// The run; the only one that stands when absent.
    run: Option<String>,
}

impl Heal {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let id = the_standing(home, self.run.as_deref())?;
        let done = mend(&engine, home, &id).await?;
        for text in &done {
            println!("{text}");
        }
        if done.is_empty() {
            println!("{id}: no fault was left");
        }
        Ok(0)
    }
}

/// Heals every standing topology whose journal owes something and that nobody uses.
pub(super) async fn mend_all(engine: &Engine, home: &Home, tell: &(dyn Fn(&str) + Sync)) -> Result<(), TopologyError> {
    for id in super::standing(home)? {
        if !owes(&home.folder(&id), |_| true).map_err(|e| TopologyError::Heal(e.into()))? {
            continue;
        }
        match mend(engine, home, &id).await {
            Ok(done) => done.iter().for_each(|text| tell(&format!("{id}: {text}"))),
            // Its user mends it first thing.
            Err(TopologyError::Run(RunError::Held { .. })) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Replays a topology's journal and has its outposts sweep.
async fn mend(engine: &Engine, home: &Home, id: &str) -> Result<Vec<String>, TopologyError> {
    let topology = Topology::attach(engine, home, id).await?;
    let machines: Arc<dyn Machines> = Arc::new(topology.machines()?);
    let mut done = heal(topology.folder(), &*machines, |_| true).await?;
    let clock = Clock::start();
    let open = |name: String| {
        let outpost = Outpost::open(&name, machines.clone(), clock);
        (name, outpost)
    };
    let outposts: BTreeMap<String, Outpost> = machines.outposts().into_iter().map(open).collect();
    for outpost in outposts.values() {
        outpost.ready(OUTPOST_WITHIN).await.map_err(crate::fault::heal::HealError::Owed)?;
    }
    done.extend(sweep(&outposts).await?);
    Ok(done)
}

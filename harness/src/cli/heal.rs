//! `stormbed heal`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stormbed::clock::Clock;

use super::show::{print_json, print_lines};
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
    /// Print JSON: {"run", "mended": [sentence, …]}.
    #[arg(long)]
    json: bool,
}

/// What was done to a topology.
#[derive(Debug, Serialize)]
struct Healed {
    run: String,
    /// A sentence for each.
    mended: Vec<String>,
}

impl Healed {
    fn text(&self) -> String {
        if self.mended.is_empty() { format!("{}: no fault was left", self.run) } else { self.mended.join("\n") }
    }
}

impl Heal {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let id = the_standing(home, self.run.as_deref())?;
        let healed = Healed { mended: mend(&engine, home, &id).await?, run: id };
        if self.json {
            print_json(&healed);
        } else {
            print_lines(&healed.text());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mended_is_told_to_people_and_to_programs() {
        let healed = |mended: &[&str]| Healed {
            run: "r".into(),
            mended: mended.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(healed(&[]).text(), "r: no fault was left");
        let two = healed(&["thawed zk-1 (fault s1 of run r)", "host-1: released the part agent"]);
        assert_eq!(two.text().lines().count(), 2);
        let json = serde_json::to_value(&two).expect("plain data");
        assert_eq!((json["run"].as_str(), json["mended"].as_array().map(Vec::len)), (Some("r"), Some(2)));
    }
}

//! A run, from scenario files to a verdict.
//!
//! # Phases
//! 1. *prepare*: plans are made (by the caller) and the run's folder with `plan.json`.
//! 2. *up*: a topology is started, or the standing one is taken. Outposts and the observer come up.
//! 3. For every scenario:
//!    * *steady?*: every invariant holds, and a whole deep sweep agrees; else the scenario has failed before it began.
//!    * for every step: inject → effect seen? → expected event seen? → hold → undo → undone seen? → converged?
//!    * *account*: the writers stop, the ledger is read back, the bricks are compared.
//!    * *final judgement*: no excuses, a whole sweep, held for 10 s.
//! 4. *collect*: logs.
//! 5. *report*.
//! 6. *down*, unless it is to be kept.
//!
//! A topology that does not come back from a scenario is replaced by a fresh one for the scenarios that are left, if it was started
//! for this run: a breach is that scenario's alone.
//!
//! Whatever ends a run early (Ctrl-C, the deadline, an error, a panic) goes through the same end: faults are undone, logs are
//! collected, the report is written, and the topology is removed. Several topologies may stand side by side: each is a
//! [`lanes`] lane, a run of its own with a share of the scenarios.

mod acts;
pub mod backend;
pub mod command;
pub mod docker;
mod ending;
#[cfg(test)]
mod fixture;
pub mod folder;
pub mod interrupt;
pub mod lanes;
mod machine;
pub(crate) mod playing;
pub mod recorded;
mod session;
pub mod shard;
mod steps;
mod storm;
mod strike;
#[cfg(test)]
mod strike_tests;
mod telling;
mod topologies;
mod witness;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use stormbed::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::report::{Report, SCHEMA, ScenarioReport, Verdict};
use crate::scenario::Cluster;
use crate::scenario::plan::Plan;
use backend::Backend;
use folder::{FolderError, RunFolder};
use interrupt::{Cause, Interrupt};
#[cfg(test)]
pub(crate) use playing::nowhere;
use playing::{Running, not_run};
use session::Stop;
use topologies::Topologies;

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// In this order, on one topology.
    pub plans: Vec<Plan>,
    /// Leave the topology standing.
    pub keep: bool,
    /// Whoever meets the first scenario that isn't a PASS cancels this; nobody who shares it begins another one then.
    pub fail_fast: Option<CancellationToken>,
}

impl Request {
    /// After this scenario none is to begin.
    fn is_enough(&self, newest: Option<&ScenarioReport>) -> bool {
        let Some(enough) = &self.fail_fast else {
            return false;
        };
        if newest.is_some_and(|report| report.verdict != Verdict::Pass) {
            enough.cancel();
        }
        enough.is_cancelled()
    }
}

/// Where a run leaves its folder, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The run's id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its number among those that run side by side.
    pub lane: Option<usize>,
}

/// A run that could not leave its evidence.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Plans that don't fit on one topology.
    #[error("the scenarios '{first}' and '{second}' ask for different clusters; run them one after the other")]
    Clusters {
        /// A scenario.
        first: String,
        /// One that asks for something else.
        second: String,
    },
}

/// Runs plans on a topology. `interrupt` ends the run early, in order.
///
/// # Errors
/// If the run could not even leave its folder; everything else is in the report.
pub async fn run(
    request: &Request,
    place: &Place,
    backend: &dyn Backend,
    interrupt: &Interrupt,
) -> Result<Report, RunError> {
    let started = SystemTime::now();
    let clock = Clock::start();
    let cluster = common_cluster(&request.plans)?;
    let mut folder = RunFolder::create(place.folder.clone())?;
    folder::document(&place.folder, "plan.json", &request.plans)?;
    let progress = Progress::detect(clock, place.lane);
    progress.line(&format!("run {}", place.id));

    let topologies =
        Topologies { request, backend, cluster, interrupt, progress: &progress, clock, folder: &place.folder };
    let (mut scenarios, parts) = topologies
        .play(async |stand, scenarios| {
            let mut run =
                Running { request, folder: &mut folder, progress: &progress, interrupt, clock, id: &place.id };
            run.scenarios(stand, scenarios).await
        })
        .await;
    if let Some(Cause::Deadline(deadline)) = interrupt.cause() {
        let unplayed = request.plans.iter().skip(scenarios.len());
        scenarios.extend(unplayed.map(|plan| not_run(plan, clock, &Stop::Interrupted)));
        scenarios.iter_mut().for_each(|scenario| scenario.cut_by_deadline(deadline));
    }
    let report = Report {
        schema: SCHEMA,
        run: place.id.clone(),
        verdict: Report::verdict_of(&scenarios),
        interrupted: interrupt.cause() == Some(Cause::User),
        started_unix_ms: unix_ms(started),
        took_ms: clock.now().0,
        machine: machine::machine(),
        parts,
        scenarios,
    };
    folder.flush();
    folder::leave(&place.folder, &report)?;
    Ok(report)
}

/// All plans ask for the same, or for nothing.
fn common_cluster(plans: &[Plan]) -> Result<Cluster, RunError> {
    let mut common = Cluster::default();
    for plan in plans {
        let wanted = &plan.cluster;
        if !wanted.fits(&common) {
            return Err(RunError::Clusters {
                first: plans.first().map(|p| p.scenario.clone()).unwrap_or_default(),
                second: plan.scenario.clone(),
            });
        }
        common.nodes = common.nodes.or(wanted.nodes);
        common.prefix = common.prefix.or_else(|| wanted.prefix.clone());
    }
    Ok(common)
}

fn sentence(stop: &Stop) -> &str {
    match stop {
        Stop::Interrupted => "interrupted",
        Stop::Broken(why) | Stop::Aborted(why) => why,
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

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
//! Whatever ends a run early (Ctrl-C, the deadline, an error, a panic) goes through the same end: faults are undone, logs are
//! collected, the report is written, and the topology is removed. Several topologies may stand side by side: each is a
//! [`lanes`] lane, a run of its own with a share of the scenarios.

mod acts;
pub mod backend;
pub mod command;
pub mod docker;
mod ending;
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
mod witness;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use stormbed::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::report::{Finding, Report, SCHEMA, ScenarioReport, Verdict};
use crate::scenario::Cluster;
use crate::scenario::plan::Plan;
use backend::{Backend, Stand};
use folder::{FolderError, RunFolder};
use interrupt::{Cause, Interrupt};
#[cfg(test)]
pub(crate) use playing::nowhere;
use playing::{Running, not_run, told};
use session::Stop;

/// Logs of twenty containers.
const LOGS_WITHIN: Duration = Duration::from_secs(30);

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

    let up = brought_up(backend, &cluster, interrupt, &progress).await;
    // What came up only in part is of no use to anybody.
    let keep = request.keep && up.is_ok();
    let mut scenarios = Vec::new();
    let mut parts = BTreeMap::new();
    match up {
        Ok(stand) => {
            parts.clone_from(&stand.parts);
            let mut run =
                Running { request, folder: &mut folder, progress: &progress, interrupt, clock, id: &place.id };
            scenarios = run.scenarios(stand).await;
        }
        Err(stop) => scenarios.extend(request.plans.first().map(|plan| {
            progress.line(&format!("the topology did not come up: {}", sentence(&stop)));
            not_run(plan, clock, &stop)
        })),
    }
    if let Some(Cause::Deadline(deadline)) = interrupt.cause() {
        let unplayed = request.plans.iter().skip(scenarios.len());
        scenarios.extend(unplayed.map(|plan| not_run(plan, clock, &Stop::Interrupted)));
        scenarios.iter_mut().for_each(|scenario| scenario.cut_by_deadline(deadline));
    }
    collect(backend, &folder, &progress).await;
    // Before the report: it tells of what stayed, and a folder that can't be written keeps nothing standing.
    match backend.release(keep).await {
        Ok(stays) => progress.line(if stays { "the topology stays" } else { "the topology is removed" }),
        Err(why) => {
            let text = format!("the topology is not wholly removed: {why}; `stormbed down --all` tries again");
            progress.line(&text);
            if let Some(last) = scenarios.last_mut() {
                last.add(Finding { verdict: Verdict::Broken, at: None, why: text });
            }
        }
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

/// Starts the topology, unless the user ends it or something panics first.
async fn brought_up(
    backend: &dyn Backend,
    cluster: &Cluster,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<Stand, Stop> {
    let tell = |text: &str| progress.line(text);
    let up = AssertUnwindSafe(backend.up(cluster, &tell)).catch_unwind();
    tokio::select! {
        biased;
        () = interrupt.cancelled() => Err(Stop::Interrupted),
        up = up => match up {
            Ok(Ok(stand)) => Ok(stand),
            Ok(Err(why)) => Err(Stop::Broken(why)),
            Err(panic) => Err(Stop::Broken(told(&*panic))),
        },
    }
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

async fn collect(backend: &dyn Backend, folder: &RunFolder, progress: &Progress) {
    let logs = folder.path().join("logs");
    let collected = tokio::time::timeout(LOGS_WITHIN, backend.logs(&logs)).await;
    match collected {
        Ok(Ok(())) => {}
        Ok(Err(why)) => progress.line(&format!("not all logs were collected: {why}")),
        Err(_) => progress.line("not all logs were collected in time"),
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

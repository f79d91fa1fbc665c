//! Playing the scenarios of a run on a topology that stands.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use stormbed::clock::Clock;

use super::Request;
use super::backend::Stand;
use super::folder::RunFolder;
use super::interrupt::{Cause, Interrupt};
use super::sentence;
use super::session::{Session, Shared, Stop};
use crate::fault::guard::Guard;
use crate::fault::heal::{self, HealError};
use crate::fault::journal::Journal;
use crate::history::ledger::LedgerOutcome;
use crate::history::{Ending, History};
use crate::ledger::Ledger;
use crate::observe::jupyter::Jupyter;
use crate::observe::observation::Shape;
use crate::observe::observer::Observer;
use crate::observe::world::World;
use crate::progress::Progress;
use crate::report::{ScenarioReport, Verdict};
use crate::scenario::plan::Plan;
use crate::status::live::Teller;

/// An outpost is one `docker exec`; on a machine that has just started everything they take seconds.
const OUTPOSTS_WITHIN: Duration = Duration::from_secs(30);
/// Each kind of operation must have succeeded before the first fault: two rounds.
const LEDGER_FIRST: Duration = Duration::from_secs(2);
/// Findings told on the screen; all of them are in the report.
const FINDINGS_TOLD: usize = 5;

/// A run whose topology stands.
pub(super) struct Running<'a> {
    pub(super) request: &'a Request,
    pub(super) folder: &'a mut RunFolder,
    pub(super) progress: &'a Progress,
    pub(super) interrupt: &'a Interrupt,
    pub(super) clock: Clock,
    pub(super) id: &'a str,
}

/// What all scenarios on one topology use.
struct Watching<'a> {
    world: &'a World,
    observer: &'a mut Observer,
    journal: &'a mut Journal,
    teller: &'a mut Teller,
}

/// What came of a scenario.
struct Played {
    report: ScenarioReport,
    /// The harness worked, and every invariant holds at the end: the topology is fit for another one.
    whole: bool,
}

impl Running<'_> {
    /// Plays the plans that have no report yet, for as long as the topology is fit for it: one that can be replaced isn't used
    /// any more when it did not come back from a scenario. Returns whether it should be replaced.
    pub(super) async fn scenarios(&mut self, stand: Stand, reports: &mut Vec<ScenarioReport>) -> bool {
        let plans = &self.request.plans[reports.len()..];
        let (world, mut observer, mut journal) = match self.watch(&stand).await {
            Ok(watching) => watching,
            Err(stop) => {
                self.progress.line(sentence(&stop));
                reports.extend(plans.first().map(|plan| not_run(plan, self.clock, &stop)));
                return false;
            }
        };
        let mut teller = Teller::new(&stand.folder);
        for plan in plans {
            if self.interrupt.cause().is_some() || self.request.is_enough(reports.last()) {
                break;
            }
            self.progress.line(&format!("{}: {}", plan.scenario, plan.about));
            let watching =
                Watching { world: &world, observer: &mut observer, journal: &mut journal, teller: &mut teller };
            let running = self.scenario(plan, place(reports.len() + 1, plan), watching);
            let Played { mut report, whole } = match AssertUnwindSafe(running).catch_unwind().await {
                Ok(played) => played,
                Err(panic) => {
                    let healed = self.heal(&stand).await;
                    if let Err(Stop::Broken(why)) = healed {
                        self.progress.line(&why);
                    }
                    Played { report: not_run(plan, self.clock, &Stop::Broken(told(&*panic))), whole: false }
                }
            };
            if let Some(Cause::Deadline(deadline)) = self.interrupt.cause() {
                report.cut_by_deadline(deadline);
            }
            self.conclude(&report);
            let broken = report.verdict == Verdict::Broken;
            reports.push(report);
            if !whole && stand.ours {
                return true;
            }
            if broken {
                break;
            }
        }
        // Those who play side by side stop as well.
        self.request.is_enough(reports.last());
        false
    }

    /// Pays what a run that died, or panicked, still owes to this topology.
    async fn heal(&self, stand: &Stand) -> Result<(), Stop> {
        self.mended(heal::heal(&stand.folder, &*stand.machines, |_| true).await)
    }

    fn mended(&self, did: Result<Vec<String>, HealError>) -> Result<(), Stop> {
        for text in did.map_err(|error| Stop::Broken(error.to_string()))? {
            self.progress.line(&text);
        }
        Ok(())
    }

    async fn watch(&mut self, stand: &Stand) -> Result<(World, Observer, Journal), Stop> {
        self.heal(stand).await?;
        let guard = match stand.guarded {
            true => Some(Arc::new(Guard::start(&stand.folder, self.id).await.map_err(Stop::Broken)?)),
            false => None,
        };
        let journal = Journal::open(&stand.folder, self.id, guard);
        let journal = journal.map_err(|error| Stop::Broken(error.to_string()))?;
        let jupyter = Jupyter::new(&stand.proxy_url, &stand.token).map_err(Stop::Broken)?;
        let world = World::open(self.id, self.clock, stand.shape.clone(), stand.machines.clone(), jupyter);
        for outpost in world.outposts.values() {
            tokio::select! {
                biased;
                () = self.interrupt.cancelled() => return Err(Stop::Interrupted),
                ready = outpost.ready(OUTPOSTS_WITHIN) => ready.map_err(Stop::Broken)?,
            }
        }
        self.mended(heal::sweep(&world.outposts).await)?;
        let observer = Observer::start(world.clone());
        Ok((world, observer, journal))
    }

    async fn scenario(&mut self, plan: &Plan, place: String, watching: Watching<'_>) -> Played {
        let Watching { world, observer, journal, teller } = watching;
        let lost = observer.dropped();
        let shared = Shared {
            world,
            observer,
            folder: self.folder,
            journal,
            progress: self.progress,
            teller,
            interrupt: self.interrupt,
        };
        let mut session = Session::new(shared, plan, place);
        // Whatever was seen before a panic stays seen.
        let ended = guarded(played(&mut session)).await;
        session.release().await;
        let lost = session.shared.observer.dropped() - lost;
        if lost > 0 {
            session.say(&format!("{lost} ticks were lost: the runner was too slow"));
        }
        let interrupted = ended == Err(Stop::Interrupted);
        let whole = ended.is_ok() && session.history.lacking().is_empty();
        if let Err(Stop::Broken(why)) = ended {
            session.errors.push(why);
        }
        Played { report: session.report(interrupted), whole }
    }

    fn conclude(&mut self, report: &ScenarioReport) {
        let verdict = self.progress.verdict(report.verdict);
        self.progress.line(&format!("{}: {verdict}", report.name));
        for finding in report.why.iter().take(FINDINGS_TOLD) {
            self.progress.line(&format!("  {}: {}", finding.verdict, finding.why));
        }
        self.folder.flush();
    }
}

/// Name of a scenario's play, unique in the run: the same file may be given many times.
fn place(ordinal: usize, plan: &Plan) -> String {
    format!("{ordinal}-{}", plan.scenario)
}

/// Plays a scenario to its end.
async fn played(session: &mut Session<'_>) -> Result<(), Stop> {
    let steady = session.steady().await;
    if steady == Ok(false) {
        // The history of the vain wait says what was broken, without a fault to excuse it.
        return Ok(());
    }
    // A cluster that was still settling when the wait was ended has broken no promise.
    session.available().await?;
    session.judge_from_here();
    steady?;
    let newest = session.shared.observer.newest();
    let ledger = Ledger::start(session.shared.world, &session.place, newest);
    session.pass(LEDGER_FIRST).await?;
    match session.steps().await {
        Err(Stop::Aborted(why)) => {
            session.say(&format!("ended early: {why}"));
            session.release().await;
        }
        stepped => stepped?,
    }
    session.finish(ledger).await
}

/// A panic on the way is a failure of the harness.
async fn guarded<T>(play: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    AssertUnwindSafe(play).catch_unwind().await.unwrap_or_else(|panic| Err(Stop::Broken(told(&*panic))))
}

/// The report on a scenario that could not be played.
pub(super) fn not_run(plan: &Plan, clock: Clock, stop: &Stop) -> ScenarioReport {
    let history = History::begin(nowhere(), clock.now());
    history.outcome(&Ending {
        plan,
        faults: &[],
        ledger: &LedgerOutcome::new(),
        volume: None,
        witnesses: &[],
        ended: clock.now(),
        harness_errors: match stop {
            Stop::Interrupted => Vec::new(),
            Stop::Broken(why) | Stop::Aborted(why) => vec![why.clone()],
        },
        interrupted: *stop == Stop::Interrupted,
        aborted: None,
    })
}

/// The shape of a cluster that never was.
pub(crate) fn nowhere() -> Shape {
    Shape {
        prefix: String::new(),
        cluster: String::new(),
        addresses: BTreeMap::new(),
        pool: String::new(),
        machines: BTreeMap::new(),
        hosts: Vec::new(),
        masters: BTreeMap::new(),
        zookeepers: Vec::new(),
        frameworks: Vec::new(),
        framework_name: String::new(),
        jupyter_port: 0,
        edge: String::new(),
    }
}

/// What a panic said.
pub(super) fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the harness panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Cluster;

    async fn panics() -> Result<(), Stop> {
        panic!("out of cheese")
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_the_harness() {
        let ended = guarded(panics()).await;
        assert!(matches!(ended, Err(Stop::Broken(why)) if why.contains("out of cheese")));
        assert_eq!(guarded(async { Ok(1) }).await, Ok(1));
    }

    #[test]
    fn one_scenario_played_twice_has_two_places() {
        let cluster = Cluster::default();
        let plan = Plan {
            scenario: "node-loss".into(),
            about: String::new(),
            cluster,
            seed: 1,
            steps: Vec::new(),
            ..Plan::default()
        };
        let places: Vec<String> = (1..).zip([&plan, &plan]).map(|(ordinal, plan)| place(ordinal, plan)).collect();
        assert_eq!(places, ["1-node-loss", "2-node-loss"]);
    }
}

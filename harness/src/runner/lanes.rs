//! From plans to a report on as many topologies as there are backends, side by side. Each lane is a run of its own, with its
//! folder and its share of the scenarios; together they leave one report.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use super::backend::Backend;
use super::folder;
use super::interrupt::Interrupt;
use super::shard::{Shard, in_order};
use super::{Place, Request, RunError, run};
use crate::report::{Report, ScenarioReport};
use crate::run::id;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As written.
    pub report: Report,
    /// The run's folder.
    pub folder: PathBuf,
}

/// Runs plans: all of them on the only topology, or shares of them on several.
///
/// # Errors
/// If a run could not even leave its folder; everything else is in the report.
pub async fn run_all(
    request: &Request,
    runs: &Path,
    backends: &[&dyn Backend],
    interrupt: &Interrupt,
) -> Result<Outcome, RunError> {
    let id = id::new();
    let folder = folder::place(runs, &id)?;
    // A lane without a scenario would start a topology for nothing.
    let lanes = backends.len().min(request.plans.len());
    if let ([only, ..], true) = (backends, lanes <= 1) {
        let report = run(request, &Place { id, folder: folder.clone(), lane: None }, *only, interrupt).await?;
        return Ok(Outcome { report, folder });
    }
    folder::document(&folder, "plan.json", &request.plans)?;
    let all = Shard::all(lanes).zip(backends).zip(1..).map(|((shard, backend), lane)| {
        let request = Request { plans: shard.take(&request.plans), ..request.clone() };
        let place = Place { id: format!("{id}-{lane}"), folder: folder.join(lane_folder(lane)), lane: Some(lane) };
        async move { run(&request, &place, *backend, interrupt).await }
    });
    let reports = join_all(all).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let report = merged(id, reports).expect("there are at least two lanes");
    folder::leave(&folder, &report)?;
    Ok(Outcome { report, folder })
}

/// Name of a lane's folder in the run's.
#[must_use]
pub fn lane_folder(lane: usize) -> String {
    format!("lane-{lane}")
}

/// The lanes' reports as one, with the scenarios in the order in which they were given.
fn merged(run: String, reports: Vec<Report>) -> Option<Report> {
    let first = reports.first()?.clone();
    let (started_unix_ms, took_ms) = (
        reports.iter().map(|report| report.started_unix_ms).min()?,
        reports.iter().map(|report| report.took_ms).max()?,
    );
    let interrupted = reports.iter().any(|report| report.interrupted);
    let parts = reports.iter().find(|report| !report.parts.is_empty()).map(|report| report.parts.clone());
    let scenarios: Vec<ScenarioReport> = in_order(reports.into_iter().map(|report| report.scenarios).collect());
    Some(Report {
        run,
        verdict: Report::verdict_of(&scenarios),
        interrupted,
        started_unix_ms,
        took_ms,
        parts: parts.unwrap_or_default(),
        scenarios,
        ..first
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;

    use super::super::backend::Stand;
    use super::super::interrupt::Cause;
    use super::*;
    use crate::report::Verdict;
    use crate::scenario::Cluster;
    use crate::scenario::plan::Plan;

    /// An engine on which nothing comes up, or nothing ever ends to come up.
    struct Engine {
        hangs: bool,
    }

    impl Backend for Engine {
        fn up<'a>(&'a self, _: &'a Cluster, _: &'a (dyn Fn(&str) + Sync)) -> LocalBoxFuture<'a, Result<Stand, String>> {
            async {
                if self.hangs {
                    std::future::pending::<()>().await;
                }
                Err("there is no engine".to_owned())
            }
            .boxed_local()
        }
        fn logs<'a>(&'a self, _: &'a Path) -> LocalBoxFuture<'a, Result<(), String>> {
            async { Ok(()) }.boxed_local()
        }
        fn release(&self, _: bool) -> LocalBoxFuture<'_, Result<bool, String>> {
            async { Ok(false) }.boxed_local()
        }
    }

    fn request(names: &[&str]) -> Request {
        let plan = |name: &&str| Plan {
            scenario: (*name).into(),
            about: String::new(),
            cluster: Cluster::default(),
            seed: 1,
            steps: Vec::new(),
            ..Plan::default()
        };
        Request { plans: names.iter().map(plan).collect(), keep: false, fail_fast: None }
    }

    fn names(report: &Report) -> Vec<&str> {
        report.scenarios.iter().map(|scenario| scenario.name.as_str()).collect()
    }

    #[tokio::test]
    async fn every_lane_leaves_a_run_and_all_together_one_report() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        let (one, two) = (Engine { hangs: false }, Engine { hangs: false });
        let backends: [&dyn Backend; 2] = [&one, &two];
        let request = request(&["a", "b", "c"]);
        let outcome = run_all(&request, runs.path(), &backends, &Interrupt::default()).await.expect("it is written");
        assert_eq!(outcome.report.verdict, Verdict::Broken);
        assert_eq!(names(&outcome.report), ["a", "b"], "each lane tells of its first scenario why it isn't up");
        for file in ["plan.json", "report.json", "junit.xml", "lane-1/plan.json", "lane-2/report.json"] {
            assert!(outcome.folder.join(file).is_file(), "{file}");
        }
        assert!(runs.path().join("latest/lane-2").is_dir());
    }

    #[tokio::test]
    async fn a_deadline_makes_everything_that_it_cut_off_invalid() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        let (engine, interrupt) = (Engine { hangs: true }, Interrupt::default());
        interrupt.end(Cause::Deadline(Duration::from_secs(120)));
        let outcome = run_all(&request(&["a", "b"]), runs.path(), &[&engine], &interrupt).await.expect("written");
        assert_eq!(outcome.report.exit_code(), Verdict::Invalid.exit_code());
        assert_eq!(names(&outcome.report), ["a", "b"], "those that were not reached are told");
        assert!(outcome.report.scenarios.iter().all(|s| s.why[0].why.contains("deadline of 2m")));
    }
}

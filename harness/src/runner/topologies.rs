//! The topologies of a run: one, or one after another where one does not come back.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use stormbed::clock::Clock;

use super::backend::{Backend, Stand};
use super::interrupt::Interrupt;
use super::playing::{not_run, told};
use super::session::Stop;
use super::{Request, folder, sentence};
use crate::progress::Progress;
use crate::report::{Finding, ScenarioReport, Verdict};
use crate::scenario::Cluster;

/// Logs of twenty containers.
const LOGS_WITHIN: Duration = Duration::from_secs(30);

/// All that topologies are started, left and removed with.
pub(super) struct Topologies<'a> {
    pub(super) request: &'a Request,
    pub(super) backend: &'a dyn Backend,
    pub(super) cluster: Cluster,
    pub(super) interrupt: &'a Interrupt,
    pub(super) progress: &'a Progress,
    pub(super) clock: Clock,
    pub(super) folder: &'a Path,
}

impl Topologies<'_> {
    /// Plays everything: `play` plays what has no report yet on a topology, and says whether another one should take its place.
    /// Returns the reports, and the versions of the parts.
    pub(super) async fn play(
        &self,
        mut play: impl AsyncFnMut(Stand, &mut Vec<ScenarioReport>) -> bool,
    ) -> (Vec<ScenarioReport>, BTreeMap<String, String>) {
        let plans = &self.request.plans;
        let (mut scenarios, mut parts) = (Vec::new(), BTreeMap::new());
        // Ends: every topology plays a scenario at least.
        for topology in 1.. {
            let up = self.brought_up().await;
            // What came up only in part is of no use to anybody.
            let keep = self.request.keep && up.is_ok();
            let replace = match up {
                Ok(stand) => {
                    parts.clone_from(&stand.parts);
                    play(stand, &mut scenarios).await
                }
                Err(stop) => {
                    self.progress.line(&format!("the topology did not come up: {}", sentence(&stop)));
                    scenarios.extend(plans.get(scenarios.len()).map(|plan| not_run(plan, self.clock, &stop)));
                    false
                }
            };
            let goes_on = replace
                && scenarios.len() < plans.len()
                && self.interrupt.cause().is_none()
                && !self.request.is_enough(scenarios.last());
            if goes_on {
                self.progress.line("the topology did not come back: a fresh one plays the scenarios that are left");
            }
            self.collect(topology).await;
            self.release(keep && !goes_on, &mut scenarios).await;
            if !goes_on {
                break;
            }
        }
        (scenarios, parts)
    }

    /// Starts the topology, unless the user ends it or something panics first.
    async fn brought_up(&self) -> Result<Stand, Stop> {
        let tell = |text: &str| self.progress.line(text);
        let up = AssertUnwindSafe(self.backend.up(&self.cluster, &tell)).catch_unwind();
        tokio::select! {
            biased;
            () = self.interrupt.cancelled() => Err(Stop::Interrupted),
            up = up => match up {
                Ok(Ok(stand)) => Ok(stand),
                Ok(Err(why)) => Err(Stop::Broken(why)),
                Err(panic) => Err(Stop::Broken(told(&*panic))),
            },
        }
    }

    async fn collect(&self, topology: u32) {
        let logs = self.folder.join(folder::logs(topology));
        let collected = tokio::time::timeout(LOGS_WITHIN, self.backend.logs(&logs)).await;
        match collected {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.progress.line(&format!("not all logs were collected: {why}")),
            Err(_) => self.progress.line("not all logs were collected in time"),
        }
    }

    /// Before the report: it tells of what stayed, and a folder that can't be written keeps nothing standing.
    async fn release(&self, keep: bool, scenarios: &mut [ScenarioReport]) {
        match self.backend.release(keep).await {
            Ok(stays) => self.progress.line(if stays { "the topology stays" } else { "the topology is removed" }),
            Err(why) => {
                let text = format!("the topology is not wholly removed: {why}; `stormbed down --all` tries again");
                self.progress.line(&text);
                if let Some(last) = scenarios.last_mut() {
                    last.add(Finding { verdict: Verdict::Broken, at: None, why: text });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::future::LocalBoxFuture;

    use super::*;
    use crate::observe::fake::FakeMachines;
    use crate::runner::nowhere;
    use crate::scenario::plan::Plan;

    /// An engine on which everything comes up, and what it was asked for.
    #[derive(Default)]
    struct Engine {
        asked: Mutex<Vec<String>>,
    }

    impl Engine {
        fn note(&self, what: impl Into<String>) {
            self.asked.lock().expect("no test panics with it").push(what.into());
        }
    }

    impl Backend for Engine {
        fn up<'a>(&'a self, _: &'a Cluster, _: &'a (dyn Fn(&str) + Sync)) -> LocalBoxFuture<'a, Result<Stand, String>> {
            self.note("up");
            let stand = Stand {
                shape: nowhere(),
                machines: Arc::new(FakeMachines::of(&[])),
                proxy_url: String::new(),
                token: String::new(),
                folder: std::path::PathBuf::new(),
                ours: true,
                guarded: false,
                parts: BTreeMap::new(),
            };
            async { Ok(stand) }.boxed_local()
        }
        fn logs<'a>(&'a self, folder: &'a Path) -> LocalBoxFuture<'a, Result<(), String>> {
            self.note(folder.file_name().unwrap_or_default().to_string_lossy());
            async { Ok(()) }.boxed_local()
        }
        fn release(&self, keep: bool) -> LocalBoxFuture<'_, Result<bool, String>> {
            self.note(if keep { "keep" } else { "remove" });
            async move { Ok(keep) }.boxed_local()
        }
    }

    /// Plays three scenarios, of which the one with this number spoils its topology.
    async fn played(spoils: usize, interrupt: &Interrupt) -> (usize, Vec<String>) {
        let engine = Engine::default();
        let plans = vec![Plan::default(), Plan::default(), Plan::default()];
        let request = Request { plans, keep: true, fail_fast: None };
        let clock = Clock::start();
        let topologies = Topologies {
            request: &request,
            backend: &engine,
            cluster: Cluster::default(),
            interrupt,
            progress: &Progress::detect(clock, None),
            clock,
            folder: Path::new("/nowhere"),
        };
        let play = async |_, scenarios: &mut Vec<ScenarioReport>| {
            while scenarios.len() < 3 {
                scenarios.push(not_run(&Plan::default(), clock, &Stop::Interrupted));
                if scenarios.len() == spoils {
                    return true;
                }
            }
            false
        };
        let (scenarios, _) = topologies.play(play).await;
        (scenarios.len(), engine.asked.into_inner().expect("no test panics with it"))
    }

    #[tokio::test]
    async fn a_topology_that_does_not_come_back_is_replaced_for_what_is_left() {
        let calm = Interrupt::default();
        let (played_all, asked) = played(2, &calm).await;
        assert_eq!(
            (played_all, asked),
            (3, ["up", "logs", "remove", "up", "logs-2", "keep"].map(String::from).to_vec())
        );
        let (played_all, asked) = played(0, &calm).await;
        assert_eq!((played_all, asked), (3, ["up", "logs", "keep"].map(String::from).to_vec()));
        let (_, asked) = played(3, &calm).await;
        assert_eq!(asked, ["up", "logs", "keep"], "nothing is left to play");
    }
}

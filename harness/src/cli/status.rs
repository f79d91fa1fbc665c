//! `stormbed status`

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stormbed::clock::Clock;

use super::connect;
use super::show::{print_json, print_lines};
use crate::engine::Engine;
use crate::invariant::truth::{Truth, TruthTracker};
use crate::invariant::{Held, Judged, Judgement, Look, judge_all};
use crate::observe::fast;
use crate::observe::jupyter::Jupyter;
use crate::observe::observation::{Deep, Observation, RunnerView};
use crate::observe::world::World;
use crate::run::{Home, Phase, Run, RunError, State};
use crate::runner::docker::shape;
use crate::status::View;
use crate::status::live;
use crate::status::screen::screen;
use crate::topology::secrets::TOKEN_FILE;
use crate::topology::{Topology, TopologyError};

/// An outpost is one `docker exec`.
const OUTPOSTS_WITHIN: Duration = Duration::from_secs(15);
/// Whoever runs for so long has settled: what this command sees for the first time isn't new.
const SETTLED: Duration = Duration::from_secs(15);

/// Show the topologies that there are: machines, slots, who leads, what holds, which faults are in force.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only this run.
    run: Option<String>,
    /// Print JSON: [{"run", "phase", "jupyter", "token_file", "scenario", "step", "age_ms", "view", "note"}].
    #[arg(long)]
    json: bool,
}

/// One topology.
#[derive(Debug, Serialize)]
struct Told {
    run: String,
    phase: &'static str,
    jupyter: Option<String>,
    token_file: Option<String>,
    /// What is being played on it.
    scenario: Option<String>,
    step: Option<String>,
    /// Of the view.
    age_ms: u64,
    view: Option<View>,
    /// Why there is no view.
    note: Option<String>,
    #[serde(skip)]
    prefix: String,
}

impl Status {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let mut ids = home.runs()?;
        if let Some(wanted) = &self.run {
            ids.retain(|id| id == wanted);
            if ids.is_empty() {
                return Err(RunError::Unknown { id: wanted.clone() }.into());
            }
        }
        let mut all = Vec::new();
        for id in ids {
            all.push(told(&engine, home, id).await);
        }
        if self.json {
            print_json(&all);
        } else if all.is_empty() {
            print_lines("no topology; start one with `stormbed up`");
        } else {
            print_lines(all.iter().map(text).collect::<Vec<_>>().join("\n").trim_end());
        }
        Ok(0)
    }
}

async fn told(engine: &Engine, home: &Home, id: String) -> Told {
    let folder = home.folder(&id);
    let state = State::read(&folder).ok();
    let phase = state.as_ref().map(|state| state.phase);
    let held = matches!(Run::open(home, &id), Err(RunError::Held { .. }));
    let up = state.as_ref().filter(|_| matches!(phase, Some(Phase::Standing | Phase::Running)));
    let mut told = Told {
        jupyter: up.map(|state| format!("http://{}:{}", std::net::Ipv4Addr::LOCALHOST, state.proxy_port)),
        token_file: up.map(|_| folder.join(TOKEN_FILE).display().to_string()),
        phase: word(phase, held),
        scenario: None,
        step: None,
        age_ms: 0,
        view: None,
        note: None,
        prefix: state.as_ref().map(|state| state.config.prefix.clone()).unwrap_or_default(),
        run: id,
    };
    match (held, phase) {
        (true, _) => match live::read(&folder) {
            Some((live, age_ms)) => {
                (told.scenario, told.step) = (Some(live.scenario), Some(live.phase));
                (told.age_ms, told.view) = (age_ms, Some(live.view));
            }
            None => told.note = Some("its holder shows nothing yet".to_owned()),
        },
        (false, Some(Phase::Standing)) => match look(engine, home, &told.run).await {
            Ok(view) => told.view = Some(view),
            Err(why) => told.note = Some(why),
        },
        _ => {}
    }
    told
}

/// One look at a topology that nobody else holds.
async fn look(engine: &Engine, home: &Home, id: &str) -> Result<View, String> {
    let topology = Topology::attach(engine, home, id).await.map_err(|error| error.to_string())?;
    let machines = topology.machines().map_err(|error| error.to_string())?;
    let jupyter = Jupyter::new(&topology.proxy_url(), topology.secrets().jupyter_token())?;
    let world = World::open(id, Clock::start(), shape(topology.plan())?, Arc::new(machines), jupyter);
    for outpost in world.outposts.values() {
        // One that doesn't come up has a machine that is down: that is what the view is to show.
        let _ = outpost.ready(OUTPOSTS_WITHIN).await;
    }
    let (begin, end, fast) = fast::look(&world).await;
    let seen = Observation { tick: 0, begin, end, runner: RunnerView::default(), fast, deep: Deep::default() };
    let mut truth = TruthTracker::new((*world.shape).clone()).see(&seen);
    settle(&mut truth, &seen);
    let held = Held::default();
    let judged = judge_all(&Look { seen: &seen, truth: &truth, shape: &world.shape, held: &held });
    let fast = |judged: Judged| judged.fast.map(|part| part.judgement);
    let untold = || Judgement::Unknown("one look doesn't tell".to_owned());
    let judged = judged.into_iter().map(|(name, judged)| (name, fast(judged).unwrap_or_else(untold))).collect();
    Ok(View::of(&world.shape, &seen, &truth, &judged, &[]))
}

/// A member whose container has run for long isn't settling only because it is seen for the first time.
fn settle(truth: &mut Truth, seen: &Observation) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let views = seen.fast.containers.values().filter_map(|probe| probe.result.as_ref().ok()).flatten();
    for view in views {
        let ran = now.saturating_sub(Duration::from_millis(view.started_unix_ms));
        if ran > SETTLED && truth.members.contains(&view.slot) {
            truth.settling.remove(&view.slot);
        }
    }
}

fn text(told: &Told) -> String {
    let mut text = format!("run {}: {}", told.run, told.phase);
    if let (Some(scenario), Some(step)) = (&told.scenario, &told.step) {
        text += &format!(" ({scenario}, {step}; seen {} s ago)", told.age_ms / 1_000);
    }
    text.push('\n');
    if let (Some(url), Some(token)) = (&told.jupyter, &told.token_file) {
        text += &format!("jupyter {url}, token in {token}\n");
    }
    if let Some(note) = &told.note {
        text += &format!("{note}\n");
    }
    if let Some(view) = &told.view {
        text += &format!("\n{}", screen(view, &told.prefix));
    }
    text
}

fn word(phase: Option<Phase>, held: bool) -> &'static str {
    match (phase, held) {
        (Some(Phase::Standing), false) => "stands",
        (Some(Phase::Standing | Phase::Running), true) => "a scenario runs on it",
        (Some(Phase::Removing), true) => "being removed",
        (_, true) => "being started",
        (_, false) => "abandoned; the next `up`, or `down --all`, removes it",
    }
}

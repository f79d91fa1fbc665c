//! What `stormbed run` and `stormbed replay` have in common: how plans are played.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{EXIT_USAGE, connect};
use crate::report::Verdict;
use crate::run::Home;
use crate::runner::backend::Backend;
use crate::runner::command::{Telling, play};
use crate::runner::docker::{DockerBackend, Source};
use crate::runner::interrupt::{ENDING, Interrupt};
use crate::runner::{Request, interrupt};
use crate::scenario::duration::{format_ms, parse_ms};
use crate::scenario::plan::Plan;
use crate::topology::{TopologyConfig, TopologyError};

/// Topologies of 3 GB and two busy cores each.
const PARALLEL_MAX: u64 = 8;

/// How plans are played.
#[derive(Debug, Clone, clap::Args)]
pub struct Play {
    /// Stop after the first scenario that isn't a PASS.
    #[arg(long)]
    fail_fast: bool,
    /// End the whole command within this time (`20m`): in time before it, faults are undone, what was seen is judged, the topology
    /// is removed; scenarios that it cuts off are INVALID.
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    deadline: Option<Duration>,
    /// Play on N topologies side by side, each with a share of the scenarios (3 GB of memory and two cores each).
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..=PARALLEL_MAX))]
    parallel: u64,
    /// Leave the topology standing.
    #[arg(long)]
    keep: bool,
    /// Use the topology that stands; don't start one. (Without this, one that stands and fits is used, else one is started.)
    #[arg(long)]
    reuse: bool,
    /// Start a topology, even if one stands.
    #[arg(long, conflicts_with = "reuse")]
    fresh: bool,
    /// TOML file that says what the topology is like; everything has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where runs leave their folders.
    #[arg(long, value_name = "DIRECTORY", default_value = "runs")]
    pub(super) runs: PathBuf,
    /// Take addresses, tokens, keys and the names of this machine and its user out of the folder that the run leaves.
    #[arg(long)]
    redact: bool,
    /// Print the report as JSON in the place of the table: {"folder", "report"}.
    #[arg(long)]
    json: bool,
}

impl Play {
    /// What the topology is like, if a file says so.
    pub(super) fn config(&self) -> Result<Option<TopologyConfig>, TopologyError> {
        Ok(self.config.as_deref().map(TopologyConfig::load).transpose()?)
    }

    pub(super) async fn play(self, home: &Home, plans: Vec<Plan>, fail_fast: bool) -> Result<u8, TopologyError> {
        if plans.is_empty() {
            eprintln!("there is nothing to play: no scenario is left in this share of the list");
            return Ok(EXIT_USAGE);
        }
        let config = self.config()?;
        let interrupt = match Interrupt::of_signals() {
            Ok(interrupt) => interrupt,
            Err(error) => {
                eprintln!("stormbed: signals can't be caught: {error}");
                return Ok(Verdict::Broken.exit_code());
            }
        };
        if let Some(deadline) = self.deadline {
            interrupt.by(deadline);
        }
        let source = match (self.reuse, self.fresh) {
            (true, _) => Source::Standing,
            (_, true) => Source::Fresh,
            _ => Source::Any,
        };
        let engine = connect().await?;
        let backend = || DockerBackend::new(engine.clone(), home.clone(), config.clone(), source);
        let backends: Vec<DockerBackend> = (0..self.parallel).map(|_| backend()).collect();
        let backends: Vec<&dyn Backend> = backends.iter().map(|backend| backend as &dyn Backend).collect();
        let fail_fast = (self.fail_fast || fail_fast).then(CancellationToken::new);
        let request = Request { plans, keep: self.keep, fail_fast };
        let telling = Telling { json: self.json, redact: self.redact };
        Ok(play(&request, &self.runs, telling, &backends, &interrupt).await)
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = Duration::from_millis(parse_ms(text)?);
    if deadline <= interrupt::ENDING {
        let ending = format_ms(u64::try_from(ENDING.as_millis()).unwrap_or(u64::MAX));
        return Err(format!("undoing, judging and removing alone are given {ending}; give more"));
    }
    Ok(deadline)
}

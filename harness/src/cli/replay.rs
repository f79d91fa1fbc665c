//! `stormbed replay`

use super::EXIT_USAGE;
use super::play::Play;
use crate::run::Home;
use crate::runner::recorded::{Recorded, RecordedError, pinned};
use crate::scenario::plan::Plan;
use crate::topology::TopologyError;

/// Play a run's plan again: the same faults at the same times, on whoever holds the roles now.
///
/// The plan is the same, the interleaving isn't. `plan.json` is an explicit list: a fault that is taken out of it moves no other.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The run: its id, its folder, or `latest`.
    run: String,
    /// Hit the victims that the run hit, by name. One that can't be hit makes its step INVALID; in a storm it is skipped.
    #[arg(long)]
    pin: bool,
    /// Only this scenario of the run.
    #[arg(long, value_name = "SCENARIO")]
    only: Option<String>,
    #[command(flatten)]
    play: Play,
}

impl Replay {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        match self.plans() {
            Ok(plans) => self.play.play(home, plans, false).await,
            Err(why) => {
                eprintln!("stormbed: {why}");
                Ok(EXIT_USAGE)
            }
        }
    }

    fn plans(&self) -> Result<Vec<Plan>, String> {
        let recorded = Recorded::find(&self.play.runs, &self.run).map_err(told)?;
        let mut plans = recorded.plans().map_err(told)?;
        if self.pin {
            plans = pinned(plans, &recorded.report().map_err(told)?);
        }
        if let Some(only) = &self.only {
            let names: Vec<String> = plans.iter().map(|plan| plan.scenario.clone()).collect();
            plans.retain(|plan| plan.scenario == *only);
            if plans.is_empty() {
                return Err(format!("the run has no scenario '{only}'; it has: {}", names.join(", ")));
            }
        }
        Ok(plans)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: RecordedError) -> String {
    error.to_string()
}

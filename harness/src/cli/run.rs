//! `stormbed run`

use std::path::PathBuf;

use super::EXIT_USAGE;
use super::play::Play;
use crate::run::Home;
use crate::runner::command::{plans, scenarios};
use crate::runner::shard::Shard;
use crate::topology::TopologyError;

/// Rounds of `--until-fail` when nothing else is said: every round leaves its evidence, and a disk is finite.
const ROUNDS: u32 = 100;

/// Break a topology as scenario files say, and judge whether its promises hold again.
///
/// Leaves a folder under `runs/`, from which `stormbed replay` plays the same again and `stormbed why` tells what went wrong.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Scenario files, played in this order on one topology.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seed of everything that is drawn; a storm's own seed wins.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Play the list N times; every round has a seed of its own, one more than the round's before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeat: Option<u32>,
    /// Play the list again and again (100 times, or as often as --repeat says) until a scenario isn't a PASS.
    #[arg(long)]
    until_fail: bool,
    /// Play only the I-th of N shares of the list: every N-th scenario.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    play: Play,
}

impl Run {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let config = self.play.config()?.unwrap_or_default();
        let scenarios = match scenarios(&self.files, &config) {
            Ok(scenarios) => scenarios,
            Err(mistakes) => {
                eprint!("{mistakes}");
                return Ok(EXIT_USAGE);
            }
        };
        let rounds = self.repeat.unwrap_or(if self.until_fail { ROUNDS } else { 1 });
        let mut plans = plans(&scenarios, self.seed, rounds);
        if let Some(shard) = self.shard {
            plans = shard.take(&plans);
        }
        self.play.play(home, plans, self.until_fail).await
    }
}

//! `stormbed run`

use std::path::PathBuf;

use super::{EXIT_USAGE, connect};
use crate::run::Home;
use crate::runner::command::{plans, play};
use crate::runner::docker::DockerBackend;
use crate::runner::interrupts;
use crate::topology::{TopologyConfig, TopologyError};

/// Break a topology as scenario files say, and judge whether its promises hold again.
///
/// Uses the topology that stands and fits, else starts one and removes it afterwards. Leaves a folder under `runs/`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Scenario files, played in this order on one topology.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seed of everything that is drawn; a storm's own seed wins.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave the topology standing.
    #[arg(long)]
    keep: bool,
    /// TOML file that says what the topology is like; everything has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the run leaves its folder.
    #[arg(long, value_name = "DIRECTORY", default_value = "runs")]
    runs: PathBuf,
}

impl Run {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let plans = match plans(&self.files, self.seed) {
            Ok(plans) => plans,
            Err(mistakes) => {
                eprint!("{mistakes}");
                return Ok(EXIT_USAGE);
            }
        };
        let config = self.config.as_deref().map(TopologyConfig::load).transpose()?;
        let interrupt = match interrupts() {
            Ok(interrupt) => interrupt,
            Err(error) => {
                eprintln!("stormbed: signals can't be caught: {error}");
                return Ok(crate::report::Verdict::Broken.exit_code());
            }
        };
        let backend = DockerBackend::new(connect().await?, home.clone(), config);
        Ok(play(plans, &self.runs, self.keep, &backend, &interrupt).await)
    }
}

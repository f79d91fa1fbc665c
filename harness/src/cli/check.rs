//! `stormbed check`

use std::path::PathBuf;

use super::EXIT_USAGE;
use crate::runner::command::checked;
use crate::scenario::plan::Plan;
use crate::scenario::read::Checked;
use crate::scenario::show::show;
use crate::topology::{TopologyConfig, TopologyError};

/// Check scenario files and show what they would do; start nothing.
///
/// Every mistake of every file is told, with file, line and column; the exit code is then 64.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seed of everything that is drawn; a storm's own seed wins.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// TOML file of the topology that the scenarios are for: its times and numbers bound what can come true.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the plans as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<u8, TopologyError> {
        let config = self.config.as_deref().map(TopologyConfig::load).transpose()?.unwrap_or_default();
        let mut code = 0;
        let mut plans: Vec<(String, Plan)> = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            match checked(file, &config) {
                Ok(Checked { scenario, warnings }) => {
                    for warning in warnings {
                        eprintln!("{:?}", miette::Report::new(warning));
                    }
                    plans.push((name, Plan::draw(&scenario, self.seed)));
                }
                Err(why) => {
                    eprintln!("{}", why.trim_end());
                    code = EXIT_USAGE;
                }
            }
        }
        if self.json {
            let plans: Vec<&Plan> = plans.iter().map(|(_, plan)| plan).collect();
            println!("{}", serde_json::to_string_pretty(&plans).expect("plans are plain data"));
        } else {
            for (name, plan) in &plans {
                print!("{name}: {}", show(plan));
            }
        }
        if let Some(differ) = different_clusters(&plans) {
            eprintln!("{differ}");
        }
        Ok(code)
    }
}

/// Scenarios of one run share their topology.
fn different_clusters(plans: &[(String, Plan)]) -> Option<String> {
    let (first, rest) = plans.split_first()?;
    let differs = |plan: &&(String, Plan)| !plan.1.cluster.fits(&first.1.cluster);
    let other = rest.iter().find(differs)?;
    Some(format!(
        "warning: {} and {} ask for different clusters ({} and {}); `stormbed run` plays them in two runs only",
        first.0, other.0, first.1.cluster, other.1.cluster
    ))
}

//! `stormbed run FILE…`: from files to an exit code.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::{Outcome, Request, run};
use crate::report::Verdict;
use crate::report::table::table;
use crate::scenario::plan::Plan;
use crate::scenario::read::read;

/// Exit code of a bad scenario file or bad arguments.
pub const EXIT_USAGE: u8 = 64;

/// Reads scenario files and draws their plans. All mistakes of all files come at once.
///
/// # Errors
/// What is to be shown to the user; the exit code is then [`EXIT_USAGE`].
pub fn plans(files: &[PathBuf], seed: Option<u64>) -> Result<Vec<Plan>, String> {
    // Short, because people type it in again.
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut plans = Vec::new();
    let mut mistakes = String::new();
    for file in files {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Err(error) => {
                mistakes += &format!("{name}: {error}; give an existing scenario file\n");
            }
            Ok(text) => match read(&name, &text) {
                Ok(scenario) => plans.push(Plan::draw(&scenario, seed)),
                Err(wrong) => mistakes += &format!("{:?}\n", miette::Report::new(wrong)),
            },
        }
    }
    if files.is_empty() {
        mistakes += "no scenario file was given\n";
    }
    if mistakes.is_empty() { Ok(plans) } else { Err(mistakes) }
}

/// Runs plans and tells the outcome on standard output. Returns the exit code.
pub async fn play(
    plans: Vec<Plan>,
    runs: &Path,
    keep: bool,
    backend: &dyn Backend,
    interrupt: &CancellationToken,
) -> u8 {
    let request = Request { plans, runs: runs.to_owned(), keep };
    match run(&request, backend, interrupt).await {
        Ok(outcome) => {
            tell(&outcome);
            outcome.report.exit_code()
        }
        Err(error @ super::RunError::Clusters { .. }) => {
            eprintln!("{error}");
            EXIT_USAGE
        }
        Err(error) => {
            eprintln!("{error}");
            Verdict::Broken.exit_code()
        }
    }
}

fn tell(outcome: &Outcome) {
    let report = &outcome.report;
    print!("\n{}", table(report));
    println!("\n{}  {}", report.verdict, outcome.folder.display());
}

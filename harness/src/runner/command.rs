//! `stormbed run FILE…` and `stormbed replay RUN`: from files to an exit code.

use std::path::{Path, PathBuf};

use super::backend::Backend;
use super::interrupt::Interrupt;
use super::lanes::{Outcome, run_all};
use super::{Request, RunError};
use crate::document;
use crate::document::diagnose::Mistakes;
use crate::report::redact::Redactor;
use crate::report::table::table;
use crate::report::{Verdict, matrix};
use crate::scenario::Scenario;
use crate::scenario::plan::Plan;
use crate::scenario::read::{Checked, read};
use crate::topology::TopologyConfig;

/// Exit code of a bad scenario file or bad arguments.
pub const EXIT_USAGE: u8 = 64;

/// Reads scenario files, for topologies of this configuration. All mistakes of all files come at once.
///
/// # Errors
/// What is to be shown to the user; the exit code is then [`EXIT_USAGE`].
pub fn scenarios(files: &[PathBuf], config: &TopologyConfig) -> Result<Vec<Scenario>, String> {
    let mut scenarios = Vec::new();
    let mut mistakes = String::new();
    for file in files {
        match checked(file, config) {
            Ok(checked) => scenarios.push(checked.scenario),
            Err(why) => mistakes += &format!("{}\n", why.to_string().trim_end()),
        }
    }
    if mistakes.is_empty() { Ok(scenarios) } else { Err(mistakes) }
}

/// Why a file is no scenario. Shows itself as a user is to read it.
#[derive(Debug, Clone)]
pub enum Refused {
    /// It can't be read at all.
    File(String),
    /// Its mistakes.
    Mistakes(Mistakes),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(why) => f.write_str(why),
            Self::Mistakes(all) => write!(f, "{:?}", miette::Report::new(all.clone())),
        }
    }
}

/// Reads one scenario file.
///
/// # Errors
/// What is wrong with it.
pub fn checked(file: &Path, config: &TopologyConfig) -> Result<Checked, Refused> {
    let text = document::text_of(file, "scenario file").map_err(Refused::File)?;
    read(&file.display().to_string(), &text, config).map_err(Refused::Mistakes)
}

/// Draws the plans of so many rounds. A round's seed is one more than the one's before, so that each of them can be had again alone.
#[must_use]
pub fn plans(scenarios: &[Scenario], seed: Option<u64>, rounds: u32) -> Vec<Plan> {
    // Short, because people type it in again.
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let round = |number: u32| {
        let seed = seed.wrapping_add(u64::from(number));
        scenarios.iter().map(move |scenario| Plan::draw(scenario, seed))
    };
    (0..rounds).flat_map(round).collect()
}

/// How an outcome is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Telling {
    /// As JSON, on one line.
    pub json: bool,
    /// Without what must not leave the house; the folder as well.
    pub redact: bool,
}

/// Runs plans and tells the outcome on standard output. Returns the exit code.
pub async fn play(
    request: &Request,
    runs: &Path,
    telling: Telling,
    backends: &[&dyn Backend],
    interrupt: &Interrupt,
) -> u8 {
    match run_all(request, runs, backends, interrupt).await {
        Ok(outcome) => {
            let code = outcome.report.exit_code();
            match tell(outcome, telling) {
                Ok(()) => code,
                Err(error) => {
                    eprintln!("the run's folder is not redacted, don't publish it: {error}");
                    Verdict::Broken.exit_code()
                }
            }
        }
        Err(error @ RunError::Clusters { .. }) => {
            eprintln!("{error}");
            EXIT_USAGE
        }
        Err(error) => {
            eprintln!("{error}");
            Verdict::Broken.exit_code()
        }
    }
}

fn tell(outcome: Outcome, telling: Telling) -> std::io::Result<()> {
    let Outcome { report, folder } = outcome;
    let mut text = String::new();
    if telling.json {
        text += &format!("{}\n", serde_json::json!({ "folder": folder, "report": report }));
    } else {
        text += &format!("\n{}", table(&report));
        // One scenario covers what it says.
        if report.scenarios.len() > 1 {
            text += &format!("\n{}", matrix::table(&report));
        }
        text += &format!("\n{}  {}\n", report.verdict, folder.display());
    }
    if telling.redact {
        let mut redactor = Redactor::of_this_machine();
        redactor.folder(&folder)?;
        text = text.lines().map(|line| redactor.line(line) + "\n").collect();
    }
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_a_seed_of_its_own_that_gives_it_again() {
        let text = "name = \"x\"\nabout = \"y\"\n[[step]]\nwatch = \"5s\"\n";
        let scenario = read("x.toml", text, &TopologyConfig::default()).expect("a good file").scenario;
        let all = plans(std::slice::from_ref(&scenario), Some(7), 3);
        assert_eq!(all.iter().map(|plan| plan.seed).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(all[2..], plans(&[scenario], Some(9), 1));
    }
}

//! `stormbed check`

use std::path::PathBuf;

use serde::Serialize;

use super::EXIT_USAGE;
use super::show::{print_json, print_lines};
use crate::document::diagnose::Mistake;
use crate::runner::command::{Refused, checked};
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
    /// Print JSON: [{"file", "plan", "mistakes": [{"line", "column", "message", "help"}], "warnings": likewise}].
    #[arg(long)]
    json: bool,
}

/// What is told of a file.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    /// None if it has mistakes.
    plan: Option<Plan>,
    mistakes: Vec<Note>,
    warnings: Vec<Note>,
}

/// A mistake or warning.
#[derive(Debug, Serialize)]
struct Note {
    /// Where; none if it is about the file as a whole.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
}

impl Note {
    fn of(mistake: Mistake) -> Self {
        let Mistake { line, column, message, help, .. } = mistake;
        Self { line: Some(line), column: Some(column), message, help }
    }

    fn of_file(message: String) -> Self {
        Self { line: None, column: None, message, help: None }
    }
}

/// A file, and what came of reading it.
type Read = (String, Result<(Plan, Vec<Mistake>), Refused>);

impl Check {
    pub(super) fn run(self) -> Result<u8, TopologyError> {
        let config = self.config.as_deref().map(TopologyConfig::load).transpose()?.unwrap_or_default();
        let drawn = |Checked { scenario, warnings }| (Plan::draw(&scenario, self.seed), warnings);
        let read = |file: &PathBuf| (file.display().to_string(), checked(file, &config).map(drawn));
        let all: Vec<Read> = self.files.iter().map(read).collect();
        let refused = all.iter().any(|(_, read)| read.is_err());
        if self.json {
            print_json(&told(all));
        } else {
            tell(&all);
        }
        Ok(if refused { EXIT_USAGE } else { 0 })
    }
}

/// Plans on standard output, everything else on standard error.
fn tell(all: &[Read]) {
    for (_, read) in all {
        match read {
            Ok((_, warnings)) => {
                warnings.iter().for_each(|warning| eprintln!("{:?}", miette::Report::new(warning.clone())));
            }
            Err(refused) => eprintln!("{}", refused.to_string().trim_end()),
        }
    }
    for (name, read) in all {
        if let Ok((plan, _)) = read {
            print_lines(format!("{name}: {}", show(plan)).trim_end());
        }
    }
    if let Some((_, differ)) = different_clusters(all) {
        eprintln!("warning: {differ}");
    }
}

fn told(all: Vec<Read>) -> Vec<Told> {
    let differ = different_clusters(&all);
    let one = |(file, read): Read| match read {
        Ok((plan, warnings)) => {
            let warnings = warnings.into_iter().map(Note::of).collect();
            Told { file, plan: Some(plan), mistakes: Vec::new(), warnings }
        }
        Err(Refused::Mistakes(all)) => {
            let mistakes = all.mistakes.into_iter().map(Note::of).collect();
            Told { file, plan: None, mistakes, warnings: Vec::new() }
        }
        Err(Refused::File(why)) => Told { file, plan: None, mistakes: vec![Note::of_file(why)], warnings: Vec::new() },
    };
    let mut told: Vec<Told> = all.into_iter().map(one).collect();
    if let Some((index, differ)) = differ {
        told[index].warnings.push(Note::of_file(differ));
    }
    told
}

/// Scenarios of one run share their topology: the first file that can't share it with the one before, and why.
fn different_clusters(all: &[Read]) -> Option<(usize, String)> {
    let plans = || {
        let good = all.iter().enumerate().filter_map(|(index, (name, read))| Some((index, name, read.as_ref().ok()?)));
        good.map(|(index, name, (plan, _))| (index, name, &plan.cluster))
    };
    let (_, first, cluster) = plans().next()?;
    let (index, other, others) = plans().find(|(_, _, others)| !others.fits(cluster))?;
    let why = format!(
        "{first} and {other} ask for different clusters ({cluster} and {others}); `stormbed run` plays them in two runs only"
    );
    Some((index, why))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(folder: &tempfile::TempDir, name: &str, text: &str) -> Read {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let read = checked(&path, &TopologyConfig::default());
        (name.to_owned(), read.map(|checked| (Plan::draw(&checked.scenario, 1), checked.warnings)))
    }

    #[test]
    fn mistakes_warnings_and_plans_are_told_with_their_places() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let small = "name = \"small\"\n[cluster]\nnodes = 3\n[[step]]\nwatch = \"5s\"\n";
        let odd = "name = \"odd\"\n[cluster]\nnodes = 5\n[[step]]\nfault = \"kill\"\ntarget = { mesos-master = \"leader\" }\nrecovered = { mesos = \"4s\" }\n";
        let bad = "name = \"bad\"\n[[step]]\nfault = \"puase\"\ntarget = { node = 9 }\n";
        let missing = ("none.toml".to_owned(), Err(Refused::File("none.toml: it isn't there".into())));
        let all = vec![
            read(&folder, "small.toml", small),
            read(&folder, "odd.toml", odd),
            read(&folder, "bad.toml", bad),
            missing,
        ];
        let told = serde_json::to_value(told(all)).expect("plain data");
        let files: Vec<&str> = told.as_array().expect("a list").iter().filter_map(|one| one["file"].as_str()).collect();
        assert_eq!(files, ["small.toml", "odd.toml", "bad.toml", "none.toml"]);
        assert_eq!(told[0]["plan"]["scenario"], "small");
        assert_eq!((&told[0]["mistakes"], &told[0]["warnings"]), (&Value::Array(vec![]), &Value::Array(vec![])));
        let [bound, differ] = told[1]["warnings"].as_array().expect("a list").as_slice() else {
            panic!("expected two warnings: {}", told[1]["warnings"]);
        };
        assert_eq!((&bound["line"], &bound["column"]), (&Value::from(7), &Value::from(23)));
        assert!(
            differ["line"].is_null() && differ["message"].as_str().is_some_and(|m| m.contains("different clusters"))
        );
        assert!(told[2]["plan"].is_null());
        let mistake = &told[2]["mistakes"][0];
        assert_eq!((&mistake["line"], &mistake["column"]), (&Value::from(3), &Value::from(9)));
        assert!(mistake["message"].as_str().is_some_and(|m| m.contains("'puase'")), "{mistake}");
        assert!(mistake["help"].as_str().is_some_and(|help| help.contains("did you mean 'pause'")), "{mistake}");
        assert_eq!(told[3]["mistakes"][0]["message"], "none.toml: it isn't there");
    }
}

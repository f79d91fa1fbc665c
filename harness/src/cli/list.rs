//! `stormbed list`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::show::{print_json, print_lines};
use crate::fault::words::{CLASSES, FAULTS};
use crate::invariant::Name;
use crate::scenario::event::Event;
use crate::scenario::read::read;
use crate::topology::TopologyConfig;
use crate::topology::TopologyError;

/// List what there is: scenarios, faults and what they can be done to, invariants, events.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only these; everything when absent.
    #[arg(value_enum)]
    what: Option<What>,
    /// Where scenarios are looked for, in folders below too.
    #[arg(long, value_name = "DIRECTORY", default_value = "scenarios")]
    scenarios: PathBuf,
    /// Print JSON: {"scenarios", "faults", "targets", "invariants", "events"}, each with {"name", "about", …}.
    #[arg(long)]
    json: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Scenario files.
    Scenarios,
    /// Kinds of faults.
    Faults,
    /// Kinds of parts, and their roles.
    Targets,
    /// What must hold.
    Invariants,
    /// What a step can expect.
    Events,
}

const ALL: [What; 5] = [What::Scenarios, What::Faults, What::Targets, What::Invariants, What::Events];

/// One thing, in a line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    about: String,
    /// What a fault can be done to; a target's roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    with: Vec<String>,
}

impl List {
    pub(super) fn run(self) -> Result<u8, TopologyError> {
        let wanted = |what: &What| self.what.is_none_or(|only| only == *what);
        let lists = ALL.iter().filter(|what| wanted(what)).map(|what| (*what, self.rows(*what)));
        if self.json {
            let all: std::collections::BTreeMap<String, Vec<Row>> =
                lists.map(|(what, rows)| (heading(what).to_lowercase(), rows)).collect();
            print_json(&all);
        } else {
            let texts: Vec<String> = lists.map(|(what, rows)| text(heading(what), &rows)).collect();
            print_lines(texts.join("\n").trim_end());
        }
        Ok(0)
    }

    fn rows(&self, what: What) -> Vec<Row> {
        match what {
            What::Scenarios => scenarios(&self.scenarios),
            What::Faults => faults(),
            What::Targets => targets(),
            What::Invariants => Name::ALL.iter().map(|name| row(name.as_str(), name.about())).collect(),
            What::Events => Event::ALL.iter().map(|event| row(event.as_str(), event.about())).collect(),
        }
    }
}

fn heading(what: What) -> &'static str {
    match what {
        What::Scenarios => "SCENARIOS",
        What::Faults => "FAULTS",
        What::Targets => "TARGETS",
        What::Invariants => "INVARIANTS",
        What::Events => "EVENTS",
    }
}

fn row(name: &str, about: &str) -> Row {
    Row { name: name.to_owned(), about: about.to_owned(), with: Vec::new() }
}

fn faults() -> Vec<Row> {
    let on = |classes: &[crate::fault::TargetClass]| classes.iter().map(ToString::to_string).collect();
    FAULTS.iter().map(|fault| Row { with: on(fault.on), ..row(fault.word, fault.about) }).collect()
}

fn targets() -> Vec<Row> {
    let roles = |class: &crate::fault::words::ClassRow| class.roles.iter().map(|role| role.word.to_owned()).collect();
    CLASSES.iter().map(|class| Row { with: roles(class), ..row(class.word, class.about) }).collect()
}

/// Every scenario file below a folder, by path.
fn scenarios(folder: &Path) -> Vec<Row> {
    let mut files = Vec::new();
    find(folder, &mut files);
    files.sort();
    let scenario = |path: &PathBuf| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).ok()?;
        let about = match read(&name, &text, &TopologyConfig::default()) {
            Ok(checked) => checked.scenario.about,
            Err(_) => format!("has mistakes; `stormbed check {name}` shows them"),
        };
        Some(row(&name, &about))
    };
    files.iter().filter_map(scenario).collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => find(&path, files),
            _ if path.extension().is_some_and(|extension| extension == "toml") => files.push(path),
            _ => {}
        }
    }
}

fn text(heading: &str, rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{heading}\n");
    for row in rows {
        text += &format!("  {:<width$}  {}\n", row.name, row.about);
        if !row.with.is_empty() {
            text += &format!("  {:<width$}  · {}\n", "", row.with.join(" "));
        }
    }
    if rows.is_empty() {
        text += "  none here\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_reads() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let deep = folder.path().join("deep");
        std::fs::create_dir(&deep).expect("it can be made");
        std::fs::write(deep.join("a.toml"), "name = \"a\"\nabout = \"Watches.\"\n[[step]]\nwatch = \"5s\"\n")
            .expect("written");
        std::fs::write(folder.path().join("b.toml"), "nonsense").expect("written");
        let found = scenarios(folder.path());
        assert_eq!(found.len(), 2);
        assert!(found[0].about.contains("has mistakes") && found[1].about == "Watches.", "{found:?}");
        let kill = Row { with: vec!["node".into(), "host".into()], ..row("kill", "Ends it.") };
        insta::assert_snapshot!(text("FAULTS", &[kill, row("watch", "Looks on.")]));
        assert!(text("SCENARIOS", &[]).contains("none here"));
    }
}

//! `stormbed why`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::EXIT_USAGE;
use super::show::print_json;
use crate::report::Report;
use crate::report::excerpt::{Line, between, nearest};
use crate::report::why::{Link, Why, why};
use crate::runner::folder::{TIMELINE, logs as logs_of};
use crate::runner::recorded::{Recorded, RecordedError};
use crate::topology::TopologyError;

/// What was written so long before the breach, …
const BEFORE_MS: u64 = 5_000;
/// … and so long after it.
const AFTER_MS: u64 = 1_000;
/// Lines that fit a screen.
const LINES: usize = 40;

/// Tell why a run isn't a PASS: the first breach, the fault behind it, the log lines around it, and how to see it again.
#[derive(Debug, clap::Args)]
pub struct Tell {
    /// The run: its id, its folder, or `latest`.
    #[arg(default_value = "latest")]
    run: String,
    /// Where runs leave their folders.
    #[arg(long, value_name = "DIRECTORY", default_value = "runs")]
    runs: PathBuf,
    /// Log lines at most.
    #[arg(long, value_name = "N", default_value_t = LINES)]
    lines: usize,
    /// Print JSON: {"run", "verdict", "scenario", "finding", "at_ms", "fault", "link", "machines", "lines", "again"}.
    #[arg(long)]
    json: bool,
}

/// What is told, as JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    run: &'a str,
    verdict: crate::report::Verdict,
    scenario: Option<&'a str>,
    finding: Option<&'a str>,
    at_ms: Option<u64>,
    fault: Option<&'a crate::report::FaultReport>,
    link: Option<&'static str>,
    machines: &'a [String],
    lines: Vec<String>,
    again: String,
}

impl Tell {
    pub(super) fn run(self) -> Result<u8, TopologyError> {
        match self.tell() {
            Ok(()) => Ok(0),
            Err(error) => {
                eprintln!("stormbed: {error}");
                Ok(EXIT_USAGE)
            }
        }
    }

    fn tell(&self) -> Result<(), RecordedError> {
        let whole = Recorded::find(&self.runs, &self.run)?;
        let verdict = whole.report()?.verdict;
        // Of several topologies the one on which it happened: its folder has the logs.
        let lanes = whole.lanes();
        let there = lanes.into_iter().find(|lane| lane.report().is_ok_and(|report| report.verdict == verdict));
        let recorded = there.unwrap_or(whole);
        let report = recorded.report()?;
        let found = why(&report);
        let lines =
            found.as_ref().map(|found| lines(recorded.folder(), &report, found, self.lines)).unwrap_or_default();
        if self.json {
            print_json(&told(&report, found.as_ref(), &lines, recorded.folder()));
        } else {
            print!("{}", screen(&report, found.as_ref(), &lines, recorded.folder()));
        }
        Ok(())
    }
}

fn told<'a>(report: &'a Report, found: Option<&'a Why<'a>>, lines: &[Line], folder: &Path) -> Told<'a> {
    let culprit = found.and_then(|found| found.culprit);
    Told {
        run: &report.run,
        verdict: report.verdict,
        scenario: found.map(|found| found.scenario.name.as_str()),
        finding: found.map(|found| found.finding.why.as_str()),
        at_ms: found.and_then(|found| Some(found.at?.0)),
        fault: culprit.map(|culprit| culprit.fault),
        link: culprit.map(|culprit| link(culprit.link)),
        machines: found.map(|found| found.machines.as_slice()).unwrap_or_default(),
        lines: lines.iter().map(|line| format!("{}: {}{}", line.log, line.text, alike(line))).collect(),
        again: again(found, folder),
    }
}

fn link(link: Link) -> &'static str {
    match link {
        Link::Named => "the finding names it",
        Link::InForce => "it was in force",
        Link::Before => "it was the last before",
    }
}

fn again(found: Option<&Why<'_>>, folder: &Path) -> String {
    let only = found.map_or(String::new(), |found| format!(" --only {}", found.scenario.name));
    format!("stormbed replay {}{only}", folder.display())
}

/// What people read.
fn screen(report: &Report, found: Option<&Why<'_>>, lines: &[Line], folder: &Path) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "{line}").expect("writing to a string never fails");
    let Some(found) = found else {
        put(format!("run {}: {}: nothing speaks against it", report.run, report.verdict));
        return text;
    };
    put(format!("run {}: {} in {} (seed {})", report.run, report.verdict, found.scenario.name, found.scenario.seed));
    let at = found.finding.at.map_or(String::new(), |at| format!(" at {at} of the run"));
    put(format!("\nfirst{at}\n  {}", found.finding.why));
    match found.culprit {
        Some(culprit) => {
            let fault = culprit.fault;
            let names: Vec<&str> = fault.victims.iter().map(|victim| victim.name.as_str()).collect();
            let moments = [("began", fault.began), ("undone", fault.undo_began)];
            let moments = moments.iter().filter_map(|(what, at)| Some(format!(", {what} at {}", (*at)?)));
            put(format!(
                "\nfault {} ({})\n  {} {} on {}{}",
                fault.id,
                link(culprit.link),
                fault.kind,
                fault.target,
                if names.is_empty() { "nobody".to_owned() } else { names.join(" + ") },
                moments.collect::<String>()
            ));
        }
        None => put("\nno fault had begun".to_owned()),
    }
    if lines.is_empty() {
        put(format!("\nno log line around it in {}", folder.join("logs").display()));
    } else {
        put("\naround it".to_owned());
        let width = lines.iter().map(|line| line.log.chars().count()).max().unwrap_or(0);
        lines.iter().for_each(|line| put(format!("  {:<width$}  {}{}", line.log, short(&line.text), alike(line))));
    }
    put(format!("\nagain\n  {}", again(Some(found), folder)));
    text
}

/// How many say the same.
fn alike(line: &Line) -> String {
    if line.alike == 0 { String::new() } else { format!(" ({} more like it)", line.alike) }
}

/// What fits two lines of a wide screen.
fn short(text: &str) -> String {
    const CHARACTERS: usize = 200;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Lines of the run's timeline and of the machines' logs around the breach.
fn lines(folder: &Path, report: &Report, found: &Why<'_>, most: usize) -> Vec<Line> {
    let Some(at) = found.at else {
        return Vec::new();
    };
    let moment = report.started_unix_ms + at.0;
    let (from, to) = (moment.saturating_sub(BEFORE_MS), moment + AFTER_MS);
    let mut all = timeline(folder, report.started_unix_ms, from, to);
    let wanted = |machine: &str| found.machines.iter().any(|name| machine.starts_with(name.as_str()));
    // Of a run with several topologies, time tells which of them it was.
    let places = (1..).map(|topology| folder.join(logs_of(topology))).take_while(|place| place.is_dir());
    for (machine, path) in places.flat_map(|place| logs(&place)) {
        if wanted(&machine)
            && let Ok(text) = std::fs::read(&path)
        {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            all.extend(between(&format!("{machine}/{name}"), &String::from_utf8_lossy(&text), from, to));
        }
    }
    nearest(all, moment, most)
}

/// The runner's own notes: `timeline.jsonl`.
fn timeline(folder: &Path, started_unix_ms: u64, from: u64, to: u64) -> Vec<Line> {
    #[derive(serde::Deserialize)]
    struct Moment {
        at: u64,
        what: String,
        fault: Option<String>,
        #[serde(default)]
        text: String,
    }
    let text = std::fs::read_to_string(folder.join(TIMELINE)).unwrap_or_default();
    let moments = text.lines().filter_map(|line| serde_json::from_str::<Moment>(line).ok());
    let line = |moment: Moment| Line {
        at_unix_ms: started_unix_ms + moment.at,
        log: "timeline".to_owned(),
        text: [Some(moment.what), moment.fault, Some(moment.text)].into_iter().flatten().collect::<Vec<_>>().join(" "),
        alike: 0,
    };
    moments.map(line).filter(|line| (from..=to).contains(&line.at_unix_ms)).collect()
}

/// Every log of every machine.
fn logs(place: &Path) -> Vec<(String, PathBuf)> {
    let folders = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut all = Vec::new();
    for folder in folders {
        let machine = folder.file_name().to_string_lossy().into_owned();
        let files = std::fs::read_dir(folder.path()).into_iter().flatten().flatten();
        all.extend(files.map(|file| (machine.clone(), file.path())));
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;

    use super::*;
    use crate::fault::fixture;
    use crate::report::{Finding, Verdict, sample};

    #[test]
    fn what_the_user_reads() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut report = sample::report();
        // 2026-11-20T12:00:00Z
        report.started_unix_ms = 1_795_176_000_000;
        report.scenarios.truncate(1);
        let scenario = &mut report.scenarios[0];
        scenario.faults[0].victims = vec![fixture::node(3, 1, "host-2", "c")];
        let why = "jupyter: slot 3 still serves".to_owned();
        scenario.add(Finding { verdict: Verdict::Fail, at: Some(Millis(23_000)), why });
        report.verdict = Report::verdict_of(&report.scenarios);
        let logs = folder.path().join("logs/host-2");
        std::fs::create_dir_all(&logs).expect("it can be made");
        let log = "2026-11-20T12:00:21.5Z  INFO agent: task lost\n2026-11-20T12:01:00Z later\n";
        std::fs::write(logs.join("agent.log"), log).expect("it can be written");
        let moment = r#"{"at":20000,"scenario":"leader-loss","what":"fault","fault":"s1","text":"storm-s3: begins"}"#;
        std::fs::write(folder.path().join(TIMELINE), moment).expect("it can be written");
        let found = crate::report::why::why(&report).expect("a FAIL");
        let lines = lines(folder.path(), &report, &found, LINES);
        insta::assert_snapshot!(screen(&report, Some(&found), &lines, Path::new("runs/x")));
    }
}

//! The table at the end of a run: scenario, verdict, faults, recovery times; and under it, why something isn't a PASS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Outcome, Report, ScenarioReport, Verdict};
use crate::fault::life::Stage;
use crate::invariant::{Name, Tier};
use crate::scenario::RecoveryClock;

/// At most this many reasons per scenario; the report has them all.
const REASONS_MAX: usize = 3;
const HEAD: [&str; 5] = ["scenario", "verdict", "faults", "time", "recovered after (median, worst)"];

/// The table, with a line end after every line.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(report.scenarios.iter().map(|scenario| row(scenario).to_vec()));
    let mut text = columns(&rows);
    for scenario in report.scenarios.iter().filter(|s| s.verdict != Verdict::Pass) {
        put(&mut text, "");
        put(&mut text, &format!("{}: {}", scenario.name, scenario.verdict));
        for finding in scenario.why.iter().take(REASONS_MAX) {
            let at = finding.at.map_or(String::new(), |at| format!(" at {at}"));
            put(&mut text, &format!("  {}{at}: {}", finding.verdict, finding.why));
        }
        if scenario.why.len() > REASONS_MAX {
            put(&mut text, &format!("  and {} more in report.json", scenario.why.len() - REASONS_MAX));
        }
    }
    text
}

/// Rows of cells under each other, the first of them as the head.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        put(&mut text, line.trim_end());
        if number == 0 {
            let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>();
            put(&mut text, &rule.join("  "));
        }
    }
    text
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string never fails");
}

fn row(scenario: &ScenarioReport) -> [String; 5] {
    [
        scenario.name.clone(),
        scenario.verdict.to_string(),
        faults(scenario),
        format!("{} s", scenario.took_ms / 1_000),
        recoveries(scenario),
    ]
}

/// `3`, or `12 of 15` when some had no effect.
fn faults(scenario: &ScenarioReport) -> String {
    let seen = scenario.faults.iter().filter(|fault| fault.effect_seen).count();
    let planned = scenario.faults.len();
    let skipped = scenario.faults.iter().filter(|fault| fault.stage == Stage::Skipped).count();
    match (seen == planned, skipped) {
        (true, _) => planned.to_string(),
        (false, 0) => format!("{seen} of {planned}"),
        (false, skipped) => format!("{seen} of {planned}, {skipped} skipped"),
    }
}

/// On the failover clock, in the evidence of every tick where an invariant has it: `hosts 1.6 s · all 10.1 s`.
fn recoveries(scenario: &ScenarioReport) -> String {
    let mut times: BTreeMap<Name, Vec<f64>> = BTreeMap::new();
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    let back =
        scenario.recoveries.iter().filter(|r| r.clock == RecoveryClock::Failover && r.outcome == Outcome::Recovered);
    for recovery in back {
        let Some(seconds) = recovery.seconds else {
            continue;
        };
        let all = last.entry(&recovery.fault).or_insert(0.0);
        *all = all.max(seconds);
        if recovery.tier == Tier::Fast {
            times.entry(recovery.invariant).or_default().push(seconds);
        }
    }
    // A fault of which something never came back, or was cut short, has no time for all.
    let open: BTreeSet<&str> = scenario
        .recoveries
        .iter()
        .filter(|r| r.clock == RecoveryClock::Failover)
        .filter(|r| matches!(r.outcome, Outcome::CutShort | Outcome::NotRecovered))
        .map(|r| r.fault.as_str())
        .collect();
    let all = last.into_iter().filter(|(fault, _)| !open.contains(fault)).map(|(_, seconds)| seconds).collect();
    let mut cells: Vec<String> = times.into_iter().map(|(name, times)| spread(name.as_str(), times)).collect();
    cells.push(spread("all", all));
    cells.retain(|cell| !cell.is_empty());
    cells.join(" · ")
}

fn spread(name: &str, mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    match seconds.as_slice() {
        [] => String::new(),
        [only] => format!("{name} {only:.1} s"),
        [.., worst] => {
            let median = if seconds.len().is_multiple_of(2) {
                f64::midpoint(seconds[middle - 1], seconds[middle])
            } else {
                seconds[middle]
            };
            format!("{name} {median:.1} ({worst:.1}) s")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn what_the_user_reads() {
        insta::assert_snapshot!(table(&sample::report()));
    }
}

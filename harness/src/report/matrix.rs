//! Which faults were made on which kinds of parts, and what came of them: a table for people, and `coverage.json`. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{FaultReport, Report, Verdict};
use crate::fault::TargetClass;
use crate::fault::life::Stage;
use crate::fault::words::{CLASSES, FAULTS};

/// Name of the file in a run's folder.
pub const FILE: &str = "coverage.json";

/// One fault on one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The fault, with all that it is told (`isolate from zookeeper`).
    pub fault: String,
    /// The kind of part.
    pub target: TargetClass,
    /// The role that was aimed at.
    pub role: String,
    /// How many were planned.
    pub planned: u32,
    /// Of those: had an effect that was seen from outside.
    pub effective: u32,
    /// Of those: injected, and no effect was seen.
    pub without_effect: u32,
    /// Of those: found no eligible target.
    pub skipped: u32,
    /// Of those: the scenario ended before.
    pub not_reached: u32,
    /// Verdicts of the scenarios that planned them, each scenario once.
    pub verdicts: BTreeMap<String, u32>,
}

/// Every fault on every target, in order of their words.
#[must_use]
pub fn cells(report: &Report) -> Vec<Cell> {
    let mut all: BTreeMap<(String, TargetClass, String), Cell> = BTreeMap::new();
    for scenario in &report.scenarios {
        let mut told = Vec::new();
        for fault in &scenario.faults {
            let (target, role) = (fault.target.class, fault.target.role.word(fault.target.class));
            let key = (fault.kind.to_string(), target, role);
            let cell = all.entry(key.clone()).or_insert_with(|| empty(&key));
            count(cell, fault);
            if !told.contains(&key) {
                *cell.verdicts.entry(scenario.verdict.to_string()).or_default() += 1;
                told.push(key);
            }
        }
    }
    all.into_values().collect()
}

fn empty((fault, target, role): &(String, TargetClass, String)) -> Cell {
    Cell {
        fault: fault.clone(),
        target: *target,
        role: role.clone(),
        planned: 0,
        effective: 0,
        without_effect: 0,
        skipped: 0,
        not_reached: 0,
        verdicts: BTreeMap::new(),
    }
}

fn count(cell: &mut Cell, fault: &FaultReport) {
    cell.planned += 1;
    let what = match fault.stage {
        _ if fault.effect_seen => &mut cell.effective,
        Stage::Skipped => &mut cell.skipped,
        Stage::Planned if fault.began.is_none() => &mut cell.not_reached,
        _ => &mut cell.without_effect,
    };
    *what += 1;
}

/// The table: a row for each kind of fault that there is, a column for each kind of part.
#[must_use]
pub fn table(report: &Report) -> String {
    let cells = cells(report);
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.push(std::iter::once("coverage").chain(CLASSES.iter().map(|row| row.word)).map(str::to_owned).collect());
    for row in FAULTS {
        let on = |class: TargetClass| {
            let here = |cell: &&Cell| cell.target == class && cell.fault.split(' ').next() == Some(row.word);
            let tried: Vec<&Cell> = cells.iter().filter(here).collect();
            if row.on.contains(&class) { mark(&tried) } else { "–".to_owned() }
        };
        let marks = CLASSES.iter().map(|class| on(class.class));
        rows.push(std::iter::once(row.word.to_owned()).chain(marks).collect());
    }
    let mut text = super::table::columns(&rows);
    writeln!(
        text,
        "effects seen, of how many if not all · ! with a FAIL or BROKEN · . not tried here · – can't be done; more in {FILE}"
    )
    .expect("writing to a string never fails");
    text
}

fn mark(tried: &[&Cell]) -> String {
    let (effective, planned) = tried.iter().fold((0, 0), |sum, cell| (sum.0 + cell.effective, sum.1 + cell.planned));
    let bad = [Verdict::Fail, Verdict::Broken].map(|verdict| verdict.to_string());
    let failed = tried.iter().any(|cell| bad.iter().any(|verdict| cell.verdicts.contains_key(verdict)));
    let flag = if failed { "!" } else { "" };
    match (effective, planned) {
        (_, 0) => ".".to_owned(),
        (effective, planned) if effective == planned => format!("{effective}{flag}"),
        (effective, planned) => format!("{effective} of {planned}{flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::fault::{FaultKind, Role, Target};

    #[test]
    fn every_fault_is_counted_once_by_what_came_of_it() {
        let report = sample::report();
        let cells = cells(&report);
        let planned: u32 = cells.iter().map(|cell| cell.planned).sum();
        let faults: usize = report.scenarios.iter().map(|scenario| scenario.faults.len()).sum();
        assert_eq!(planned as usize, faults);
        for cell in &cells {
            assert_eq!(cell.planned, cell.effective + cell.without_effect + cell.skipped + cell.not_reached);
        }
        let kill = &cells[0];
        assert_eq!((kill.fault.as_str(), kill.role.as_str(), kill.skipped), ("kill", "leader", 1));
        assert_eq!(kill.verdicts.values().sum::<u32>(), 3, "each scenario once");
    }

    #[test]
    fn what_the_user_reads() {
        let mut report = sample::report();
        let fault = &mut report.scenarios[0].faults[0];
        fault.kind = FaultKind::Pause;
        fault.target = Target::new(TargetClass::ZooKeeper, Role::Leader);
        let text = table(&report);
        let cell = |fault: &str, class: &str| {
            let column = 1 + CLASSES.iter().position(|row| row.word == class).expect("a kind of part");
            let line = text.lines().find(|line| line.split(' ').next() == Some(fault)).expect("a row");
            let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.nth(column).expect("a cell").to_owned()
        };
        assert_eq!(cell("kill", "node"), "3 of 4!");
        assert_eq!(cell("pause", "zookeeper"), "1");
        assert_eq!(cell("isolate", "host"), ".");
        assert_eq!(cell("partition", "zookeeper"), "–");
    }
}

//! Why a run isn't a PASS: the first breach, the fault that was in force, and the parts whose logs tell more. Pure.

use stormbed::clock::Millis;

use super::{FaultReport, Finding, Report, ScenarioReport, Verdict};
use crate::fault::Victim;
use crate::invariant::Name;

/// What went wrong first.
#[derive(Debug, Clone, PartialEq)]
pub struct Why<'a> {
    /// The scenario.
    pub scenario: &'a ScenarioReport,
    /// What speaks against it.
    pub finding: &'a Finding,
    /// When, on the run's clock; none if it has no moment.
    pub at: Option<Millis>,
    /// The fault that the finding names, or that was in force, or that came last before.
    pub culprit: Option<Culprit<'a>>,
    /// Machines whose logs tell more (names, or the beginning of names).
    pub machines: Vec<String>,
}

/// A fault that explains a finding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Culprit<'a> {
    /// The fault.
    pub fault: &'a FaultReport,
    /// How it is connected.
    pub link: Link,
}

/// How a fault is connected with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The finding names it.
    Named,
    /// It was in force.
    InForce,
    /// It was over, and no other came after it.
    Before,
}

/// The first reason for the run's verdict; none after a PASS.
#[must_use]
pub fn why(report: &Report) -> Option<Why<'_>> {
    let scenario = report.scenarios.iter().find(|s| s.verdict == report.verdict && s.verdict != Verdict::Pass)?;
    let reasons = || scenario.why.iter().filter(|finding| finding.verdict == scenario.verdict);
    let timed = reasons().filter(|finding| finding.at.is_some()).min_by_key(|finding| finding.at);
    let finding = timed.or_else(|| reasons().next())?;
    let culprit = culprit(scenario, finding);
    let at = finding.at.or_else(|| culprit?.fault.began);
    let mut machines: Vec<String> = culprit.into_iter().flat_map(|culprit| victims(culprit.fault)).collect();
    machines.extend(invariants(scenario, finding).flat_map(machines_of).map(|name| (*name).to_owned()));
    machines.sort();
    machines.dedup();
    Some(Why { scenario, finding, at, culprit, machines })
}

fn culprit<'a>(scenario: &'a ScenarioReport, finding: &Finding) -> Option<Culprit<'a>> {
    let named = scenario.faults.iter().find(|fault| names(&finding.why, &fault.id));
    if let Some(fault) = named {
        return Some(Culprit { fault, link: Link::Named });
    }
    let at = finding.at?;
    let begun = || scenario.faults.iter().filter(|fault| fault.began.is_some_and(|began| began <= at));
    let in_force = |fault: &&FaultReport| fault.undo_began.is_some_and(|undo| undo > at);
    let latest = |a: &&FaultReport| a.began;
    let held = begun().filter(in_force).max_by_key(latest).map(|fault| Culprit { fault, link: Link::InForce });
    held.or_else(|| begun().max_by_key(latest).map(|fault| Culprit { fault, link: Link::Before }))
}

/// The text speaks of `fault <id>`.
fn names(text: &str, id: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',' || c == ':');
    while let Some(word) = words.next() {
        if word == "fault" && words.clone().next() == Some(id) {
            return true;
        }
    }
    false
}

/// The machines of a fault's victims.
fn victims(fault: &FaultReport) -> Vec<String> {
    let machine = |victim: &Victim| victim.on_host().unwrap_or(&victim.name).to_owned();
    fault.victims.iter().map(machine).collect()
}

/// Invariants that the finding names, or that were broken at its moment.
fn invariants<'a>(scenario: &'a ScenarioReport, finding: &'a Finding) -> impl Iterator<Item = Name> + 'a {
    let word = |name: &Name| finding.why.split(|c: char| !c.is_alphanumeric()).any(|word| word == name.as_str());
    let broken = move |name: &Name| {
        let at = finding.at;
        let during = |from: Millis, to: Option<Millis>| at.is_some_and(|at| from <= at && to.is_none_or(|to| at <= to));
        scenario.broken.iter().any(|broken| broken.invariant == *name && during(broken.from, broken.to))
    };
    Name::ALL.into_iter().filter(move |name| word(name) || broken(name))
}

/// Where an invariant's parts run: names of machines, or their beginnings.
fn machines_of(name: Name) -> &'static [&'static str] {
    match name {
        Name::Hosts | Name::Ssh | Name::Etcd | Name::Storage => &["host-"],
        Name::Jupyter | Name::Network | Name::Own(_) => &["host-", "edge"],
        Name::Mesos => &["master-", "framework-", "host-"],
        Name::ZooKeeper => &["zk-"],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BrokenInterval, sample};
    use super::*;
    use crate::fault::{TargetClass, fixture};
    use crate::invariant::Tier;

    fn finding(verdict: Verdict, at: Option<u64>, why: &str) -> Finding {
        Finding { verdict, at: at.map(Millis), why: why.into() }
    }

    /// A scenario with two faults (20–30 s and 40–50 s) that came to these findings.
    fn report(findings: &[Finding]) -> Report {
        let mut report = sample::report();
        report.scenarios.truncate(1);
        let scenario = &mut report.scenarios[0];
        let fault = |id: &str, began: u64, victim: Victim| {
            let mut fault = scenario.faults[0].clone();
            fault.id = id.into();
            (fault.began, fault.undo_began) = (Some(Millis(began)), Some(Millis(began + 10_000)));
            fault.victims = vec![victim];
            fault
        };
        let first = fault("s1", 20_000, fixture::node(3, 1, "host-2", "c"));
        let second = fault("s2", 40_000, fixture::part(TargetClass::ZooKeeper, "zk-1", "z"));
        scenario.faults = vec![first, second];
        for finding in findings {
            scenario.add(finding.clone());
        }
        report.verdict = Report::verdict_of(&report.scenarios);
        report
    }

    fn told(findings: &[Finding]) -> (String, Option<(String, Link)>, Vec<String>) {
        let report = report(findings);
        let why = why(&report).expect("it isn't a PASS");
        let culprit = why.culprit.map(|culprit| (culprit.fault.id.clone(), culprit.link));
        (why.finding.why.clone(), culprit, why.machines)
    }

    #[test]
    fn the_first_breach_of_the_worst_kind_is_told() {
        let (first, _, _) = told(&[
            finding(Verdict::Invalid, Some(1), "early, and not the verdict"),
            finding(Verdict::Fail, Some(45_000), "later"),
            finding(Verdict::Fail, Some(25_000), "first"),
            finding(Verdict::Fail, None, "without a moment"),
        ]);
        assert_eq!(first, "first");
        assert_eq!(why(&report(&[])), None, "a PASS has no reason");
    }

    #[test]
    fn the_culprit_is_named_or_in_force_or_the_last_before() {
        let fail = |at, text: &str| told(&[finding(Verdict::Fail, Some(at), text)]);
        assert_eq!(fail(45_000, "x").1, Some(("s2".into(), Link::InForce)));
        assert_eq!(fail(35_000, "x").1, Some(("s1".into(), Link::Before)));
        assert_eq!(fail(45_000, "must hold 5s after fault s1 (failover)").1, Some(("s1".into(), Link::Named)));
        assert_eq!(fail(10, "before anything").1, None);
        assert_eq!(fail(45_000, "fault s17 had no effect").1, Some(("s2".into(), Link::InForce)), "s1 isn't s17");
    }

    #[test]
    fn the_machines_are_those_of_the_victims_and_of_what_was_broken() {
        assert_eq!(
            told(&[finding(Verdict::Fail, Some(25_000), "mesos: two leaders")]).2,
            ["framework-", "host-", "host-2", "master-"]
        );
        let mut broken = report(&[finding(Verdict::Fail, Some(45_000), "something")]);
        broken.scenarios[0].broken.push(BrokenInterval {
            invariant: Name::Jupyter,
            tier: Tier::Fast,
            from: Millis(44_000),
            to: None,
            excused_by: None,
            why: String::new(),
        });
        assert_eq!(why(&broken).expect("a FAIL").machines, ["edge", "host-", "zk-1"]);
    }
}

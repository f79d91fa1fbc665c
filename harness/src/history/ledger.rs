//! The ledger's account: what was acknowledged, and what was found at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;

use crate::report::missing::{Missing, Trace};
use crate::report::{Finding, OpsOk, Verdict};

/// What came of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpOutcome {
    /// It surely happened: it must be there at the end.
    Acknowledged,
    /// It surely did not happen (refused before it was sent).
    Refused,
    /// It may have happened: it may be there at the end.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Unique name: the etcd key or the file's name.
    pub item: String,
    /// The machine through which it went; none through the proxy, or if there was none.
    pub through: Option<String>,
    /// It began after this moment.
    pub begin: Millis,
    /// Its outcome was known before this one.
    pub end: Millis,
    /// What came of it.
    pub outcome: OpOutcome,
}

/// Operations of one kind, and what was found at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindOutcome {
    /// In the order in which they began.
    pub ops: Vec<Op>,
    /// Items found at the end with the content that was written; none = the final reading failed.
    pub found: Option<Vec<String>>,
    /// Items found at the end with another content than was written.
    pub altered: Vec<String>,
    /// Of files that are missing: what each host knows of them, by item and host.
    pub traces: BTreeMap<String, BTreeMap<String, Result<Trace, String>>>,
}

impl KindOutcome {
    /// Acknowledged, and not there at the end; nothing if the final reading failed.
    pub fn lost(&self) -> impl Iterator<Item = &Op> {
        let found = self.found.as_ref().map(|found| found.iter().chain(&self.altered).collect::<BTreeSet<_>>());
        let acknowledged = self.ops.iter().filter(|op| op.outcome == OpOutcome::Acknowledged);
        acknowledged.filter(move |op| found.as_ref().is_some_and(|found| !found.contains(&op.item)))
    }
}

/// By kind: `etcd`, `file`, later `notebook`.
pub type LedgerOutcome = BTreeMap<String, KindOutcome>;

/// The kind whose writes are whole or not there at all.
const ATOMIC: &str = "etcd";

/// Acknowledged operations before and after a moment.
#[must_use]
pub fn ops_ok(kind: &KindOutcome, at: Millis) -> OpsOk {
    let acknowledged = || kind.ops.iter().filter(|op| op.outcome == OpOutcome::Acknowledged);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    OpsOk {
        before: count(acknowledged().filter(|op| op.end <= at).count()),
        after: count(acknowledged().filter(|op| op.begin >= at).count()),
    }
}

/// Every acknowledged item is there with its content, items with an unknown outcome may be, nothing else is.
#[must_use]
pub fn audit(ledger: &LedgerOutcome) -> Vec<Finding> {
    let mut findings = vec![];
    if ledger.is_empty() {
        findings
            .push(finding(Verdict::Invalid, "there is no ledger: nothing was written while things broke".to_owned()));
    }
    for (kind, outcome) in ledger {
        if !outcome.ops.iter().any(|op| op.outcome == OpOutcome::Acknowledged) {
            findings.push(finding(Verdict::Invalid, format!("ledger, {kind}: not one operation was acknowledged")));
        }
        let Some(found) = &outcome.found else {
            findings.push(finding(Verdict::Invalid, format!("ledger, {kind}: the items could not be read at the end")));
            continue;
        };
        let found: BTreeSet<&String> = found.iter().chain(&outcome.altered).collect();
        let lost: Vec<String> = missing(kind, outcome).map(|missing| missing.to_string()).collect();
        let may_be: BTreeSet<&String> =
            outcome.ops.iter().filter(|op| op.outcome != OpOutcome::Refused).map(|op| &op.item).collect();
        let invented: Vec<String> = found.difference(&may_be).map(|item| (*item).clone()).collect();
        // A file whose writer died may be there in part; a put is there or it isn't.
        let in_part = |item: &&String| {
            kind != ATOMIC && outcome.ops.iter().any(|op| op.item == **item && op.outcome == OpOutcome::Unknown)
        };
        let altered: Vec<String> = outcome.altered.iter().filter(|item| !in_part(item)).cloned().collect();
        for (items, what) in [
            (lost, "acknowledged and not there at the end"),
            (altered, "there at the end with another content than was written"),
            (invented, "there at the end and never written"),
        ] {
            if let Some(first) = items.first() {
                findings.push(finding(
                    Verdict::Fail,
                    format!("ledger, {kind}: {} item(s) {what}, the first is {first}", items.len()),
                ));
            }
        }
    }
    findings
}

/// What is known of each item that is missing.
pub fn missing<'a>(kind: &'a str, outcome: &'a KindOutcome) -> impl Iterator<Item = Missing> + 'a {
    outcome.lost().map(move |op| Missing {
        kind: kind.to_owned(),
        item: op.item.clone(),
        through: op.through.clone(),
        began: op.begin,
        ended: op.end,
        hosts: outcome.traces.get(&op.item).cloned().unwrap_or_default(),
    })
}

fn finding(verdict: Verdict, why: String) -> Finding {
    Finding { verdict, at: None, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(item: &str, outcome: OpOutcome) -> Op {
        Op { item: item.into(), through: None, begin: Millis(10), end: Millis(20), outcome }
    }

    fn audited(found: Option<&[&str]>, altered: &[&str]) -> Vec<(Verdict, String)> {
        audited_as("etcd", found, altered)
    }

    fn audited_as(kind_name: &str, found: Option<&[&str]>, altered: &[&str]) -> Vec<(Verdict, String)> {
        let kind = KindOutcome {
            ops: vec![op("a", OpOutcome::Acknowledged), op("u", OpOutcome::Unknown), op("r", OpOutcome::Refused)],
            found: found.map(|found| found.iter().map(|item| (*item).to_owned()).collect()),
            altered: altered.iter().map(|item| (*item).to_owned()).collect(),
            traces: BTreeMap::new(),
        };
        audit(&BTreeMap::from([(kind_name.to_owned(), kind)])).into_iter().map(|f| (f.verdict, f.why)).collect()
    }

    #[test]
    fn acknowledged_items_are_there_and_unknown_ones_may_be() {
        assert_eq!(audited(Some(&["a"]), &[]), []);
        assert_eq!(audited(Some(&["a", "u"]), &[]), []);
    }

    #[test]
    fn lost_altered_and_invented_items_fail() {
        let why = |found: &[&str], altered: &[&str]| {
            let findings = audited(Some(found), altered);
            assert!(
                findings.iter().all(|(verdict, _)| *verdict == Verdict::Fail) && findings.len() == 1,
                "{findings:?}"
            );
            findings[0].1.clone()
        };
        assert!(why(&["u"], &[]).contains("not there at the end, the first is a"));
        assert!(why(&[], &["a"]).contains("another content"));
        assert!(why(&["a", "ghost"], &[]).contains("never written, the first is ghost"));
        assert!(why(&["a", "r"], &[]).contains("never written, the first is r"), "refused means never written");
    }

    #[test]
    fn a_file_whose_write_was_not_acknowledged_may_be_there_in_part() {
        assert_eq!(audited_as("notebook", Some(&["a"]), &["u"]), []);
        assert_eq!(audited_as("notebook", Some(&[]), &["a"])[0].0, Verdict::Fail, "acknowledged means whole");
        assert_eq!(audited_as("etcd", Some(&["a"]), &["u"])[0].0, Verdict::Fail, "a put is there or it isn't");
    }

    #[test]
    fn missing_evidence_is_invalid() {
        assert_eq!(audited(None, &[])[0].0, Verdict::Invalid);
        assert_eq!(audit(&LedgerOutcome::new())[0].verdict, Verdict::Invalid);
    }

    #[test]
    fn operations_are_counted_around_a_moment() {
        let kind = KindOutcome { ops: vec![op("a", OpOutcome::Acknowledged)], ..KindOutcome::default() };
        assert_eq!(ops_ok(&kind, Millis(20)), OpsOk { before: 1, after: 0 });
        assert_eq!(ops_ok(&kind, Millis(15)), OpsOk { before: 0, after: 0 });
        assert_eq!(ops_ok(&kind, Millis(10)), OpsOk { before: 0, after: 1 });
    }
}

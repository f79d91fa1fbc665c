//! Witnesses of a cut-off etcd leader: one write through it while it is cut off, one through the leader of the majority, and what
//! became of both.
//!
//! A leader without a majority can't commit: what is written through it is not acknowledged, and is overwritten once it follows
//! the others. What the majority has acknowledged stays.

use serde::{Deserialize, Serialize};

use super::ledger::OpOutcome;
use crate::report::{Finding, Verdict};

/// What the witnesses of one fault have seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The fault.
    pub fault: String,
    /// Outcome of the write through the cut-off leader.
    pub stale: OpOutcome,
    /// Outcome of the write through the leader of the majority; none if there was none in time.
    pub fresh: Option<OpOutcome>,
    /// What was there of (the first, the second) when all members followed one leader again; none if it couldn't be read.
    pub found: Option<(bool, bool)>,
}

/// Everything that speaks against it.
#[must_use]
pub fn audit(witness: &Witness) -> Vec<Finding> {
    let mut findings = vec![];
    let mut found = |verdict, why: &str| {
        findings.push(Finding { verdict, at: None, why: format!("fault {}, witnesses: {why}", witness.fault) });
    };
    if witness.stale == OpOutcome::Acknowledged {
        found(Verdict::Fail, "the etcd leader acknowledged a write while it was cut off from the majority");
    }
    if witness.stale == OpOutcome::Refused {
        found(
            Verdict::Invalid,
            "no write could be sent to the cut-off etcd leader, so nothing shows that it can't commit",
        );
    }
    match witness.fresh {
        Some(OpOutcome::Acknowledged) => {}
        Some(_) => {
            found(Verdict::Invalid, "the majority's etcd leader did not acknowledge the one write that it was given")
        }
        None => found(Verdict::Invalid, "no etcd leader of the majority was there to be given a write"),
    }
    match witness.found {
        None => found(Verdict::Invalid, "what became of the writes could not be read"),
        Some((stale, fresh)) => {
            if stale {
                found(Verdict::Fail, "the write through the cut-off etcd leader is there after it follows another one");
            }
            if !fresh && witness.fresh == Some(OpOutcome::Acknowledged) {
                found(Verdict::Fail, "the write that the majority's etcd leader acknowledged is lost");
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use OpOutcome::{Acknowledged, Refused, Unknown};

    fn verdict(stale: OpOutcome, fresh: Option<OpOutcome>, found: Option<(bool, bool)>) -> Option<Verdict> {
        let witness = Witness { fault: "s1".into(), stale, fresh, found };
        audit(&witness).into_iter().map(|finding| finding.verdict).min()
    }

    #[test]
    fn a_leader_without_a_majority_commits_nothing_and_the_majority_loses_nothing() {
        let right = (false, true);
        assert_eq!(verdict(Unknown, Some(Acknowledged), Some(right)), None);
        assert_eq!(verdict(Acknowledged, Some(Acknowledged), Some(right)), Some(Verdict::Fail));
        assert_eq!(verdict(Unknown, Some(Acknowledged), Some((true, true))), Some(Verdict::Fail));
        assert_eq!(verdict(Unknown, Some(Acknowledged), Some((false, false))), Some(Verdict::Fail));
    }

    #[test]
    fn what_nobody_saw_proves_nothing() {
        let right = Some((false, true));
        for witness in [
            verdict(Refused, Some(Acknowledged), right),
            verdict(Unknown, None, Some((false, false))),
            verdict(Unknown, Some(Unknown), right),
            verdict(Unknown, Some(Acknowledged), None),
        ] {
            assert_eq!(witness, Some(Verdict::Invalid));
        }
    }
}

//! The final account of one kind: what was written against what is there. Pure.

use std::collections::BTreeMap;

use super::Entry;
use crate::history::ledger::KindOutcome;

/// Compares. Something found that was never written counts as found: whoever judges sees that no operation made it.
pub(super) fn settle(written: &[Entry], found: Result<BTreeMap<String, String>, String>) -> KindOutcome {
    let ops = written.iter().map(|entry| entry.op.clone()).collect();
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            tracing::warn!(%why, "the ledger could not be read back");
            return KindOutcome { ops, ..KindOutcome::default() };
        }
    };
    let contents: BTreeMap<&str, &str> =
        written.iter().map(|entry| (entry.op.item.as_str(), entry.content.as_str())).collect();
    let altered =
        |(item, content): &(String, String)| contents.get(item.as_str()).is_some_and(|wanted| wanted != content);
    let (altered, found): (Vec<_>, Vec<_>) = found.into_iter().partition(altered);
    KindOutcome {
        ops,
        found: Some(found.into_iter().map(|(item, _)| item).collect()),
        altered: altered.into_iter().map(|(item, _)| item).collect(),
        traces: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stormbed::clock::Millis;

    use super::*;
    use crate::history::ledger::{Op, OpOutcome};

    fn entry(item: &str, content: &str) -> Entry {
        Entry {
            op: Op {
                item: item.into(),
                through: None,
                begin: Millis(0),
                end: Millis(1),
                outcome: OpOutcome::Acknowledged,
            },
            content: content.into(),
        }
    }

    fn found(items: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Ok(items.iter().map(own).collect())
    }

    #[test]
    fn what_was_changed_is_not_found() {
        let written = [entry("a", "1"), entry("b", "2"), entry("c", "3")];
        let outcome = settle(&written, found(&[("a", "1"), ("b", "x"), ("alien", "y")]));
        assert_eq!(outcome.found, Some(vec!["a".into(), "alien".into()]));
        assert_eq!(outcome.altered, ["b"]);
        assert_eq!(outcome.ops.len(), 3);
    }

    #[test]
    fn a_failed_reading_is_not_an_empty_one() {
        let outcome = settle(&[entry("a", "1")], Err("gone".into()));
        assert_eq!(outcome.found, None);
        assert_eq!(settle(&[], found(&[])).found, Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn every_item_read_is_either_found_or_altered(
            written in proptest::collection::btree_map("[a-d]", "[0-1]", 0..5),
            read in proptest::collection::btree_map("[a-f]", "[0-1]", 0..6),
        ) {
            let entries: Vec<_> = written.iter().map(|(k, v)| entry(k, v)).collect();
            let outcome = settle(&entries, Ok(read.clone()));
            let found = outcome.found.expect("it was read");
            prop_assert_eq!(found.len() + outcome.altered.len(), read.len());
            for item in &found {
                prop_assert!(written.get(item).is_none_or(|v| v == &read[item]));
            }
            for item in &outcome.altered {
                prop_assert_ne!(&written[item], &read[item]);
            }
        }
    }
}

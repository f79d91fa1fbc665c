//! The volume at the end of a scenario, when nobody writes any more: nothing waits for heal, and all bricks hold the same.

use std::collections::BTreeMap;

use stormbed::outpost::protocol::GlusterView;

use crate::report::{Finding, Verdict};

/// Entries that wait for heal are gone within this time after the last write.
pub const HEAL_WITHIN_MS: u64 = 30_000;

/// What was found of the volume within [`HEAL_WITHIN_MS`] after the last write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOutcome {
    /// Its state.
    pub state: Result<GlusterView, String>,
    /// Checksums of the ledger's files on each host's brick, by path.
    pub bricks: BTreeMap<String, Result<BTreeMap<String, String>, String>>,
}

/// What speaks against the volume; nothing if it is well.
#[must_use]
pub fn audit(volume: Option<&VolumeOutcome>) -> Vec<Finding> {
    let Some(volume) = volume else {
        return vec![finding(Verdict::Invalid, "nobody looked at the volume when the writers had stopped".to_owned())];
    };
    let mut findings = vec![];
    match &volume.state {
        Err(why) => findings.push(finding(Verdict::Invalid, format!("it could not be asked at the end: {why}"))),
        Ok(state) => {
            findings.extend(faulty(state));
            if u32::try_from(volume.bricks.len()) != Ok(state.bricks) {
                let text = format!("it has {} bricks, and {} were compared", state.bricks, volume.bricks.len());
                findings.push(finding(Verdict::Invalid, text));
            }
        }
    }
    for (host, sums) in &volume.bricks {
        if let Err(why) = sums {
            findings
                .push(finding(Verdict::Invalid, format!("the brick of {host} could not be read at the end: {why}")));
        }
    }
    findings.extend(difference(volume));
    findings
}

fn faulty(state: &GlusterView) -> Option<Finding> {
    let text = if state.split_brain > 0 {
        format!("at the end {} entries are in split brain", state.split_brain)
    } else if state.bricks_online < state.bricks {
        format!("at the end {} of {} bricks are online", state.bricks_online, state.bricks)
    } else if state.heal_pending > 0 {
        let within = HEAL_WITHIN_MS / 1_000;
        format!("{} entries still wait for heal {within} s after the last write", state.heal_pending)
    } else {
        return None;
    };
    Some(finding(Verdict::Fail, text))
}

/// The first file that isn't the same on all bricks that were read.
fn difference(volume: &VolumeOutcome) -> Option<Finding> {
    let read: Vec<_> = volume.bricks.iter().filter_map(|(host, sums)| Some((host, sums.as_ref().ok()?))).collect();
    let (first, expected) = read.first()?;
    for (host, sums) in &read {
        let paths = expected.keys().chain(sums.keys());
        let mut differing: Vec<&String> = paths.filter(|path| expected.get(*path) != sums.get(*path)).collect();
        differing.sort_unstable();
        differing.dedup();
        if let Some(path) = differing.first() {
            let text = format!(
                "the bricks of {first} and {host} differ in {} file(s) after the last write, the first is {path}",
                differing.len()
            );
            return Some(finding(Verdict::Fail, text));
        }
    }
    None
}

fn finding(verdict: Verdict, what: String) -> Finding {
    Finding { verdict, at: None, why: format!("the volume: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> VolumeOutcome {
        let sums = BTreeMap::from([("files/f1".to_owned(), "aa".to_owned()), ("files/f2".to_owned(), "bb".to_owned())]);
        VolumeOutcome {
            state: Ok(GlusterView { heal_pending: 0, split_brain: 0, bricks_online: 3, bricks: 3 }),
            bricks: (1..=3).map(|k| (format!("host-{k}"), Ok(sums.clone()))).collect(),
        }
    }

    /// What is found after this change.
    fn changed(change: impl Fn(&mut GlusterView, &mut BTreeMap<String, String>)) -> Vec<(Verdict, String)> {
        let mut volume = well();
        let sums = volume.bricks.get_mut("host-2").and_then(|sums| sums.as_mut().ok()).expect("a brick");
        change(volume.state.as_mut().expect("a state"), sums);
        audit(Some(&volume)).into_iter().map(|found| (found.verdict, found.why)).collect()
    }

    fn fails(found: &[(Verdict, String)], words: &str) {
        assert!(found.iter().any(|(verdict, why)| *verdict == Verdict::Fail && why.contains(words)), "{found:?}");
    }

    #[test]
    fn a_volume_that_is_well_has_nothing_against_it() {
        assert_eq!(changed(|_, _| {}), []);
    }

    #[test]
    fn what_still_waits_for_heal_or_is_split_fails() {
        fails(&changed(|state, _| state.heal_pending = 2), "2 entries still wait for heal 30 s");
        fails(&changed(|state, _| state.split_brain = 1), "split brain");
        fails(&changed(|state, _| state.bricks_online = 2), "2 of 3 bricks");
    }

    #[test]
    fn bricks_that_differ_fail() {
        fails(&changed(|_, sums| drop(sums.insert("files/f2".into(), "cc".into()))), "host-1 and host-2 differ in 1");
        fails(&changed(|_, sums| drop(sums.remove("files/f1"))), "files/f1");
        fails(&changed(|_, sums| drop(sums.insert("files/f3".into(), "dd".into()))), "files/f3");
    }

    #[test]
    fn what_could_not_be_looked_at_is_invalid() {
        let mut unread = well();
        unread.bricks.insert("host-3".into(), Err("no outpost".into()));
        let mut unasked = well();
        unasked.state = Err("not done".into());
        let mut fewer = well();
        fewer.bricks.remove("host-3");
        for volume in [Some(&unread), Some(&unasked), Some(&fewer), None] {
            let found = audit(volume);
            assert!(!found.is_empty() && found.iter().all(|f| f.verdict == Verdict::Invalid), "{found:?}");
        }
    }
}

//! Collects what an invariant found, and how old the probes were that it used.

use stormbed::clock::Millis;

use super::{Judgement, Part};
use crate::observe::observation::Probe;

/// A reason names at most this many findings: the first ones say what is wrong, the rest repeats.
const FINDINGS_MAX: usize = 3;

/// Findings of one tier.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    from: Option<Millis>,
    to: Option<Millis>,
    broken: Vec<String>,
    unknown: Vec<String>,
}

impl Evidence {
    /// This probe is part of the evidence, whatever it found.
    pub fn uses<T>(&mut self, probe: &Probe<T>) {
        self.from = Some(self.from.map_or(probe.begin, |from| from.min(probe.begin)));
        self.to = Some(self.to.map_or(probe.end, |to| to.min(probe.end)));
    }

    /// Uses the probe; its result, or the note that the evidence is missing.
    pub fn look<'a, T>(&mut self, what: &str, probe: &'a Probe<T>) -> Option<&'a T> {
        self.uses(probe);
        match &probe.result {
            Ok(value) => Some(value),
            Err(why) => {
                self.unknown(format!("{what} could not be looked at: {why}"));
                None
            }
        }
    }

    /// Something is as it must not be.
    pub fn broken(&mut self, why: impl Into<String>) {
        self.broken.push(why.into());
    }

    /// Something could not be told.
    pub fn unknown(&mut self, why: impl Into<String>) {
        self.unknown.push(why.into());
    }

    /// `found` must be `expected`.
    pub fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, found: &T) {
        if expected != found {
            self.broken(format!("{what}: expected {expected:?}, found {found:?}"));
        }
    }

    /// The judgement.
    pub fn part(self) -> Part {
        let judgement = if !self.broken.is_empty() {
            Judgement::Broken(summary(&self.broken))
        } else if !self.unknown.is_empty() {
            Judgement::Unknown(summary(&self.unknown))
        } else {
            Judgement::Holds
        };
        Part { judgement, from: self.from, to: self.to }
    }
}

fn summary(findings: &[String]) -> String {
    let mut text = findings.iter().take(FINDINGS_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if findings.len() > FINDINGS_MAX {
        text += &format!("; and {} more", findings.len() - FINDINGS_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_beats_unknown_and_long_lists_are_cut() {
        let mut evidence = Evidence::default();
        evidence.unknown("u");
        for number in 0..5 {
            evidence.broken(format!("b{number}"));
        }
        assert_eq!(evidence.part().judgement, Judgement::Broken("b0; b1; b2; and 2 more".into()));
    }

    #[test]
    fn the_oldest_probe_counts() {
        let mut evidence = Evidence::default();
        for (begin, end) in [(5, 9), (3, 12)] {
            evidence.uses(&Probe { begin: Millis(begin), end: Millis(end), result: Ok(()) });
        }
        let part = evidence.part();
        assert_eq!((part.from, part.to), (Some(Millis(3)), Some(Millis(9))));
    }
}

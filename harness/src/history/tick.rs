//! One tick as a history remembers it: judgements, truth and the judge's own condition, without the raw probes.

use std::collections::{BTreeMap, BTreeSet};

use stormbed::clock::Millis;

use crate::fault::Fault;
use crate::invariant::excuse::excuses;
use crate::invariant::truth::Truth;
use crate::invariant::{Breach, Held, Judged, Judgement, Judgements, Name, Part, Tier};
use crate::observe::cpu::CpuView;
use crate::observe::observation::Observation;

/// An invariant's evidence of one tier.
pub(super) type Key = (Name, Tier);

#[derive(Debug, Clone)]
pub(super) struct Tick {
    pub begin: Millis,
    pub end: Millis,
    pub late_ms: u64,
    pub cpu_pressure: Option<f64>,
    pub cpu: Option<CpuView>,
    pub parts: BTreeMap<Key, Part>,
    pub breaches: BTreeMap<Name, Breach>,
    /// Invariants whose safety this tick can't tell about.
    pub blind: BTreeSet<Name>,
    pub truth: Truth,
    /// A fault holds something down.
    pub held: bool,
    /// What excuses the second one excuses the first one too.
    pub alike: BTreeMap<Name, Name>,
}

impl Tick {
    pub fn of(seen: &Observation, truth: &Truth, judged: &Judgements, faults: &[Fault]) -> Self {
        let mut parts = BTreeMap::new();
        let mut breaches = BTreeMap::new();
        let mut blind = BTreeSet::new();
        for (name, judged) in judged {
            for tier in [Tier::Fast, Tier::Deep] {
                if let Some(part) = judged.part(tier) {
                    parts.insert((*name, tier), part.clone());
                }
            }
            if let Some(breach) = &judged.breach {
                breaches.insert(*name, breach.clone());
            } else if judged.blind {
                blind.insert(*name);
            }
        }
        Self {
            begin: seen.begin,
            end: seen.end,
            late_ms: seen.runner.late_ms,
            cpu_pressure: seen.runner.cpu_pressure,
            cpu: seen.runner.cpu,
            parts,
            breaches,
            blind,
            truth: truth.clone(),
            held: Held::of(faults) != Held::default(),
            alike: BTreeMap::new(),
        }
    }

    /// A tick of 100 ms that shows this truth and judges nothing.
    #[cfg(test)]
    pub fn showing(begin: u64, truth: Truth) -> Self {
        Self {
            begin: Millis(begin),
            end: Millis(begin + 100),
            late_ms: 0,
            cpu_pressure: None,
            cpu: None,
            parts: BTreeMap::new(),
            breaches: BTreeMap::new(),
            blind: BTreeSet::new(),
            truth,
            held: false,
            alike: BTreeMap::new(),
        }
    }

    pub fn judgement(&self, key: Key) -> Option<&Judgement> {
        self.parts.get(&key).map(|part| &part.judgement)
    }

    pub fn holds(&self, key: Key) -> bool {
        self.judgement(key) == Some(&Judgement::Holds)
    }

    pub fn broken(&self, key: Key) -> Option<&str> {
        match self.judgement(key) {
            Some(Judgement::Broken(why)) => Some(why),
            _ => None,
        }
    }

    /// Every invariant, both tiers in one.
    pub fn judgements(&self) -> BTreeMap<Name, Judgement> {
        let part = |name, tier| self.parts.get(&(name, tier)).cloned();
        let both = |name| Judged { fast: part(name, Tier::Fast), deep: part(name, Tier::Deep), ..Judged::default() };
        self.parts.keys().map(|(name, _)| (*name, both(*name).overall())).collect()
    }

    /// What doesn't hold, and why.
    pub fn lacking(&self) -> Vec<(Name, String)> {
        self.parts
            .iter()
            .filter_map(|((name, _), part)| match &part.judgement {
                Judgement::Holds => None,
                Judgement::Broken(why) | Judgement::Unknown(why) => Some((*name, why.clone())),
            })
            .collect()
    }

    /// The fault that excuses this invariant at this tick.
    pub fn excuse(&self, name: Name, faults: &[Fault]) -> Option<String> {
        excuses(faults, self.begin, self.end).remove(&self.built_in(name))
    }

    /// The built-in invariant whose excuses hold for this one.
    pub fn built_in(&self, name: Name) -> Name {
        self.alike.get(&name).copied().unwrap_or(name)
    }
}

/// All (invariant, tier) that have evidence.
pub(super) fn keys(ticks: &[Tick]) -> Vec<Key> {
    let mut keys: Vec<Key> = ticks.iter().flat_map(|tick| tick.parts.keys().copied()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

//! The meaning of a fault's own keys: what else it is told, and which faults have such a key.

use stormbed::outpost::cut::Way;
use stormbed::outpost::link::Link;

use super::duration::format_ms;
use super::file::{FaultStep, StormFaultKeys, TargetKeys, TogetherFault};
use super::read_step::Reader;
use super::read_target::takes;
use super::values::{FaultWord, FromKeys, Rate, Share, SplitWord, Time, WayWord, WhatWord};
use crate::document::place::Place;
use crate::fault::partition::{BRIDGE_MIN, RING_MIN};
use crate::fault::{FaultKind, Means, PeerSet, Peers, Role, Split, Target, TargetClass};

/// Keys that only some faults have, and which.
const OWN_KEYS: &[(&str, &[&str])] = &[
    ("from", &["isolate", "loss", "slow-link"]),
    ("way", &["isolate", "loss"]),
    ("shape", &["partition"]),
    ("share", &["loss"]),
    ("delay", &["slow-link", "squeeze"]),
    ("jitter", &["slow-link"]),
    ("rate", &["slow-link"]),
    ("to", &["squeeze"]),
];
/// A packet that is later than this is one that was lost.
const DELAY_MAX_MS: u64 = 10_000;
/// A sync that is later than this is not seen to be made in time.
const SYNC_DELAY_MAX_MS: u64 = 3_000;

/// A fault as files name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'k> {
    pub fault: FaultWord,
    pub target: &'k TargetKeys,
    from: Option<&'k FromKeys>,
    what: Option<WhatWord>,
    way: Option<WayWord>,
    shape: Option<SplitWord>,
    share: Option<&'k Share>,
    delay: Option<&'k Time>,
    jitter: Option<&'k Time>,
    rate: Option<&'k Rate>,
    to: Option<&'k Share>,
}

macro_rules! named {
    ($($keys:ty),*) => {$(
        impl<'k> From<&'k $keys> for Named<'k> {
            fn from(keys: &'k $keys) -> Self {
                Self {
                    fault: keys.fault,
                    target: &keys.target,
                    from: keys.from.as_ref(),
                    what: keys.what,
                    way: keys.way,
                    shape: keys.shape,
                    share: keys.share.as_ref(),
                    delay: keys.delay.as_ref(),
                    jitter: keys.jitter.as_ref(),
                    rate: keys.rate.as_ref(),
                    to: keys.to.as_ref(),
                }
            }
        }
    )*};
}
named!(FaultStep, TogetherFault, StormFaultKeys);

impl Named<'_> {
    /// It has this key.
    fn has(&self, key: &str) -> bool {
        match key {
            "from" => self.from.is_some(),
            "way" => self.way.is_some(),
            "shape" => self.shape.is_some(),
            "share" => self.share.is_some(),
            "delay" => self.delay.is_some(),
            "jitter" => self.jitter.is_some(),
            "rate" => self.rate.is_some(),
            "to" => self.to.is_some(),
            _ => false,
        }
    }
}

impl Reader<'_, '_> {
    /// What is done, with all that it is told.
    pub(super) fn kind(&mut self, named: &Named<'_>, at: &Place) -> Option<FaultKind> {
        let kind = self.about(named, at)?;
        self.own_keys(named, at)?;
        let way = named.way.map_or(Way::Both, |word| word.0);
        Some(match kind {
            FaultKind::Isolate { .. } => FaultKind::Isolate { from: self.peers(named.from, &at.key("from"))?, way },
            FaultKind::Loss { .. } => {
                let (from, percent) = (self.peers(named.from, &at.key("from")), self.share(named.share, at));
                FaultKind::Loss { from: from?, way, percent: percent? }
            }
            FaultKind::SlowLink { .. } => {
                let (from, link) = (self.peers(named.from, &at.key("from")), self.link(named, at));
                FaultKind::SlowLink { from: from?, link: link? }
            }
            FaultKind::Partition { .. } => {
                FaultKind::Partition { shape: named.shape.map_or(Split::Sides, |word| word.0) }
            }
            FaultKind::Squeeze { what } => FaultKind::Squeeze { what: self.squeezed(what, named, at)? },
            _ => kind,
        })
    }

    /// How much a squeeze leaves.
    fn squeezed(&mut self, what: Means, named: &Named<'_>, at: &Place) -> Option<Means> {
        let (word, key) = match what {
            Means::Cpu { .. } => ("cpu", Some(("to", "to = \"20%\""))),
            Means::Disk { .. } => ("disk", Some(("delay", "delay = \"200ms\""))),
            Means::Fsync => ("fsync", None),
        };
        let mut others = ["to", "delay"].into_iter().filter(|other| key.is_none_or(|(own, _)| own != *other));
        if let Some(other) = others.find(|other| named.has(other)) {
            let help = match key {
                Some((_, example)) => format!("write {example} instead"),
                None => "leave it out: every sync fails".to_owned(),
            };
            self.d.at(&at.key(other), format!("a squeeze of {word} has no '{other}'"), help);
            return None;
        }
        match (what, named.to, named.delay) {
            (Means::Cpu { .. }, Some(Share(percent)), _) => Some(Means::Cpu { percent: *percent }),
            (Means::Disk { .. }, _, Some(delay)) => {
                let delay_ms = self.delay(delay.0, SYNC_DELAY_MAX_MS, at)?;
                Some(Means::Disk { delay_ms })
            }
            (Means::Fsync, ..) => Some(what),
            _ if key.is_some_and(|(key, _)| self.is_told(at, key)) => None,
            _ => {
                let example = key.map_or("", |(_, example)| example);
                self.d.at(
                    &at.key("what"),
                    format!("a squeeze of {word} must say how much"),
                    format!("as in {example}"),
                );
                None
            }
        }
    }

    /// A delay, of packets or syncs.
    fn delay(&mut self, delay_ms: u64, max_ms: u64, at: &Place) -> Option<u32> {
        if delay_ms > max_ms {
            let message = format!("a delay of {} is more than {}", format_ms(delay_ms), format_ms(max_ms));
            self.d.at(&at.key("delay"), message, "a shorter delay; isolate or pause what is to fall silent");
            return None;
        }
        u32::try_from(delay_ms).ok()
    }

    /// The target of a partition fits its shape.
    pub(super) fn splits(&mut self, split: Split, target: &Target, at: &Place) {
        let number = self.limits.number_of(target.class);
        let (fits, needed, help) = match split {
            Split::Sides => (
                takes(target, self.limits) < number,
                "needs another side".to_owned(),
                "all of them are on one: aim at fewer".to_owned(),
            ),
            Split::Ring => (
                target.class == TargetClass::Node && target.role == Role::All && number >= RING_MIN,
                format!("is of all nodes, at least {RING_MIN}"),
                "target = { node = \"all\" }; with fewer nodes everyone is a neighbour".to_owned(),
            ),
            Split::Bridge => (
                target.class == TargetClass::Node && takes(target, self.limits) == 1 && number >= BRIDGE_MIN,
                format!("is one node between others, at least {BRIDGE_MIN} in all"),
                "aim at one node, for example target = { node = \"leader\" }".to_owned(),
            ),
        };
        if !fits {
            let what = if split == Split::Sides { "partition" } else { split.row().word };
            self.d.at(at, format!("a {what} {needed}"), help);
        }
    }

    /// Something stands at this key: where it has no value, what is wrong with it has been told.
    fn is_told(&self, at: &Place, key: &str) -> bool {
        self.d.has(&at.key(key))
    }

    /// The kind of fault that `fault` and `what` mean.
    fn about(&mut self, named: &Named<'_>, at: &Place) -> Option<FaultKind> {
        let kind = named.fault.0;
        let words: Vec<&str> = kind.whats().map(|row| row.word).collect();
        match named.what {
            None if words.is_empty() => Some(kind),
            Some(WhatWord(what)) if what.is_like(kind) => Some(what),
            None if self.is_told(at, "what") => None,
            None => {
                let message = format!("{} must say what", kind.row().word);
                self.d.at(
                    &at.key("fault"),
                    message,
                    format!("add what = \"{}\"; allowed: {}", words[0], words.join(", ")),
                );
                None
            }
            Some(WhatWord(what)) => {
                let word = what.what().map_or("", |row| row.word);
                let message = format!("{} has no 'what' = \"{word}\"", kind.row().word);
                let help = match words.as_slice() {
                    [] => format!("leave 'what' out; {} has it", what.row().word),
                    words => format!("allowed: {}", words.join(", ")),
                };
                self.d.at(&at.key("what"), message, help);
                None
            }
        }
    }

    /// No key stands here that this fault doesn't have.
    fn own_keys(&mut self, named: &Named<'_>, at: &Place) -> Option<()> {
        let word = named.fault.0.row().word;
        let mut clean = Some(());
        for (key, faults) in OWN_KEYS.iter().filter(|(key, faults)| named.has(key) && !faults.contains(&word)) {
            let whose: Vec<String> = faults.iter().map(|fault| format!("fault = \"{fault}\"")).collect();
            let help = format!("leave it out; it belongs to {}", whose.join(" or "));
            self.d.at(&at.key(*key), format!("{word} has no '{key}'"), help);
            clean = None;
        }
        clean
    }

    /// How much is lost.
    fn share(&mut self, share: Option<&Share>, at: &Place) -> Option<u8> {
        match share {
            None if self.is_told(at, "share") => {}
            None => self.d.at(at, "loss has no 'share'", "for example: share = \"30%\""),
            Some(Share(100)) => self.d.at(
                &at.key("share"),
                "a loss of all packets is no loss",
                "use fault = \"isolate\", or lose less than 100%",
            ),
            Some(Share(percent)) => return Some(*percent),
        }
        None
    }

    /// How slow a link is.
    fn link(&mut self, named: &Named<'_>, at: &Place) -> Option<Link> {
        if self.is_told(at, "delay") && named.delay.is_none() || self.is_told(at, "rate") && named.rate.is_none() {
            return None;
        }
        if named.delay.is_none() && named.rate.is_none() {
            let key = if named.jitter.is_some() { at.key("jitter") } else { at.clone() };
            let help =
                "for example: delay = \"100ms\", jitter = \"20ms\", rate = \"8mbit\"; at least a 'delay' or a 'rate'";
            self.d.at(&key, "slow-link has neither 'delay' nor 'rate'", help);
            return None;
        }
        let ms = |time: Option<&Time>| time.map_or(0, |time| time.0);
        let (delay_ms, jitter_ms) = (ms(named.delay), ms(named.jitter));
        let delay = self.delay(delay_ms, DELAY_MAX_MS, at)?;
        if jitter_ms > delay_ms {
            let message = format!("a jitter of {} is more than the delay", format_ms(jitter_ms));
            self.d.at(&at.key("jitter"), message, "no packet arrives before it was sent: at most as much as 'delay'");
            return None;
        }
        let number = |ms| u32::try_from(ms).ok();
        Some(Link { delay_ms: delay, jitter_ms: number(jitter_ms)?, rate_kbit: named.rate.map_or(0, |rate| rate.0) })
    }

    /// From whom.
    fn peers(&mut self, keys: Option<&FromKeys>, at: &Place) -> Option<PeerSet> {
        let several: Vec<Peers> = match keys {
            None => return Some(PeerSet::EVERYONE),
            Some(FromKeys::One(word)) => return Some(word.0.into()),
            // What is wrong with the others has been told.
            Some(FromKeys::Several(words)) => words.iter().flatten().map(|word| word.0).collect(),
        };
        if several.len() > 1 && several.contains(&Peers::Everyone) {
            let help = "write from = \"everyone\", or leave \"everyone\" out of the list";
            self.d.at(at, "\"everyone\" includes all others in this list", help);
            return None;
        }
        Some(several.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::words::FAULTS;

    #[test]
    fn own_keys_are_those_of_faults_that_exist() {
        for (key, faults) in OWN_KEYS {
            assert!(!faults.is_empty(), "{key}");
            for fault in *faults {
                assert!(FAULTS.iter().any(|row| row.word == *fault), "'{key}' belongs to no fault '{fault}'");
            }
        }
    }
}

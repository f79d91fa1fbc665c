//! What must be seen of invariants while a fault is held: from the moment its effect was seen until its undo began.

use std::time::Duration;

use stormbed::clock::Millis;

use super::breaks::{DEEP_GRACE_MS, FAST_GRACE_MS};
use super::starved::judged_while;
use super::tick::{Key, Tick, keys};
use crate::fault::Fault;
use crate::invariant::{Judgement, Tier};
use crate::report::{Finding, Verdict};
use crate::scenario::plan::PlannedStep;
use crate::scenario::{Condition, Meanwhile};

/// What speaks against a step's `meanwhile`. A fault that was never seen to have an effect is told of elsewhere.
pub(super) fn findings(ticks: &[Tick], fault: &Fault, step: &PlannedStep) -> Vec<Finding> {
    let Some(from) = fault.life.seen else {
        return vec![];
    };
    let to = fault.life.undo_begin.or(ticks.last().map(|tick| tick.end)).unwrap_or(from);
    let held: Vec<&Tick> = ticks.iter().filter(|tick| tick.begin >= from && tick.end <= to).collect();
    step.meanwhile.iter().flat_map(|wanted| judge(ticks, &held, fault, *wanted, (from, to))).collect()
}

fn judge(
    ticks: &[Tick],
    held: &[&Tick],
    fault: &Fault,
    wanted: Meanwhile,
    (from, to): (Millis, Millis),
) -> Vec<Finding> {
    let what = format!("{} while fault {} was held ({from} to {to})", wanted.invariant, fault.id);
    let mut keys = keys(ticks);
    keys.retain(|key| key.0 == wanted.invariant);
    match wanted.state {
        Condition::Degraded => {
            let seen = held.iter().any(|tick| keys.iter().any(|key| tick.broken(*key).is_some()));
            let why = format!("{what}: expected to see it degraded, and it never was");
            (!seen).then_some(Finding { verdict: Verdict::Invalid, at: Some(from), why }).into_iter().collect()
        }
        Condition::Holds if keys.is_empty() => {
            vec![Finding { verdict: Verdict::Invalid, at: Some(from), why: format!("{what}: nobody looked") }]
        }
        Condition::Holds => keys.into_iter().filter_map(|key| held_throughout(ticks, held, key, &what)).collect(),
    }
}

/// It was seen to hold, and never seen broken for longer than is forgiven without a fault, nor unseen for so long.
fn held_throughout(ticks: &[Tick], held: &[&Tick], key: Key, what: &str) -> Option<Finding> {
    let grace = Duration::from_millis(match key.1 {
        Tier::Fast => FAST_GRACE_MS,
        Tier::Deep => DEEP_GRACE_MS,
    });
    let mut last_held = None;
    let mut broken: Option<(Millis, &str)> = None;
    for tick in held {
        match tick.judgement(key) {
            Some(Judgement::Holds) => {
                last_held = Some(tick.end);
                broken = None;
                continue;
            }
            Some(Judgement::Broken(why)) => {
                broken.get_or_insert((tick.begin, why));
            }
            Some(Judgement::Unknown(_)) | None => {}
        }
        if let Some((since, why)) = broken
            && tick.end.since(since) > grace
        {
            let (verdict, starved) = judged_while(ticks, since, tick.end);
            let why = format!("{what}: expected it to hold, and it was broken{starved}: {why}");
            return Some(Finding { verdict, at: Some(since), why });
        }
        let unseen_since = last_held.or(held.first().map(|tick| tick.begin)).unwrap_or(tick.begin);
        if broken.is_none() && tick.end.since(unseen_since) > grace {
            let why = format!("{what}: expected it to hold, and there is no evidence that tells");
            return Some(Finding { verdict: Verdict::Invalid, at: Some(unseen_since), why });
        }
    }
    let why = format!("{what}: expected it to hold, and it was never looked at");
    last_held.is_none().then_some(Finding { verdict: Verdict::Invalid, at: None, why })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::fault::life::Stage;
    use crate::fault::{FaultKind, Role, Target, TargetClass, fixture};
    use crate::invariant::truth::Truth;
    use crate::invariant::{Name, Part};
    use crate::scenario::plan::{Hold, PlannedAct};

    const EVERY: u64 = 250;

    /// One letter per tick of 250 ms: holds, broken, unknown.
    fn verdict(text: &str, state: Condition) -> Option<Verdict> {
        let ticks: Vec<Tick> = text.chars().enumerate().map(|(index, letter)| tick(index, letter)).collect();
        let target = Target::new(TargetClass::ZooKeeper, Role::Majority);
        let mut fault = Fault::planned("t", "s1", FaultKind::Kill, target);
        fault.victims = vec![fixture::part(TargetClass::ZooKeeper, "zk-1", "c")];
        fault.life.begin(Millis(0)).expect("legal");
        fault.life.step(Stage::Injected, Millis(0)).expect("legal");
        fault.life.step(Stage::Seen, Millis(0)).expect("legal");
        let act = PlannedAct::Fault { kind: FaultKind::Kill, target, hold: Hold::UntilConverged };
        let meanwhile = vec![Meanwhile { invariant: Name::Jupyter, state }];
        let step = PlannedStep { meanwhile, ..PlannedStep::new("s1", act) };
        findings(&ticks, &fault, &step).first().map(|finding| finding.verdict)
    }

    fn tick(index: usize, letter: char) -> Tick {
        let begin = Millis(u64::try_from(index).expect("few") * EVERY);
        let end = Millis(begin.0 + 100);
        let judgement = match letter {
            'B' => Judgement::Broken("b".into()),
            'U' => Judgement::Unknown("u".into()),
            _ => Judgement::Holds,
        };
        let part = Part { judgement, from: Some(begin), to: Some(end) };
        Tick {
            begin,
            end,
            late_ms: 0,
            cpu_pressure: None,
            cpu: None,
            parts: BTreeMap::from([((Name::Jupyter, Tier::Fast), part)]),
            breaches: BTreeMap::new(),
            blind: BTreeSet::new(),
            truth: Truth::default(),
            held: true,
            alike: BTreeMap::new(),
        }
    }

    #[test]
    fn what_must_hold_may_not_be_broken_for_longer_than_a_moment() {
        let holds = |text: &str| verdict(text, Condition::Holds);
        assert_eq!(holds(&"H".repeat(40)), None);
        assert_eq!(holds(&format!("HHH{}HHH", "B".repeat(5))), None);
        assert_eq!(holds(&format!("HHH{}HHH", "B".repeat(10))), Some(Verdict::Fail));
        assert_eq!(holds(&format!("HHHB{}BHHH", "U".repeat(10))), Some(Verdict::Fail), "not seen to hold in between");
        assert_eq!(holds(&format!("HHH{}HHH", "U".repeat(12))), Some(Verdict::Invalid));
        assert_eq!(holds("UUU"), Some(Verdict::Invalid), "it was never seen to hold");
        assert_eq!(holds(""), Some(Verdict::Invalid));
    }

    #[test]
    fn what_must_be_degraded_is_seen_broken() {
        assert_eq!(verdict("HHHBHH", Condition::Degraded), None);
        assert_eq!(verdict("HHHUHH", Condition::Degraded), Some(Verdict::Invalid));
    }
}

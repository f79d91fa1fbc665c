//! Broken intervals, and which of them nothing excuses.

use std::time::Duration;

use stormbed::clock::Millis;

use super::tick::{Key, Tick, keys, starved};
use crate::fault::Fault;
use crate::invariant::{Breach, Judgement, Name, Tier};
use crate::report::{BrokenInterval, Finding, Verdict};

/// Probes of one tick look at slightly different moments, and a slow answer isn't a broken promise: fast evidence that is
/// broken for no longer than this, without a fault, is noise.
pub const FAST_GRACE_MS: u64 = 2_000;
/// One failed deep probe stands until the next of its rhythm (5 s, and its own time): only two in a row count.
pub const DEEP_GRACE_MS: u64 = 8_000;
/// etcd may elect another leader by itself. What follows a leader gets as long as after a leader's death (worst case promised).
pub const UNPROVOKED_GRACE_MS: u64 = 8_000;

/// All intervals in which an invariant was broken.
pub(super) fn intervals(ticks: &[Tick], faults: &[Fault]) -> Vec<BrokenInterval> {
    let mut all = vec![];
    for key in keys(ticks) {
        let mut open: Option<BrokenInterval> = None;
        for tick in ticks {
            if let Some(why) = tick.broken(key) {
                let excuse = tick.excuse(key.0, faults);
                match &mut open {
                    Some(interval) if excuse.is_none() => interval.excused_by = None,
                    Some(_) => {}
                    None => {
                        open = Some(BrokenInterval {
                            invariant: key.0,
                            tier: key.1,
                            from: tick.begin,
                            to: None,
                            excused_by: excuse,
                            why: why.to_owned(),
                        });
                    }
                }
            } else if tick.holds(key)
                && let Some(mut interval) = open.take()
            {
                interval.to = Some(tick.end);
                all.push(interval);
            }
        }
        all.extend(open);
    }
    all.sort_by_key(|interval| (interval.from, interval.invariant, interval.tier));
    all
}

/// Broken for longer than its grace without an excuse.
pub(super) fn unexcused(ticks: &[Tick], faults: &[Fault]) -> Vec<Finding> {
    let mut findings = vec![];
    let moves = unprovoked_moves(ticks, faults);
    for key in keys(ticks) {
        let mut run: Option<(Millis, Millis, &str)> = None;
        for tick in ticks {
            match (tick.judgement(key), &mut run) {
                (Some(Judgement::Broken(why)), run) if tick.excuse(key.0, faults).is_none() => match run {
                    Some((_, end, _)) => *end = tick.end,
                    None => *run = Some((tick.begin, tick.end, why)),
                },
                // Missing evidence neither ends nor prolongs what was seen broken.
                (Some(Judgement::Unknown(_)) | None, _) => {}
                _ => findings.extend(run.take().and_then(|run| finding(ticks, &moves, key, run))),
            }
        }
        findings.extend(run.and_then(|run| finding(ticks, &moves, key, run)));
    }
    findings
}

fn finding(ticks: &[Tick], moves: &[Millis], key: Key, (from, to, why): (Millis, Millis, &str)) -> Option<Finding> {
    let moved = moves.iter().any(|at| *at + Duration::from_millis(FAST_GRACE_MS) >= from && *at <= to);
    let grace = match key.1 {
        Tier::Fast => FAST_GRACE_MS,
        Tier::Deep => DEEP_GRACE_MS,
    };
    let grace = if moved { grace.max(UNPROVOKED_GRACE_MS) } else { grace };
    let lasted = to.since(from);
    if lasted <= Duration::from_millis(grace) {
        return None;
    }
    let (verdict, starved) = judged_while(ticks, from, to);
    Some(Finding {
        verdict,
        at: Some(from),
        why: format!("{} was broken for {:.1} s and no fault excuses it{starved}: {why}", key.0, lasted.as_secs_f64()),
    })
}

/// A missed promise is a FAIL, unless the judge itself was starved meanwhile.
pub(super) fn judged_while(ticks: &[Tick], from: Millis, to: Millis) -> (Verdict, &'static str) {
    if starved(ticks, from, to) {
        (Verdict::Invalid, " (but the runner was starved, over 500 ms late)")
    } else {
        (Verdict::Fail, "")
    }
}

/// Safety clauses that were seen broken for longer than they tolerate. Nothing excuses them.
pub(super) fn breaches(ticks: &[Tick]) -> Vec<Finding> {
    let mut findings = vec![];
    for name in Name::ALL {
        let mut run: Option<(Millis, Millis, &Breach)> = None;
        let mut longest: Option<(Millis, Millis, &Breach)> = None;
        for tick in ticks {
            run = tick.breaches.get(&name).map(|breach| match run {
                Some((from, _, first)) => (from, tick.end, first),
                None => (tick.begin, tick.end, breach),
            });
            if let Some((from, to, breach)) = run
                && (breach.tolerated_ms == 0 || to.since(from) > Duration::from_millis(breach.tolerated_ms))
                && longest.is_none_or(|(f, t, _)| to.since(from) > t.since(f))
            {
                longest = run;
            }
        }
        findings.extend(longest.map(|(from, to, breach)| Finding {
            verdict: Verdict::Fail,
            at: Some(from),
            why: format!("safety, {name}, for {:.1} s: {}", to.since(from).as_secs_f64(), breach.why),
        }));
    }
    findings
}

/// When etcd's leader changed and no fault explains it.
pub(super) fn unprovoked_moves(ticks: &[Tick], faults: &[Fault]) -> Vec<Millis> {
    let mut moves = vec![];
    let mut last = None;
    for tick in ticks {
        let Some(leader) = &tick.truth.etcd_leader else {
            continue;
        };
        if last.is_some_and(|slot| slot != leader.slot) && tick.excuse(Name::Etcd, faults).is_none() {
            moves.push(tick.begin);
        }
        last = Some(leader.slot);
    }
    moves
}

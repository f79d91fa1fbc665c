//! Broken intervals, and which of them nothing excuses.

use std::time::Duration;

use stormbed::clock::Millis;

use super::coverage::{PERCENT_MIN, moved_before};
use super::starved::{LATE_MS, judged_while};
use super::tick::{Key, Tick, keys};
use crate::fault::Fault;
use crate::invariant::{Judgement, Name, Tier};
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

/// Ticks that show the same thing, one after another. Those without evidence in between neither end nor prolong it.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    from: Millis,
    to: Millis,
    /// How long it was seen.
    lasted: Duration,
    /// What the first tick showed.
    first: &'a str,
    /// Nobody could tell since `to`.
    gap: bool,
}

impl<'a> Run<'a> {
    /// The run with one tick more.
    fn with(run: Option<Self>, tick: &Tick, shown: &'a str) -> Self {
        let run =
            run.unwrap_or(Self { from: tick.begin, to: tick.begin, lasted: Duration::ZERO, first: shown, gap: false });
        let since = if run.gap { tick.begin } else { run.to };
        Self { to: tick.end, lasted: run.lasted + tick.end.since(since), gap: false, ..run }
    }
}

/// Broken without an excuse for longer than its grace, or again and again.
pub(super) fn unexcused(ticks: &[Tick], faults: &[Fault]) -> Vec<Finding> {
    let mut findings = vec![];
    let moves = unprovoked_moves(ticks, faults);
    for key in keys(ticks) {
        let mut of_key = vec![];
        let mut run: Option<Run<'_>> = None;
        for tick in ticks {
            match tick.judgement(key) {
                Some(Judgement::Broken(why)) if tick.excuse(key.0, faults).is_none() => {
                    run = Some(Run::with(run, tick, why));
                }
                Some(Judgement::Unknown(_)) | None => {
                    run.iter_mut().for_each(|run| run.gap = true);
                }
                _ => of_key.extend(run.take().and_then(|run| finding(ticks, &moves, key, run))),
            }
        }
        of_key.extend(run.and_then(|run| finding(ticks, &moves, key, run)));
        if of_key.is_empty() {
            of_key.extend(flapping(ticks, faults, &moves, key));
        }
        findings.extend(of_key);
    }
    findings
}

fn finding(ticks: &[Tick], moves: &[Millis], key: Key, run: Run<'_>) -> Option<Finding> {
    let Run { from, to, lasted, first: why, .. } = run;
    let moved = moves.iter().any(|at| *at + Duration::from_millis(FAST_GRACE_MS) >= from && *at <= to);
    let grace = grace_ms(key.1);
    let grace = if moved { grace.max(UNPROVOKED_GRACE_MS) } else { grace };
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

fn grace_ms(tier: Tier) -> u64 {
    match tier {
        Tier::Fast => FAST_GRACE_MS,
        Tier::Deep => DEEP_GRACE_MS,
    }
}

/// Each break was short, but there were too many: one grace, and beyond it the share of the time that evidence may lack.
fn flapping(ticks: &[Tick], faults: &[Fault], moves: &[Millis], key: Key) -> Option<Finding> {
    let (mut total, mut broken) = (Duration::ZERO, Duration::ZERO);
    let mut first = None;
    let mut last = ticks.first()?.begin;
    for tick in ticks {
        let span = tick.end.since(last);
        last = tick.end;
        if tick.excuse(key.0, faults).is_some() || moved_before(moves, tick.end) {
            continue;
        }
        total += span;
        // A late runner sees late answers.
        if let (Some(why), true) = (tick.broken(key), tick.late_ms <= LATE_MS) {
            broken += span;
            first.get_or_insert((tick.begin, why));
        }
    }
    let (at, why) = first?;
    let allowed = Duration::from_millis(grace_ms(key.1)) + total.mul_f64(1.0 - PERCENT_MIN / 100.0);
    (broken > allowed).then(|| Finding {
        verdict: Verdict::Fail,
        at: Some(at),
        why: format!(
            "{} was broken again and again, for {:.1} of {:.1} s that no fault excuses; expected at most {:.1} s: {why}",
            key.0,
            broken.as_secs_f64(),
            total.as_secs_f64(),
            allowed.as_secs_f64()
        ),
    })
}

/// Safety clauses that were seen broken for longer than they tolerate. Nothing excuses them.
pub(super) fn breaches(ticks: &[Tick]) -> Vec<Finding> {
    let mut findings = vec![];
    for name in Name::ALL {
        let mut run: Option<Run<'_>> = None;
        let mut longest: Option<Run<'_>> = None;
        for tick in ticks {
            let Some(breach) = tick.breaches.get(&name) else {
                run = run.filter(|_| tick.blind.contains(&name)).map(|run| Run { gap: true, ..run });
                continue;
            };
            let now = Run::with(run, tick, &breach.why);
            run = Some(now);
            let tolerated = Duration::from_millis(breach.tolerated_ms);
            if (tolerated.is_zero() || now.lasted > tolerated) && longest.is_none_or(|run| now.lasted > run.lasted) {
                longest = run;
            }
        }
        findings.extend(longest.map(|run| Finding {
            verdict: Verdict::Fail,
            at: Some(run.from),
            why: format!("safety, {name}, for {:.1} s: {}", run.lasted.as_secs_f64(), run.first),
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

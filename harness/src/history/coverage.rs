//! How complete the evidence is: `Unknown` is fine where a held fault excuses it, otherwise evidence covers at least 95 % of the
//! time, with no gap over 2 s (fast) or 8 s (deep).

use std::time::Duration;

use stormbed::clock::Millis;

use super::breaks::{UNPROVOKED_GRACE_MS, unprovoked_moves};
use super::tick::{Key, Tick, keys};
use crate::fault::{Fault, TargetClass};
use crate::invariant::{Judgement, Tier};
use crate::report::{Coverage, Finding, Verdict};

/// Least share of the time with evidence.
pub const PERCENT_MIN: f64 = 95.0;
/// Longest time without fast evidence.
pub const FAST_GAP_MS: u64 = 2_000;
/// Longest time without deep evidence.
pub const DEEP_GAP_MS: u64 = 8_000;

/// Coverage of every invariant's tiers over the time that no fault excuses.
pub(super) fn coverage(ticks: &[Tick], faults: &[Fault]) -> Vec<Coverage> {
    let moves = unprovoked_moves(ticks, faults);
    keys(ticks).into_iter().map(|key| cover(ticks, faults, &moves, key)).collect()
}

fn cover(ticks: &[Tick], faults: &[Fault], moves: &[Millis], key: Key) -> Coverage {
    let gap_max = gap_max_ms(key.1);
    let (mut total, mut without, mut gap_ms_max) = (0, 0, 0);
    let mut last = ticks.first().map(|tick| tick.begin).unwrap_or_default();
    // When somebody last knew something.
    let mut known = last;
    for tick in ticks {
        let (before, span) = (last, ms(tick.end.since(last)));
        last = tick.end;
        // Time in which nothing is asked for must not make up for the time in which something is.
        if tick.excuse(key.0, faults).is_some() || moved_before(moves, tick.end) {
            known = tick.end;
            continue;
        }
        if let Some(at) = evidence(tick, key) {
            total += span;
            // Between two looks nobody looked; as long as that is short, the next one tells.
            gap_ms_max = gap_ms_max.max(ms(at.since(known)));
            without += ms(at.since(known.max(before))).saturating_sub(gap_max);
            known = known.max(at);
        } else if boots(faults, tick) {
            known = tick.end;
        } else {
            total += span;
            without += span;
            gap_ms_max = gap_ms_max.max(ms(tick.end.since(known)));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^52")]
    let percent = 100.0 - without as f64 * 100.0 / total.max(share_over_ms(key.1)) as f64;
    Coverage { invariant: key.0, tier: key.1, percent, gap_ms_max }
}

/// A host that was started again isn't up yet: its engine and its outpost can't be asked. (That it comes up within 30 s is asked of
/// the fault itself.) What is known all the same is judged.
fn boots(faults: &[Fault], tick: &Tick) -> bool {
    faults.iter().any(|fault| {
        let up = fault.life.undone_seen.is_none_or(|up| up >= tick.begin);
        fault.target.class == TargetClass::Host && fault.life.undone.is_some_and(|at| at <= tick.end) && up
    })
}

/// When this tick's evidence was gathered; none if it tells nothing. A fast look is over when its own last probe is, even if the
/// tick still waits for others. Deep evidence of a while ago is evidence now, unless it is too old.
fn evidence(tick: &Tick, key: Key) -> Option<Millis> {
    let part = tick.parts.get(&key).filter(|part| !matches!(part.judgement, Judgement::Unknown(_)))?;
    let gathered = part.to.unwrap_or(tick.end);
    match key.1 {
        Tier::Fast => Some(gathered),
        Tier::Deep => (tick.end.since(gathered) <= Duration::from_millis(DEEP_GAP_MS)).then_some(tick.end),
    }
}

fn gap_max_ms(tier: Tier) -> u64 {
    match tier {
        Tier::Fast => FAST_GAP_MS,
        Tier::Deep => DEEP_GAP_MS,
    }
}

/// Less time than this counts as this much, so that one gap of a permitted length is no lack: in short scenarios the longest gap binds.
pub(super) fn share_over_ms(tier: Tier) -> u64 {
    /// A gap of one part in so many is [`PERCENT_MIN`].
    const PARTS: u64 = 20;
    gap_max_ms(tier) * PARTS
}

/// etcd moved by itself: deep evidence has to be gathered anew, and there is no leader for a moment.
pub(super) fn moved_before(moves: &[Millis], at: Millis) -> bool {
    moves.iter().any(|moved| *moved <= at && at <= *moved + Duration::from_millis(UNPROVOKED_GRACE_MS))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What lacks makes the verdict INVALID.
pub(super) fn findings(coverage: &[Coverage]) -> Vec<Finding> {
    let lacking =
        coverage.iter().filter(|cover| cover.percent < PERCENT_MIN || cover.gap_ms_max > gap_max_ms(cover.tier));
    lacking
        .map(|cover| Finding {
            verdict: Verdict::Invalid,
            at: None,
            why: format!(
                "evidence for {} ({:?}) covers {:.1} % of the time with a gap of {:.1} s; expected at least {PERCENT_MIN} % and no gap over {} s",
                cover.invariant,
                cover.tier,
                cover.percent,
                Duration::from_millis(cover.gap_ms_max).as_secs_f64(),
                gap_max_ms(cover.tier) / 1_000
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::life::Stage;
    use crate::fault::{FaultKind, Role, Target};
    use crate::invariant::truth::Truth;
    use crate::invariant::{Name, Part};

    const KEY: Key = (Name::ZooKeeper, Tier::Fast);

    /// A tick over this time, with evidence that was complete at `known`; none if nothing is known.
    fn tick(begin: u64, end: u64, known: Option<u64>) -> Tick {
        let judgement = match known {
            Some(_) => Judgement::Holds,
            None => Judgement::Unknown("nobody answers".into()),
        };
        let part = Part { judgement, from: Some(Millis(begin)), to: Some(Millis(known.unwrap_or(end))) };
        Tick { end: Millis(end), parts: [(KEY, part)].into(), ..Tick::showing(begin, Truth::default()) }
    }

    fn gap(ticks: &[Tick], faults: &[Fault]) -> u64 {
        cover(ticks, faults, &[], KEY).gap_ms_max
    }

    #[test]
    fn a_tick_that_waits_for_somebody_silent_is_no_gap_for_what_was_asked_of_others() {
        let slow = [tick(0, 100, Some(50)), tick(250, 2_400, Some(300)), tick(500, 2_500, Some(600))];
        assert_eq!(gap(&slow, &[]), 300);
        let silent = [tick(0, 100, Some(50)), tick(250, 2_400, None), tick(2_500, 2_600, Some(2_550))];
        assert_eq!(gap(&silent, &[]), 2_500);
        let percent = cover(&silent, &[], &[], KEY).percent;
        assert!((94.2..94.3).contains(&percent), "2.3 s of the least time that counts, 40 s: {percent}");
    }

    #[test]
    fn a_host_that_boots_cannot_be_asked_and_one_that_is_up_can() {
        let target = Target::new(TargetClass::Host, Role::Any);
        let mut fault = Fault::planned("t", "s1", FaultKind::Kill, target);
        fault.life.begin(Millis(0)).expect("legal");
        fault.life.step(Stage::Undone, Millis(1_000)).expect("legal");
        let ticks = [tick(900, 1_000, Some(990)), tick(1_250, 4_000, None), tick(4_250, 8_000, None)];
        assert_eq!(gap(&ticks, std::slice::from_ref(&fault)), 90);
        fault.life.step(Stage::UndoneSeen, Millis(4_100)).expect("legal");
        assert_eq!(gap(&ticks, std::slice::from_ref(&fault)), 4_000, "it is up, and nobody knows anything");
        assert_eq!(gap(&ticks, &[]), 7_010);
    }
}

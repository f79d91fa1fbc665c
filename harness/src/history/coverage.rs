//! How complete the evidence is: `Unknown` is fine where a held fault excuses it, otherwise evidence covers at least 95 % of the
//! time, with no gap over 2 s (fast) or 8 s (deep).

use std::time::Duration;

use stormbed::clock::Millis;

use super::breaks::{UNPROVOKED_GRACE_MS, unprovoked_moves};
use super::tick::{Key, Tick, keys};
use crate::fault::Fault;
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
    let mut total = 0;
    let mut without = 0;
    let (mut gap, mut gap_ms_max) = (0, 0);
    let mut last = ticks.first().map(|tick| tick.begin).unwrap_or_default();
    for tick in ticks {
        let span = ms(tick.end.since(last));
        last = tick.end;
        // Time in which nothing is asked for must not make up for the time in which something is.
        if tick.excuse(key.0, faults).is_some() || moved_before(moves, tick.end) {
            gap = 0;
            continue;
        }
        total += span;
        if evident(tick, key) {
            // Between two ticks nobody looked; as long as that is short, the next look tells.
            gap_ms_max = gap_ms_max.max(gap + span);
            without += span.saturating_sub(gap_max);
            gap = 0;
        } else {
            without += span;
            gap += span;
            gap_ms_max = gap_ms_max.max(gap);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^52")]
    let percent = 100.0 - without as f64 * 100.0 / total.max(share_over_ms(key.1)) as f64;
    Coverage { invariant: key.0, tier: key.1, percent, gap_ms_max }
}

/// This tick tells something: it isn't unknown, and what it rests on isn't too old.
fn evident(tick: &Tick, key: Key) -> bool {
    let Some(part) = tick.parts.get(&key) else {
        return false;
    };
    let fresh = part.to.is_none_or(|to| tick.end.since(to) <= Duration::from_millis(gap_max_ms(key.1)));
    fresh && !matches!(part.judgement, Judgement::Unknown(_))
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

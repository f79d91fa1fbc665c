//! A slow link: when each packet that comes to it is let go. Pure.
//!
//! Packets leave one after another, each as long as its bytes take at the link's rate, and arrive a delay later that varies by the
//! jitter. They keep their order. One that would have to wait too long for those before it is dropped, as a full buffer does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A link has at most so much waiting before it: some round trips, as buffers of routers have.
const BACKLOG_MAX: Duration = Duration::from_millis(300);

/// How a link is slow; 0 = it isn't in that respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Link {
    /// A packet takes so long to arrive.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_ms: u32,
    /// So much more or less, evenly spread.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_ms: u32,
    /// So many kilobits pass in a second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rate_kbit: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { delay_ms, jitter_ms, rate_kbit } = self;
        let jitter = if *jitter_ms > 0 { format!("±{jitter_ms} ms") } else { String::new() };
        let delay = (*delay_ms > 0).then(|| format!("by {delay_ms} ms{jitter}"));
        let rate = (*rate_kbit > 0).then(|| format!("at {rate_kbit} kbit/s"));
        f.write_str(&delay.into_iter().chain(rate).collect::<Vec<_>>().join(", "))
    }
}

/// A link at work.
#[derive(Debug)]
pub struct Shaper {
    link: Link,
    /// Everything that has come is on its way at this time.
    free_at: Duration,
    /// The last packet arrives at this time.
    last: Duration,
}

impl Shaper {
    /// A link on which nothing is under way.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { link, free_at: Duration::ZERO, last: Duration::ZERO }
    }

    /// When a packet of so many bytes that comes now arrives; none if it is dropped. `chance` is a number from 0 to 1.
    pub fn due(&mut self, now: Duration, bytes: usize, chance: f64) -> Option<Duration> {
        let begins = self.free_at.max(now);
        if begins - now > BACKLOG_MAX {
            return None;
        }
        self.free_at = begins + self.takes(bytes);
        let least = self.link.delay_ms.saturating_sub(self.link.jitter_ms);
        let spread = f64::from(2 * self.link.jitter_ms) * chance.clamp(0.0, 1.0);
        let delay = Duration::from_millis(least.into()) + Duration::from_secs_f64(spread / 1_000.0);
        self.last = self.last.max(self.free_at + delay);
        Some(self.last)
    }

    /// How long bytes take to pass.
    fn takes(&self, bytes: usize) -> Duration {
        if self.link.rate_kbit == 0 {
            return Duration::ZERO;
        }
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        // A kilobit in a second is a bit in a millisecond.
        Duration::from_nanos(bits.saturating_mul(1_000_000) / u64::from(self.link.rate_kbit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_delay_varies_by_its_jitter_and_never_changes_the_order() {
        let link = Link { delay_ms: 100, jitter_ms: 20, rate_kbit: 0 };
        assert_eq!(Shaper::new(link).due(ms(5), 60, 0.0), Some(ms(85)));
        assert_eq!(Shaper::new(link).due(ms(5), 60, 1.0), Some(ms(125)));
        let mut shaper = Shaper::new(link);
        assert_eq!(shaper.due(ms(0), 60, 1.0), Some(ms(120)));
        assert_eq!(shaper.due(ms(1), 60, 0.0), Some(ms(120)), "it doesn't overtake the first one");
    }

    #[test]
    fn bytes_pass_at_the_rate_and_what_would_wait_too_long_is_dropped() {
        // A thousand bytes take a millisecond.
        let mut shaper = Shaper::new(Link { rate_kbit: 8_000, ..Link::default() });
        assert_eq!(shaper.due(ms(0), 1_000, 0.5), Some(ms(1)));
        assert_eq!(shaper.due(ms(0), 2_000, 0.5), Some(ms(3)));
        assert_eq!(shaper.due(ms(10), 1_000, 0.5), Some(ms(11)), "an idle link saves nothing up");
        let passed = (0..1_000).filter(|_| shaper.due(ms(20), 1_000, 0.5).is_some()).count();
        assert_eq!(passed, 301, "those that wait for at most 300 ms");
        assert!(shaper.due(ms(600), 1_000, 0.5).is_some(), "it has room again");
    }

    proptest! {
        #[test]
        fn packets_keep_their_order_and_are_never_early(
            delay_ms in 0u32..500, jitter in 0u32..100, rate_kbit in 0u32..10_000,
            packets in proptest::collection::vec((0u64..50, 1usize..65_000, 0.0f64..=1.0), 1..60),
        ) {
            let jitter_ms = jitter.min(delay_ms);
            let mut shaper = Shaper::new(Link { delay_ms, jitter_ms, rate_kbit });
            let (mut now, mut last) = (Duration::ZERO, Duration::ZERO);
            for (pause, bytes, chance) in packets {
                now += ms(pause);
                if let Some(due) = shaper.due(now, bytes, chance) {
                    prop_assert!(due >= last && due >= now + ms((delay_ms - jitter_ms).into()) + shaper.takes(bytes));
                    last = due;
                }
            }
        }
    }
}

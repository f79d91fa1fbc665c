//! Monotonic milliseconds: the only notion of time that the pure cores know; and the engine's time stamps.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds on a monotonic clock whose zero is the start of the process (or of the run, in the harness).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The time from `earlier` to `self`; zero if `earlier` lies later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;
    fn add(self, rhs: Duration) -> Millis {
        let ms = u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX);
        Millis(self.0.saturating_add(ms))
    }
}

impl Sub<Millis> for Millis {
    type Output = Duration;
    fn sub(self, rhs: Millis) -> Duration {
        self.since(rhs)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, self.0 % 1000)
    }
}

/// The shells' clock: reads the machine's monotonic clock. Cores never see it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }

    /// Milliseconds since [`Clock::start`].
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis::default() + self.zero.elapsed()
    }
}

/// Milliseconds since the Unix epoch of a time as the engine writes it: RFC 3339, UTC (`2026-11-20T13:54:29.123456789Z`).
/// None for what isn't one, and for `0001-01-01T00:00:00Z`, the engine's word for never.
#[must_use]
pub fn unix_ms(time: &str) -> Option<u64> {
    let since_epoch = humantime::parse_rfc3339(time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since_epoch.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_times_are_read() {
        assert_eq!(unix_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_ms("2024-02-29T12:30:45.5Z"), Some(1_709_209_845_500));
        assert_eq!(unix_ms("2026-11-20T13:54:29.123456789Z"), Some(1_795_182_869_123));
        assert_eq!(unix_ms("0001-01-01T00:00:00Z"), None, "never started");
        assert_eq!(unix_ms("yesterday"), None);
    }
}

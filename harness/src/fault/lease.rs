//! Leases: every fault that is held has a deadline from the moment it is made. Whoever holds it (an outpost, the guard) undoes it
//! then by itself, whatever became of the runner.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::scenario::plan::{HOLD_MAX_MS, Hold};

/// From the end of a hold to the end of its lease: an undo that isn't acknowledged is tried again for 30 s by the runner itself.
pub const GRACE: Duration = Duration::from_secs(45);

/// How long the lease of a fault with this hold lasts.
#[must_use]
pub fn lease(hold: Hold) -> Duration {
    let hold_ms = match hold {
        Hold::Nothing => 0,
        Hold::For { ms } => ms,
        Hold::UntilConverged => HOLD_MAX_MS,
    };
    Duration::from_millis(hold_ms) + GRACE
}

/// Milliseconds of the kernel's monotonic clock, which all processes of this machine share.
#[must_use]
pub fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    u64::try_from(now.tv_sec() * 1_000 + now.tv_nsec() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlasts_its_hold_and_the_clock_goes_on() {
        assert_eq!(lease(Hold::For { ms: 1_000 }), Duration::from_secs(1) + GRACE);
        assert!(lease(Hold::UntilConverged) > Duration::from_millis(HOLD_MAX_MS));
        let before = monotonic_ms();
        std::thread::sleep(Duration::from_millis(5));
        assert!(monotonic_ms() >= before + 5);
    }
}

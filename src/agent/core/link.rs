//! The way to the leading master: who it is, and whether we are registered.

use std::time::Duration;

use crate::clock::Millis;

/// Retries slow down to this (Mesos's bound).
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A master that took the subscription but doesn't say `Registered` within this hangs.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where the registration stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Nobody leads, as far as is known.
    Leaderless,
    /// The next attempt comes at `at`.
    Waiting {
        /// `host:port` of the leading master.
        leader: String,
        /// When to try.
        at: Millis,
        /// Failed attempts so far.
        tries: u32,
    },
    /// An attempt is under way.
    Connecting {
        /// `host:port` of the leading master.
        leader: String,
        /// Given up at this time.
        until: Millis,
        /// Failed attempts so far.
        tries: u32,
    },
    /// Registered.
    Registered {
        /// `host:port` of the leading master.
        leader: String,
        /// `MasterInfo.hostname` of the master.
        master_hostname: String,
        /// Lost if nothing is heard until then.
        until: Millis,
        /// How long a silence may be.
        patience: Duration,
    },
}

impl Link {
    /// A first attempt at a new leader, after a random part of the back-off.
    #[must_use]
    pub fn to(leader: String, now: Millis, backoff: Duration, fraction: f64) -> Self {
        Self::Waiting { leader, at: now + backoff.mul_f64(fraction), tries: 0 }
    }

    /// The next attempt after a failure or loss: a random part of the back-off, doubled with every failure in a row. A `fixed`
    /// master that was lost is given the rest of the time in which it may be silent: nobody else tells, as an election does,
    /// that it is there again.
    #[must_use]
    pub fn again(&self, now: Millis, backoff: Duration, fraction: f64, fixed: bool) -> Self {
        let (leader, tries, from) = match self {
            Self::Leaderless => return Self::Leaderless,
            Self::Waiting { .. } => return self.clone(),
            Self::Connecting { leader, tries, .. } => (leader, tries + 1, now),
            Self::Registered { leader, until, .. } => (leader, 0, if fixed { now.max(*until) } else { now }),
        };
        let delay = (backoff * 2u32.saturating_pow(tries.min(16))).min(BACKOFF_MAX);
        Self::Waiting { leader: leader.clone(), at: from + delay.mul_f64(fraction), tries }
    }

    /// The leader's `host:port`, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        match self {
            Self::Leaderless => None,
            Self::Waiting { leader, .. } | Self::Connecting { leader, .. } | Self::Registered { leader, .. } => {
                Some(leader)
            }
        }
    }

    /// When time alone changes something.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        match self {
            Self::Leaderless => None,
            Self::Waiting { at, .. } => Some(*at),
            Self::Connecting { until, .. } | Self::Registered { until, .. } => Some(*until),
        }
    }

    /// Whether the agent is registered.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the recordings `masters-restart-default-timing` and `masters-failover-kill9`.
    #[test]
    fn a_fixed_master_is_waited_for_and_an_elected_one_asked_at_once() {
        let registered = Link::Registered {
            leader: "m:5050".into(),
            master_hostname: "m".into(),
            until: Millis(75_000),
            patience: Duration::from_secs(75),
        };
        let at = |now, fixed| registered.again(Millis(now), Duration::from_secs(1), 0.5, fixed).deadline();
        assert_eq!(at(1_000, true), Some(Millis(75_500)));
        assert_eq!(at(75_000, true), Some(Millis(75_500)));
        assert_eq!(at(1_000, false), Some(Millis(1_500)));
    }
}

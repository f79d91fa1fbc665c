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

    /// The next attempt after a failure or loss: a random part of the back-off, doubled with every failure in a row.
    #[must_use]
    pub fn again(&self, now: Millis, backoff: Duration, fraction: f64) -> Self {
        let (leader, tries) = match self {
            Self::Leaderless => return Self::Leaderless,
            Self::Waiting { .. } => return self.clone(),
            Self::Connecting { leader, tries, .. } => (leader, tries + 1),
            Self::Registered { leader, .. } => (leader, 0),
        };
        let delay = (backoff * 2u32.saturating_pow(tries.min(16))).min(BACKOFF_MAX);
        Self::Waiting { leader: leader.clone(), at: now + delay.mul_f64(fraction), tries }
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

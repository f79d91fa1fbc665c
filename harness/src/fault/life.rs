//! The life of a fault: a state machine that no fault escapes.
//!
//! ```text
//!              inject()          effect seen         undo()           gone again
//!  Planned ───────────► Injected ───────────► Seen ─────────► Undone ───────────► UndoneSeen
//!     │                    │                                    ▲
//!     │ target missing     │ never seen (INVALID), or error     │  from here on only undo is legal
//!     ▼                    └────────────────────────────────────┘
//!  Skipped
//! ```

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;

/// Where a fault is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Not made yet.
    Planned,
    /// Its target did not appear; nothing was done.
    Skipped,
    /// The engine or kernel has acknowledged the act.
    Injected,
    /// Its effect was seen from outside.
    Seen,
    /// The undo was acknowledged (or there is nothing to undo: the system must heal it).
    Undone,
    /// That the effect is gone was seen from outside.
    UndoneSeen,
}

/// A step that a fault's life doesn't allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault that is {from:?} cannot become {to:?}")]
pub struct IllegalStep {
    /// The stage it is in.
    pub from: Stage,
    /// The stage that was asked for.
    pub to: Stage,
}

/// Stage and the moments of its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Now.
    pub stage: Stage,
    /// When the act *began*: the clock of `failover` starts here.
    pub inject_begin: Option<Millis>,
    /// When the act was acknowledged.
    pub injected: Option<Millis>,
    /// When the effect was first seen.
    pub seen: Option<Millis>,
    /// When the undo *began* (its last try, if it took several): the clock of `rejoin` starts here.
    pub undo_begin: Option<Millis>,
    /// When the undo was acknowledged.
    pub undone: Option<Millis>,
    /// When it was first seen that the effect is gone.
    pub undone_seen: Option<Millis>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            stage: Stage::Planned,
            inject_begin: None,
            injected: None,
            seen: None,
            undo_begin: None,
            undone: None,
            undone_seen: None,
        }
    }
}

impl Life {
    /// The act begins. It may or may not take place, so undo is owed from here on.
    pub fn begin(&mut self, now: Millis) {
        self.inject_begin.get_or_insert(now);
    }

    /// The undo begins, or is tried again: nothing can rejoin before a try that is acknowledged.
    pub fn begin_undo(&mut self, now: Millis) {
        self.undo_begin = Some(now);
    }

    /// Moves on to `to`.
    ///
    /// # Errors
    /// If the drawing above has no such arrow.
    pub fn step(&mut self, to: Stage, now: Millis) -> Result<(), IllegalStep> {
        let legal = matches!(
            (self.stage, to),
            (Stage::Planned, Stage::Skipped | Stage::Injected | Stage::Undone)
                | (Stage::Injected, Stage::Seen | Stage::Undone)
                | (Stage::Seen, Stage::Undone)
                | (Stage::Undone, Stage::UndoneSeen)
        );
        if !legal {
            return Err(IllegalStep { from: self.stage, to });
        }
        self.stage = to;
        match to {
            Stage::Injected => self.injected = Some(now),
            Stage::Seen => self.seen = Some(now),
            Stage::Undone => self.undone = Some(now),
            Stage::UndoneSeen => self.undone_seen = Some(now),
            Stage::Planned | Stage::Skipped => {}
        }
        Ok(())
    }

    /// The fault may be in force: begun and not undone.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.inject_begin.is_some() && self.undone.is_none() && self.stage != Stage::Skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_arrows_exist() {
        let mut life = Life::default();
        assert!(life.step(Stage::Seen, Millis(1)).is_err());
        life.begin(Millis(1));
        assert!(life.in_force());
        assert_eq!(life.step(Stage::Injected, Millis(2)), Ok(()));
        assert_eq!(life.step(Stage::Undone, Millis(3)), Ok(()));
        assert!(!life.in_force());
        assert!(life.step(Stage::Injected, Millis(4)).is_err());
        assert_eq!(life.step(Stage::UndoneSeen, Millis(5)), Ok(()));
    }
}

//! The life of a fault: a state machine that no fault escapes.
//!
//! ```text
//!            begin                acknowledged           effect seen        begin_undo, acknowledged        gone again
//!  Planned ────────► Planned, begun ───────► Injected ─────────────► Seen ─────────────────────────► Undone ─────────► UndoneSeen
//!     │                    │                    │                                                      ▲
//!     │ target missing     │ not acknowledged   │ never seen (INVALID)                                 │
//!     ▼                    └────────────────────┴──────────────────────────────────────────────────────┘
//!  Skipped                   after an error only undo is legal
//! ```
//! A fault is in force from its beginning to the acknowledgement of its undo: what may have taken place must be undone.

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
#[error("a fault that is {from:?}{} cannot {what}", if *in_force { " (in force)" } else { "" })]
pub struct IllegalStep {
    /// The stage it is in.
    pub from: Stage,
    /// Whether it may be in force.
    pub in_force: bool,
    /// What was asked for.
    pub what: String,
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
    ///
    /// # Errors
    /// If it has begun before, or was skipped.
    pub fn begin(&mut self, now: Millis) -> Result<(), IllegalStep> {
        let legal = self.stage == Stage::Planned && self.inject_begin.is_none();
        self.legal(legal, "begin")?;
        self.inject_begin = Some(now);
        Ok(())
    }

    /// The undo begins, or is tried again: nothing can rejoin before a try that is acknowledged.
    ///
    /// # Errors
    /// If there is nothing to undo.
    pub fn begin_undo(&mut self, now: Millis) -> Result<(), IllegalStep> {
        self.legal(self.in_force(), "begin to be undone")?;
        self.undo_begin = Some(now);
        Ok(())
    }

    fn legal(&self, legal: bool, what: &str) -> Result<(), IllegalStep> {
        let illegal = || IllegalStep { from: self.stage, in_force: self.in_force(), what: what.to_owned() };
        if legal { Ok(()) } else { Err(illegal()) }
    }

    /// Moves on to `to`.
    ///
    /// # Errors
    /// If the drawing above has no such arrow.
    pub fn step(&mut self, to: Stage, now: Millis) -> Result<(), IllegalStep> {
        let begun = self.inject_begin.is_some();
        let legal = match (self.stage, to) {
            (Stage::Planned, Stage::Skipped) => !begun,
            (Stage::Planned, Stage::Injected | Stage::Undone) => begun,
            (Stage::Injected, Stage::Seen | Stage::Undone)
            | (Stage::Seen, Stage::Undone)
            | (Stage::Undone, Stage::UndoneSeen) => true,
            _ => false,
        };
        self.legal(legal, &format!("become {to:?}"))?;
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
    use proptest::prelude::*;

    use super::*;

    /// Whatever may be asked of a life.
    #[derive(Debug, Clone, Copy)]
    enum Move {
        Begin,
        Step(Stage),
        BeginUndo,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let stages = [Stage::Planned, Stage::Skipped, Stage::Injected, Stage::Seen, Stage::Undone, Stage::UndoneSeen];
        let one = prop_oneof![
            Just(Move::Begin),
            proptest::sample::select(stages.to_vec()).prop_map(Move::Step),
            Just(Move::BeginUndo)
        ];
        proptest::collection::vec(one, 0..24)
    }

    fn make(life: &mut Life, step: Move, now: Millis) -> Result<(), IllegalStep> {
        match step {
            Move::Begin => life.begin(now),
            Move::Step(to) => life.step(to, now),
            Move::BeginUndo => life.begin_undo(now),
        }
    }

    #[test]
    fn only_the_drawn_arrows_exist() {
        let mut life = Life::default();
        assert!(life.step(Stage::Injected, Millis(1)).is_err(), "nothing has begun");
        life.begin(Millis(1)).expect("legal");
        assert!(life.in_force());
        let again = life.begin(Millis(2)).expect_err("once is enough");
        assert_eq!(again.to_string(), "a fault that is Planned (in force) cannot begin");
        assert!(life.step(Stage::Skipped, Millis(2)).is_err(), "it may have taken place");
        assert_eq!(life.step(Stage::Injected, Millis(2)), Ok(()));
        assert_eq!(life.step(Stage::Undone, Millis(3)), Ok(()));
        assert!(!life.in_force());
        assert!(life.step(Stage::Injected, Millis(4)).is_err());
        assert!(life.begin_undo(Millis(4)).is_err(), "nothing is left to undo");
        assert_eq!(life.step(Stage::UndoneSeen, Millis(5)), Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_is_asked_of_a_life_it_keeps_to_the_drawing(moves in moves()) {
            let mut life = Life::default();
            for (now, step) in (1..).map(Millis).zip(moves) {
                let before = life.clone();
                if make(&mut life, step, now).is_err() {
                    prop_assert_eq!(&life, &before, "what is refused changes nothing");
                    continue;
                }
                prop_assert!(life.stage >= before.stage, "there is no way back");
                if before.in_force() && !life.in_force() {
                    prop_assert_eq!(life.undone, Some(now), "in force until the undo is acknowledged");
                }
                if !before.in_force() && life.in_force() {
                    prop_assert!(matches!(step, Move::Begin), "nothing but its beginning brings a fault into force");
                }
                let order = [life.inject_begin, life.injected, life.seen, life.undone, life.undone_seen];
                prop_assert!(order.iter().flatten().is_sorted(), "{order:?}");
                prop_assert_eq!(life.undone.is_some(), life.stage >= Stage::Undone);
                prop_assert!(life.seen.is_none() || life.injected.is_some(), "nothing is seen of what was not acknowledged");
                prop_assert!(life.stage != Stage::Skipped || life.inject_begin.is_none());
            }
            // From wherever it was left, what is in force can be undone.
            if life.in_force() {
                let end = Millis(100);
                prop_assert_eq!(life.begin_undo(end), Ok(()));
                prop_assert_eq!(life.step(Stage::Undone, end), Ok(()));
                prop_assert!(!life.in_force());
            }
        }
    }
}

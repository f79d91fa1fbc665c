//! What a session does to its topology: faults made, confirmed, held and undone.

use std::time::Duration;

use futures_util::future::join_all;
use stormbed::clock::Millis;

use super::session::{Session, Stop};
use crate::fault::Victim;
use crate::fault::effect::{effect_seen, shows_at};
use crate::fault::inject::{self, is_undone_by_us, works};
use crate::fault::lease::lease;
use crate::fault::life::Stage;
use crate::observe::fast;
use crate::scenario::plan::{HOLD_MAX_MS, Hold};
use crate::target::quorum::keeps_quorum;

/// Between two tries.
const UNDO_AGAIN: Duration = Duration::from_secs(1);
/// Looks at a fault's victims alone, right after the act: engines and kernels show most effects at once.
const CONFIRM_LOOKS: usize = 10;
/// Between two of them.
const CONFIRM_EVERY: Duration = Duration::from_millis(20);

impl Session<'_> {
    /// Makes a fault on these victims. Whatever comes of it is in the fault's life.
    pub(super) async fn inject(&mut self, index: usize, victims: Vec<Victim>, hold: Hold) -> Result<(), Stop> {
        self.inject_all(vec![(index, victims, hold)]).await
    }

    /// Makes several faults at the same moment.
    pub(super) async fn inject_all(&mut self, faults: Vec<(usize, Vec<Victim>, Hold)>) -> Result<(), Stop> {
        let mut begun = Vec::new();
        for (index, victims, hold) in faults {
            self.owe(index, victims, hold)?;
            begun.push((index, hold));
        }
        for (index, _) in &begun {
            let fault = &mut self.faults[*index];
            let begun = fault.life.begin(self.shared.world.clock.now());
            begun.map_err(|illegal| Stop::Broken(format!("fault {}: {illegal}", fault.id)))?;
            self.tell_fault(*index, "begins");
        }
        let world = self.shared.world;
        let acts = begun.iter().map(|(index, hold)| inject::inject(world, &self.faults[*index], lease(*hold)));
        let done = join_all(acts).await;
        for ((index, hold), done) in begun.into_iter().zip(done) {
            match done {
                Ok(()) => {
                    self.step(index, Stage::Injected, "acknowledged");
                    self.hold(index, hold);
                }
                Err(why) => {
                    self.tell_fault(index, &format!("was not acknowledged: {why}"));
                    // It may have taken place all the same.
                    self.undo(&[index]).await?;
                }
            }
        }
        Ok(())
    }

    /// Names a fault's victims, and writes down what is owed to them before anything is done.
    fn owe(&mut self, index: usize, victims: Vec<Victim>, hold: Hold) -> Result<(), Stop> {
        let lost = self.seen.clone().is_some_and(|seen| keeps_quorum(&victims, &self.scene(index, &seen)).is_err());
        self.hit.extend(victims.iter().map(|victim| victim.container.clone()));
        let fault = &mut self.faults[index];
        fault.victims = victims;
        fault.took_quorum = lost;
        let works = works(&self.shared.world.shape, fault).map_err(Stop::Broken)?;
        let owed = self.shared.journal.owe(fault, &works, lease(hold));
        owed.map_err(|error| Stop::Broken(error.to_string()))
    }

    /// Notes when the hold ends.
    fn hold(&mut self, index: usize, hold: Hold) {
        let for_ms = match hold {
            Hold::Nothing => return,
            Hold::For { ms } => ms,
            Hold::UntilConverged => HOLD_MAX_MS,
        };
        let begin = self.faults[index].life.inject_begin;
        self.due.extend(begin.map(|begin| (index, Millis(begin.0 + for_ms))));
    }

    /// Undoes faults, all at the same time, as far as that is ours to do and not done yet. While an undo isn't acknowledged the
    /// fault stays in force, and ticks try it again.
    ///
    /// # Errors
    /// If one can't be undone: whatever is seen from here on is the testbed's doing.
    pub(super) async fn undo(&mut self, indices: &[usize]) -> Result<(), Stop> {
        let begin = self.now();
        let mut held = indices.to_owned();
        held.retain(|index| {
            self.due.remove(index);
            // What isn't in force, never or no more, has nothing to undo.
            self.faults[*index].life.begin_undo(begin).is_ok()
        });
        for index in &held {
            self.undoing.entry(*index).or_insert(begin);
        }
        let undone = held.iter().map(|index| inject::undo(self.shared.world, &self.faults[*index]));
        let undone = join_all(undone).await;
        let mut failed = Vec::new();
        for (index, done) in held.into_iter().zip(undone) {
            match done {
                Ok(()) => self.undone(index),
                Err(why) => failed.extend(self.not_undone(index, &why)),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(Stop::Broken(failed.join("; "))) }
    }

    fn undone(&mut self, index: usize) {
        self.undoing.remove(&index);
        if let Err(error) = self.shared.journal.settle(&self.faults[index].name) {
            self.errors.push(error.to_string());
        }
        self.step(index, Stage::Undone, "undone");
    }

    /// Has the undo tried again, or says that there is no time left for it.
    fn not_undone(&mut self, index: usize, why: &str) -> Option<String> {
        self.tell_fault(index, &format!("undo was not acknowledged: {why}"));
        let now = self.now();
        let first = self.undoing.get(&index).copied().unwrap_or(now);
        if now.since(first) < self.undo_within {
            self.due.insert(index, now + UNDO_AGAIN);
            return None;
        }
        let fault = &self.faults[index];
        Some(format!("fault {} ({} {}) can't be undone: {why}", fault.id, fault.kind, fault.target))
    }

    pub(super) fn effect_is_seen(&mut self, index: usize) {
        self.step(index, Stage::Seen, "effect seen");
        if !is_undone_by_us(&self.faults[index]) {
            // What its act owed (a container that was killed to be started again) is paid: it was acknowledged.
            if let Err(error) = self.shared.journal.settle(&self.faults[index].name) {
                self.errors.push(error.to_string());
            }
            self.step(index, Stage::Undone, "left to the system");
        }
    }

    /// Looks at the victims alone until the effect shows; what takes longer than a few looks shows in a tick.
    pub(super) async fn confirm(&mut self, index: usize) {
        let Some(mut look) = self.seen.as_ref().map(|seen| seen.observation.clone()) else {
            return;
        };
        let at = shows_at(&self.faults[index], &look);
        for _ in 0..CONFIRM_LOOKS {
            if self.faults[index].life.stage != Stage::Injected {
                return;
            }
            fast::look_again(self.shared.world, &mut look.fast, &at).await;
            if effect_seen(&self.faults[index], &look) {
                return self.effect_is_seen(index);
            }
            tokio::time::sleep(CONFIRM_EVERY).await;
        }
    }

    /// Undoes everything that is still in force.
    pub(super) async fn undo_all(&mut self) {
        // Ends: each try either undoes a fault, or comes nearer to the bound on all its tries.
        loop {
            let held = |index: &usize| {
                let fault = &self.faults[*index];
                is_undone_by_us(fault) && fault.life.in_force()
            };
            let held: Vec<usize> = (0..self.faults.len()).filter(held).collect();
            let Err(Stop::Broken(why)) = self.undo(&held).await else {
                if held.iter().any(|index| self.due.contains_key(index)) {
                    tokio::time::sleep(UNDO_AGAIN).await;
                    continue;
                }
                break;
            };
            self.errors.push(why);
            break;
        }
    }
}

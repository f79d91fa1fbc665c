//! The steps of a plan. A step and those that come `with = "previous"` form a group: its faults are held together, judged
//! together, and undone when the last of them has converged.

use std::time::Duration;

use stormbed::clock::Millis;

use super::session::{Session, Stop};
use crate::fault::inject::is_undone_by_us;
use crate::fault::life::Stage;
use crate::history::Convergence;
use crate::history::coverage::DEEP_GAP_MS;
use crate::scenario::RecoveryClock;
use crate::scenario::physics::after_undo;
use crate::scenario::plan::{HOLD_MAX_MS, Hold, PlannedAct, PlannedStep};

/// A part that is started again serves after some seconds (ZooKeeper: 2–3 s on an idle machine).
const UNDONE_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for a recovery: replacing a node takes 20 s on an idle machine, a session 10 s.
const RECOVERY_MS_MIN: u64 = 60_000;
/// A missed bound is seen to be missed only some time after it.
const BOUND_GRACE_MS: u64 = 5_000;

/// Whether the next step makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// It does.
    On,
    /// The cluster did not come back: what later steps would show would prove nothing.
    Stuck,
}

impl Session<'_> {
    /// All steps, in order.
    pub(super) async fn steps(&mut self) -> Result<(), Stop> {
        let plan = self.plan;
        let mut rest: &[PlannedStep] = &plan.steps;
        while !rest.is_empty() {
            let more = rest.iter().skip(1).take_while(|s| s.with_previous).count();
            let (group, later) = rest.split_at(1 + more);
            rest = later;
            if self.group(group).await? == Went::Stuck {
                self.say("the cluster did not come back in time; the steps that are left are not made");
                return Ok(());
            }
        }
        Ok(())
    }

    async fn group(&mut self, group: &[PlannedStep]) -> Result<Went, Stop> {
        let mut went = Went::On;
        let mut rest = group;
        while let Some(step) = rest.first() {
            let together = 1 + rest.iter().skip(1).take_while(|step| step.together).count();
            let (now, later) = rest.split_at(together);
            rest = later;
            self.wait_for_turn(step).await?;
            // After the waits, however long: what the act is to break must be seen to hold just before it.
            if !step.with_previous && !self.is_swept() {
                self.enter(&format!("{} sweep", step.id));
                self.sweep().await?;
                self.enter(&step.id);
            }
            match &step.act {
                PlannedAct::Fault { .. } => self.strike(now).await?,
                PlannedAct::Storm { .. } => went = self.storm(step).await?,
                PlannedAct::Watch { for_ms } => self.pass(Duration::from_millis(*for_ms)).await?,
            }
        }
        let faults = group.iter().filter(|s| matches!(s.act, PlannedAct::Fault { .. }));
        let faults: Vec<(usize, &PlannedStep)> =
            faults.filter_map(|step| Some((self.index_of(&step.id)?, step))).collect();
        if faults.is_empty() {
            return Ok(went);
        }
        self.recover(&faults).await
    }

    /// A whole sweep began after the last fault was over, agrees, and is as young as deep evidence must be: before a first step that
    /// is the one of the steady cluster.
    fn is_swept(&self) -> bool {
        let over = self.faults.iter().filter_map(|fault| fault.life.undone.or(fault.life.inject_begin)).max();
        let young = |end: Millis| self.now().since(end) <= Duration::from_millis(DEEP_GAP_MS);
        let fresh = self.swept.is_some_and(|(begin, end)| young(end) && over.is_none_or(|over| begin >= over));
        fresh && self.history.lacking().is_empty()
    }

    /// Waits until the step may begin: its round's time has come, and its own wait is over.
    pub(super) async fn wait_for_turn(&mut self, step: &PlannedStep) -> Result<(), Stop> {
        self.enter(&step.id);
        if let Some(begun) = step.after.as_ref().and_then(|after| Some((self.begun.get(&after.step)?, after.ms))) {
            let (begun, ms) = (*begun.0, begun.1);
            let due = begun + Duration::from_millis(ms);
            self.pass(due.since(self.now())).await?;
        }
        self.begun.insert(step.id.clone(), self.now());
        self.pass(Duration::from_millis(step.wait_ms)).await
    }

    /// From the injection to everything being back: failover, undo, rejoin.
    async fn recover(&mut self, group: &[(usize, &PlannedStep)]) -> Result<Went, Stop> {
        let Some((last, step)) = group.last() else {
            return Ok(Went::On);
        };
        self.enter(&format!("{} failover", step.id));
        let failed_over = self.converge(*last, RecoveryClock::Failover, bound_of(group)).await?;
        if let Some(begun) = group.iter().filter_map(|(i, _)| self.faults[*i].began()).min() {
            self.events(group, begun, false).await?;
        }
        let until_converged =
            |step: &PlannedStep| matches!(step.act, PlannedAct::Fault { hold: Hold::UntilConverged, .. });
        let over: Vec<usize> = group.iter().filter(|(_, step)| until_converged(step)).map(|(i, _)| *i).collect();
        self.undo(&over).await?;
        // The holds that end by time.
        let bound = Duration::from_millis(group.iter().map(|(_, s)| hold_ms(s)).max().unwrap_or(0));
        let over = |session: &Self| group.iter().all(|(i, _)| !session.is_held(*i));
        self.until(bound + UNDONE_WITHIN, over).await?;
        let gone = |session: &Self| {
            let ended = |i: usize| session.faults[i].life.stage != Stage::Undone;
            group.iter().all(|(i, _)| ended(*i))
        };
        self.enter(&format!("{} rejoin", step.id));
        let back = self.until(UNDONE_WITHIN, gone).await?;
        if let Some(undone) = group.iter().filter_map(|(i, _)| self.faults[*i].life.undone).max() {
            self.events(group, undone, true).await?;
        }
        let mut rejoined = true;
        for (index, _) in group {
            if is_undone_by_us(&self.faults[*index]) && self.faults[*index].life.undone.is_some() {
                rejoined &= self.converge(*index, RecoveryClock::Rejoin, bound_of(group)).await?;
                self.account_of(*index).await;
            }
        }
        // A failover that a hold cut short is no reason to stop: the rejoin tells whether the cluster is well.
        let cut = group.iter().any(|(i, _)| is_undone_by_us(&self.faults[*i]));
        let well = back && rejoined && (failed_over || cut);
        Ok(if well { Went::On } else { Went::Stuck })
    }

    /// Waits until both tiers have converged on this clock of the fault, sweeping once the fast one has.
    pub(super) async fn converge(&mut self, index: usize, clock: RecoveryClock, bound: Duration) -> Result<bool, Stop> {
        let end = self.now() + bound;
        loop {
            let fault = &self.faults[index];
            if fault.life.stage == Stage::Skipped || fault.life.inject_begin.is_none() {
                return Ok(true);
            }
            if matches!(self.history.converged(fault, clock), Convergence::Converged(_)) {
                return Ok(true);
            }
            let cut = clock == RecoveryClock::Failover && is_undone_by_us(fault) && fault.life.undo_begin.is_some();
            if cut || self.now() >= end {
                return Ok(false);
            }
            if matches!(self.history.fast_converged(fault, clock), Convergence::Converged(_)) {
                self.want_sweep();
            }
            self.tick().await?;
        }
    }

    /// Gives expected events that have not come yet a last chance: while their fault is held, or after its undo.
    async fn events(&mut self, group: &[(usize, &PlannedStep)], since: Millis, undone: bool) -> Result<(), Stop> {
        let come = |session: &Self| {
            group.iter().all(|(index, step)| {
                let fault = &session.faults[*index];
                let due = step.expect.iter().filter(|event| undone || !after_undo(fault.kind, **event));
                due.into_iter().all(|event| session.history.event_seen(fault, *event).is_some())
            })
        };
        let bound = Duration::from_millis(HOLD_MAX_MS).saturating_sub(self.now().since(since));
        if !self.until(bound, come).await? {
            self.say("not every expected event has come");
        }
        Ok(())
    }

    fn is_held(&self, index: usize) -> bool {
        let fault = &self.faults[index];
        is_undone_by_us(fault) && fault.life.in_force()
    }

    pub(super) fn index_of(&self, id: &str) -> Option<usize> {
        self.faults.iter().position(|fault| fault.id == id)
    }
}

/// The longest bound that the group's steps give, and not less than what a recovery may take.
fn bound_of(group: &[(usize, &PlannedStep)]) -> Duration {
    let bounds = group.iter().flat_map(|(_, step)| &step.recovered);
    let longest = bounds.map(|bound| bound.within_ms).max().unwrap_or(0);
    Duration::from_millis(RECOVERY_MS_MIN.max(longest + BOUND_GRACE_MS))
}

fn hold_ms(step: &PlannedStep) -> u64 {
    match step.act {
        PlannedAct::Fault { hold: Hold::For { ms }, .. } => ms,
        _ => 0,
    }
}

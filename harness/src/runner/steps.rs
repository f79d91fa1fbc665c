//! The steps of a plan. A step and those that come `with = "previous"` form a group: its faults are held together, judged
//! together, and undone when the last of them has converged.

use std::time::Duration;

use stormbed::clock::Millis;

use super::session::{Session, Stop};
use crate::fault::Victim;
use crate::fault::inject::is_undone_by_us;
use crate::fault::life::Stage;
use crate::history::Convergence;
use crate::history::coverage::DEEP_GAP_MS;
use crate::scenario::RecoveryClock;
use crate::scenario::physics::after_undo;
use crate::scenario::plan::{HOLD_MAX_MS, Hold, PlannedAct, PlannedStep, RESOLVE_WITHIN_MS};
use crate::target::{recorded, resolve};

/// An effect shows in the next tick, which takes 3 s at most; a cut when a packet meets it: a ZooKeeper client speaks every 1.5 s.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
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
        for step in group {
            if !step.with_previous && !self.is_swept() {
                self.enter(&format!("{} sweep", step.id));
                self.sweep().await?;
            }
            self.enter(&step.id);
            self.pass(Duration::from_millis(step.wait_ms)).await?;
            match &step.act {
                PlannedAct::Fault { hold, .. } => self.fault(&step.id, *hold).await?,
                PlannedAct::Storm { for_ms, draws } => {
                    went = self.storm(&step.id, *for_ms, draws).await?;
                }
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

    /// Resolves, injects, and waits for the effect.
    async fn fault(&mut self, id: &str, hold: Hold) -> Result<(), Stop> {
        let Some(index) = self.index_of(id) else {
            return Err(Stop::Broken(format!("the plan has no fault {id}")));
        };
        let within = Duration::from_millis(RESOLVE_WITHIN_MS);
        // The role must be live now, not in the tick before the wait.
        self.fresh_tick().await?;
        self.until(within, |session| session.aim(index).is_ok()).await?;
        let victims = match self.aim(index) {
            Ok(victims) => victims,
            Err(why) => {
                self.step(index, Stage::Skipped, &why);
                return Ok(());
            }
        };
        self.inject(index, victims, hold).await?;
        // At once: the cut-off leader steps down when it has missed its followers for an election timeout.
        let stale = self.write_stale(index);
        self.confirm(index).await;
        let seen = |session: &Self| session.faults[index].life.stage > Stage::Injected;
        if !self.until(EFFECT_WITHIN, seen).await? {
            self.say(&format!("no effect of {id} was seen"));
        }
        self.testify(index, stale).await
    }

    /// Whom the fault hits as things stand now: whoever holds the role, or the victims that its plan names.
    fn aim(&self, index: usize) -> Result<Vec<Victim>, String> {
        let fault = &self.faults[index];
        let seen = self.seen.as_ref().ok_or("nothing was seen yet")?;
        let scene = self.scene(index, seen);
        match self.plan.pins.get(&fault.id) {
            Some(names) => recorded(names, fault.target.class, &scene),
            None => resolve(&fault.target, &scene, self.plan.seed, &fault.id)
                .ok_or_else(|| "nothing held the role in time".to_owned()),
        }
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
                let bound = Duration::from_millis(RECOVERY_MS_MIN);
                rejoined &= self.converge(*index, RecoveryClock::Rejoin, bound).await?;
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

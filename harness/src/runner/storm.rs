//! Storms: drawn faults at their times. A draw without an eligible target, or one that would take a quorum away, is skipped
//! and counted; nothing is waited for.

use std::time::Duration;

use super::session::{Session, Stop};
use super::steps::Went;
use crate::fault::Victim;
use crate::fault::life::Stage;
use crate::scenario::plan::{Draw, PlannedAct, PlannedStep};
use crate::target::quorum::{keeps_data, keeps_quorum};
use crate::target::{Scene, candidates, choose, count, recorded};

/// After a storm everything must be back: several nodes may be replaced one after another (20 s each on an idle machine).
const CALM_WITHIN: Duration = Duration::from_secs(90);
/// Everything has held for this long: the same as a recovery must.
const CALM_MS: u64 = 2_000;

/// What a storm may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) at_most: Option<u32>,
    pub(super) allow_quorum_loss: bool,
}

impl Session<'_> {
    pub(super) async fn storm(&mut self, step: &PlannedStep) -> Result<Went, Stop> {
        let PlannedAct::Storm { for_ms, at_most, allow_quorum_loss, draws } = &step.act else {
            return Ok(Went::On);
        };
        let rules = Rules { at_most: *at_most, allow_quorum_loss: *allow_quorum_loss };
        let begin = self.now();
        for draw in draws {
            let since = self.now().since(begin);
            let at = Duration::from_millis(draw.at_ms);
            self.pass(at.saturating_sub(since)).await?;
            self.draw(draw, rules).await?;
        }
        let since = self.now().since(begin);
        self.pass(Duration::from_millis(*for_ms).saturating_sub(since)).await?;
        // The holds that are left end by themselves.
        let longest = self.due.values().copied().max().unwrap_or_default();
        let left = longest.since(self.now()) + Duration::from_secs(1);
        self.until(left, |session| session.due.is_empty()).await?;
        self.enter(&format!("{} calm", step.id));
        let end = self.now() + CALM_WITHIN;
        while self.now() < end {
            if self.history.all_held_ms() >= CALM_MS {
                return Ok(Went::On);
            }
            self.want_sweep();
            self.tick().await?;
        }
        Ok(Went::Stuck)
    }

    async fn draw(&mut self, draw: &Draw, rules: Rules) -> Result<(), Stop> {
        let Some(index) = self.index_of(&draw.id) else {
            return Err(Stop::Broken(format!("the plan has no fault {}", draw.id)));
        };
        let seen = self.fresh_tick().await?;
        let chosen = self.chosen(draw, rules, &self.scene(index, &seen));
        match chosen {
            Ok(victims) => {
                self.inject(index, victims, draw.hold).await?;
                self.confirm(index).await;
            }
            Err(why) => self.step(index, Stage::Skipped, &why),
        }
        Ok(())
    }

    /// Whom a draw hits, if the storm's rules allow it.
    pub(super) fn chosen(&self, draw: &Draw, rules: Rules, scene: &Scene<'_>) -> Result<Vec<Victim>, String> {
        let under_way =
            self.faults.iter().filter(|fault| fault.began().is_some() && fault.life.stage < Stage::UndoneSeen);
        let under_way = under_way.count();
        if rules.at_most.is_some_and(|most| under_way >= most as usize) {
            return Err(format!("{under_way} faults are in force or being healed already"));
        }
        let keeps = |victims: &[Victim]| match rules.allow_quorum_loss {
            true => keeps_data(draw.kind, victims, scene),
            false => keeps_quorum(victims, scene),
        };
        let victims = match self.plan.pins.get(&draw.id) {
            Some(names) => recorded(names, draw.target.class, scene)?,
            None => {
                let mut why = "nothing holds the role now".to_owned();
                let mut eligible = candidates(&draw.target, scene);
                eligible.retain(|victim| match keeps(std::slice::from_ref(victim)) {
                    Ok(()) => true,
                    Err(refused) => {
                        why = refused;
                        false
                    }
                });
                let count = count(&draw.target, scene.shape, eligible.len());
                choose(eligible, count, self.plan.seed, &draw.id).ok_or(why)?
            }
        };
        // Each may be lost alone, and all of them together not.
        keeps(&victims).map(|()| victims)
    }
}

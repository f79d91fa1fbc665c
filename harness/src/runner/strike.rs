//! Making a step's faults: waiting for the moment, aiming at whoever holds the role, and then the act. Faults that are made together
//! are all aimed first, and made at the same moment.

use std::time::Duration;

use super::session::{Session, Stop};
use crate::fault::Victim;
use crate::fault::life::Stage;
use crate::scenario::When;
use crate::scenario::plan::{Hold, PlannedAct, PlannedStep};
use crate::target::quorum::keeps_data;
use crate::target::{is_healing, is_led, recorded, resolve};

/// An effect shows in the next tick, which takes 3 s at most; a cut when a packet meets it: a ZooKeeper client speaks every 1.5 s.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Waits for the moment, aims, makes the faults of these steps at once, and waits for their effects.
    pub(super) async fn strike(&mut self, steps: &[PlannedStep]) -> Result<(), Stop> {
        let mut aims: Vec<(usize, Hold)> = Vec::new();
        for step in steps {
            let PlannedAct::Fault { hold, .. } = step.act else {
                continue;
            };
            let index = self.index_of(&step.id);
            aims.push((index.ok_or_else(|| Stop::Broken(format!("the plan has no fault {}", step.id)))?, hold));
        }
        let Some(first) = steps.first() else {
            return Ok(());
        };
        let within = Duration::from_millis(first.resolve_within_ms);
        // The role must be live now, not in the tick before the wait.
        self.fresh_tick().await?;
        let ready = |session: &Self| aims.iter().all(|(index, _)| session.aim(*index, first.when).is_ok());
        self.until(within, ready).await?;
        let mut victims = Vec::new();
        for (index, hold) in aims {
            match self.aim(index, first.when) {
                Ok(aimed) => {
                    // What is made at the same moment doesn't hit the same part twice.
                    self.hit.extend(aimed.iter().map(|victim| victim.container.clone()));
                    victims.push((index, aimed, hold));
                }
                Err(why) => self.step(index, Stage::Skipped, &why),
            }
        }
        let made: Vec<usize> = victims.iter().map(|(index, ..)| *index).collect();
        self.inject_all(victims).await?;
        self.see(&made).await
    }

    /// Waits for the effects.
    async fn see(&mut self, made: &[usize]) -> Result<(), Stop> {
        // At once: the cut-off leader steps down when it has missed its followers for an election timeout.
        let stale: Vec<_> = made.iter().map(|index| (*index, self.write_stale(*index))).collect();
        for index in made {
            self.confirm(*index).await;
        }
        let seen = |session: &Self| made.iter().all(|index| session.faults[*index].life.stage > Stage::Injected);
        if !self.until(EFFECT_WITHIN, seen).await? {
            let unseen = made.iter().map(|index| &self.faults[*index]);
            let unseen = unseen.filter(|fault| fault.life.stage <= Stage::Injected);
            let unseen: Vec<String> = unseen.map(|fault| fault.id.clone()).collect();
            self.say(&format!("no effect of {} was seen", unseen.join(", ")));
        }
        for (index, stale) in stale {
            self.testify(index, stale).await?;
        }
        Ok(())
    }

    /// Whom the fault hits as things stand now: whoever holds the role, or the victims that its plan names. During an election the
    /// roles are those of just before it.
    fn aim(&self, index: usize, when: Option<When>) -> Result<Vec<Victim>, String> {
        let fault = &self.faults[index];
        let seen = self.seen.as_ref().ok_or("nothing was seen yet")?;
        let class = fault.target.class;
        let seen = match when {
            Some(When::DuringElection) if is_led(class, &seen.truth) => {
                return Err("no election was under way in time".to_owned());
            }
            Some(When::DuringElection) => self.led.get(&class).ok_or("nobody was seen to lead before the election")?,
            Some(When::DuringHeal) if !is_healing(&self.scene(index, seen)) => {
                return Err("nothing was healing in time".to_owned());
            }
            _ => seen,
        };
        let scene = self.scene(index, seen);
        let victims = match self.plan.pins.get(&fault.id) {
            Some(names) => recorded(names, class, &scene)?,
            None => resolve(&fault.target, &scene, self.plan.seed, &fault.id).ok_or("nothing held the role in time")?,
        };
        keeps_data(fault.kind, &victims, &scene).map(|()| victims)
    }
}

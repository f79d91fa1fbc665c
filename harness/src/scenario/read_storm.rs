//! The meaning of a storm: that it can act, and how much it can do at most.

use super::duration::format_ms;
use super::file::StormKeys;
use super::read_fault::Named;
use super::read_step::Reader;
use super::read_target::takes;
use super::{FaultAct, Storm, StormFault};
use crate::document::place::Place;
use crate::fault::TargetClass;

/// More faults than this are drawn by no storm: the topology lives for hours, not for weeks.
const DRAWS_MAX: u64 = 10_000;

impl Reader<'_, '_> {
    /// The storm that these keys mean.
    pub fn storm(&mut self, keys: &StormKeys, at: &Place) -> Option<Storm> {
        let (every_min_ms, every_max_ms) = keys.every.0;
        let for_ms = keys.r#for.as_ref().map(|time| time.0);
        if for_ms.is_none() && keys.count.is_none() {
            self.d.at(at, "a storm has no end", "bound it by time with for = \"60s\", or by number with count = 10");
        }
        if let Some(for_ms) = for_ms.filter(|for_ms| *for_ms < every_max_ms) {
            let message = format!("a storm of {} may end before its first fault", format_ms(for_ms));
            let help =
                format!("the first fault comes up to {} after its begin: let it last longer", format_ms(every_max_ms));
            self.d.at(&at.key("for"), message, help);
        }
        let most = for_ms.map_or(u64::MAX, |for_ms| for_ms / every_min_ms).min(keys.count.map_or(u64::MAX, u64::from));
        if for_ms.is_some() && most > DRAWS_MAX {
            let message = format!("this storm may draw {most} faults");
            self.d.at(
                &at.key("every"),
                message,
                format!("at most {DRAWS_MAX}: a shorter 'for', a longer 'every', or a 'count'"),
            );
        }
        let allow_quorum_loss = keys.allow_quorum_loss.unwrap_or(false);
        let mut faults = vec![];
        for (index, keys) in keys.faults.iter().enumerate() {
            let at = at.key("faults").item(index);
            let Some(keys) = keys else {
                continue;
            };
            if let Some(act) = self.fault(Named::from(keys), keys.r#for.as_ref(), &at) {
                if !allow_quorum_loss {
                    self.can_act(&act, &at.key("target"));
                }
                faults.push(StormFault { act, weight: keys.weight.unwrap_or(1) });
            }
        }
        let (count, at_most) = (keys.count, keys.at_most);
        Some(Storm { for_ms, count, at_most, allow_quorum_loss, every_min_ms, every_max_ms, seed: keys.seed, faults })
    }

    /// A fault that would always take a quorum away would always be skipped.
    fn can_act(&mut self, act: &FaultAct, at: &Place) {
        let class = act.target.class;
        let votes = matches!(
            class,
            TargetClass::Node
                | TargetClass::MesosMaster
                | TargetClass::ZooKeeper
                | TargetClass::Host
                | TargetClass::Topology
        );
        let (all, taken) = (self.limits.number_of(class), takes(&act.target, self.limits));
        let quorum = all / 2 + 1;
        if votes && all.saturating_sub(taken) < quorum {
            let message = format!(
                "this can never happen in a storm: it leaves {} of {all} {class}s, a quorum is {quorum}",
                all.saturating_sub(taken)
            );
            self.d.at(at, message, "aim at fewer of them, make it a step of its own, or say allow-quorum-loss = true");
        }
    }
}

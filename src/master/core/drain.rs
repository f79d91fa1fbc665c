//! Agents that the operator takes out of use: deactivated ones get no more tasks, drained ones lose those that they have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Master;
use super::registrar::Change;
use crate::clock::Millis;
use crate::mesos::types::{AgentId, DurationInfo, FrameworkId, KillPolicy, TaskId};

/// Why an agent is out of use. Kept in the registry: the next leader goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivation {
    /// When it began (nanoseconds since 1970).
    pub since_ns: i64,
    /// How its tasks are to end; they stay when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// How an agent is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// No task's grace is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_max: Option<DurationInfo>,
    /// Whether the agent is gone for ever once it is empty.
    pub mark_gone: bool,
}

impl Master {
    /// The operator wants an agent out of use.
    pub(super) fn deactivate(&mut self, now: Millis, id: AgentId, drain: Option<Drain>) {
        let deactivation = Deactivation { since_ns: self.wall_ns(now), drain };
        self.decide(now, Change::Deactivate(id, deactivation));
    }

    /// An agent is out of use, and the registry says so.
    pub(super) fn agent_deactivated(&mut self, id: &AgentId, drain: Option<Drain>) {
        self.rescind(|offered| offered.agent_id == *id);
        let Some(drain) = drain else {
            return;
        };
        let mut kills: Vec<(FrameworkId, TaskId, Option<KillPolicy>)> = Vec::new();
        for (framework_id, framework) in &mut self.frameworks {
            let here = framework.tasks.values_mut();
            for task in here.filter(|task| task.info.agent_id == *id && !task.state.is_terminal()) {
                let policy = drain.policy(task.info.kill_policy);
                task.kill = Some(policy);
                kills.push((framework_id.clone(), task.info.task_id.clone(), policy));
            }
        }
        for (framework_id, task_id, policy) in kills {
            self.send_kill(&framework_id, id, task_id, policy);
        }
    }

    /// Whether an agent is out of use, and why.
    #[must_use]
    pub fn deactivation(&self, id: &AgentId) -> Option<&Deactivation> {
        self.registry.deactivated.get(id.as_str())
    }

    /// Whether an agent is connected and in use.
    #[must_use]
    pub fn is_active(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| agent.stream.is_some()) && self.deactivation(id).is_none()
    }

    pub(super) fn is_draining(&self, id: &AgentId) -> bool {
        self.deactivation(id).is_some_and(|deactivation| deactivation.drain.is_some())
    }

    /// Whether an agent has no tasks any more, not even one whose end isn't acknowledged.
    #[must_use]
    pub fn is_empty(&self, id: &AgentId) -> bool {
        !self.frameworks.values().flat_map(|framework| framework.tasks.values()).any(|task| task.info.agent_id == *id)
    }

    /// Drained agents that were to be gone then.
    pub(super) fn end_drains(&mut self, now: Millis) {
        let wanted = self.registry.deactivated.iter().filter(|(_, why)| why.drain.is_some_and(|drain| drain.mark_gone));
        let drained: Vec<AgentId> = wanted
            .map(|(id, _)| AgentId::new(id.clone()))
            .filter(|id| self.agents.contains_key(id) && self.is_empty(id) && !self.registrar.is_changing(id))
            .collect();
        for id in drained {
            let since_ns = self.wall_ns(now);
            self.decide(now, Change::Gone(id, since_ns));
        }
    }
}

impl Drain {
    /// A task's own grace, if that isn't longer than allowed.
    fn policy(self, own: Option<KillPolicy>) -> Option<KillPolicy> {
        let Some(bound) = self.grace_max else {
            return own;
        };
        let grace = own.and_then(|policy| policy.grace_period).filter(|own| own.nanoseconds < bound.nanoseconds);
        Some(KillPolicy { grace_period: Some(grace.unwrap_or(bound)) })
    }

    /// From the call's `max_grace_period`.
    #[must_use]
    pub fn new(grace_max: Option<Duration>, mark_gone: bool) -> Self {
        let nanoseconds = |grace: Duration| i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        Self { grace_max: grace_max.map(|grace| DurationInfo { nanoseconds: nanoseconds(grace) }), mark_gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_grace_counts() {
        let policy =
            |seconds: i64| KillPolicy { grace_period: Some(DurationInfo { nanoseconds: seconds * 1_000_000_000 }) };
        let drain = Drain::new(Some(Duration::from_secs(2)), false);
        assert_eq!(drain.policy(None), Some(policy(2)));
        assert_eq!(drain.policy(Some(policy(9))), Some(policy(2)));
        assert_eq!(drain.policy(Some(policy(1))), Some(policy(1)));
        assert_eq!(Drain::new(None, false).policy(Some(policy(9))), Some(policy(9)));
    }
}

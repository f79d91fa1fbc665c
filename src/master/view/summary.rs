//! `/state-summary`: agents and frameworks, with their tasks only counted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::core::Master;
use super::super::core::model::Task;
use super::v0::{show_agent, show_framework_briefly};
use crate::mesos::types::{AgentId, FrameworkId, TaskState};

/// The states that are counted.
const STATES: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

/// The body.
pub(super) fn summary(master: &Master) -> Value {
    let tasks = tasks(master);
    let agent = |id: &AgentId| {
        let agent = master.agents.get(id)?;
        let mine: Vec<_> = tasks.iter().filter(|(_, task)| task.info.agent_id == *id).copied().collect();
        let frameworks: BTreeSet<_> = mine.iter().map(|(owner, _)| owner.as_str()).collect();
        let mut shown = show_agent(master, id, agent);
        count(&mut shown, &mine);
        shown["framework_ids"] = json!(frameworks);
        Some(shown)
    };
    let framework = |id: &FrameworkId| {
        let framework = master.frameworks.get(id)?;
        let mine: Vec<_> = tasks.iter().filter(|(owner, _)| *owner == id).copied().collect();
        let agents: BTreeSet<_> = mine.iter().map(|(_, task)| task.info.agent_id.as_str()).collect();
        let mut shown = show_framework_briefly(master, framework);
        count(&mut shown, &mine);
        shown["slave_ids"] = json!(agents);
        Some(shown)
    };
    json!({
        "hostname": master.info.hostname,
        "slaves": master.agents.keys().filter_map(agent).collect::<Vec<_>>(),
        "frameworks": master.frameworks.keys().filter_map(framework).collect::<Vec<_>>(),
    })
}

/// All tasks of the frameworks that are there, and whose they are.
fn tasks(master: &Master) -> Vec<(&FrameworkId, &Task)> {
    let of = |(id, framework)| {
        let framework: &super::super::core::model::Framework = framework;
        let live = framework.tasks.values().chain(framework.unreachable.values());
        live.chain(&framework.completed).map(move |task| (id, task)).collect::<Vec<_>>()
    };
    master.frameworks.iter().flat_map(of).collect()
}

fn count(shown: &mut Value, tasks: &[(&FrameworkId, &Task)]) {
    for state in STATES {
        shown[state.as_str()] = json!(tasks.iter().filter(|(_, task)| task.state == state).count());
    }
}

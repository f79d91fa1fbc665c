//! `/metrics/snapshot`: numbers under Mesos's names.

use serde_json::{Map, Value, json};

use super::super::core::Master;
use super::super::desk::Desk;
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::TaskState;

/// Counters that are there from the start.
const COUNTERS: &[&str] = &[
    "slave_registrations",
    "slave_reregistrations",
    "slave_unreachable_completed",
    "valid_status_updates",
    "invalid_status_updates",
    "valid_status_update_acknowledgements",
    "invalid_status_update_acknowledgements",
    "messages_register_framework",
    "messages_reregister_framework",
    "messages_launch_tasks",
    "messages_kill_task",
    "messages_reconcile_tasks",
];

/// All numbers of a master; of one that doesn't lead only that.
pub async fn metrics(desk: &Desk) -> Value {
    let shown = desk.look(of_leader).await;
    shown.map_or_else(|| json!({ "master/elected": 0.0 }), Value::Object)
}

/// All numbers of a leader.
pub(super) fn of_leader(master: &Master, now: Millis) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| {
        shown.insert(format!("master/{name}"), value);
    };
    put("elected", json!(1.0));
    put("uptime_secs", json!(now.since(Millis::default()).as_secs_f64()));

    let agents = master.agents.len();
    let connected = master.agents.values().filter(|agent| agent.stream.is_some()).count();
    for (name, count) in [
        ("slaves_active", connected),
        ("slaves_connected", connected),
        ("slaves_disconnected", agents - connected),
        ("slaves_inactive", agents - connected),
        ("slaves_unreachable", master.registry.unreachable.len()),
        ("outstanding_offers", master.offers.len()),
    ] {
        put(name, json!(count));
    }
    let frameworks = master.frameworks.len();
    let connected = master.frameworks.values().filter(|f| f.stream.is_some()).count();
    put("frameworks_active", json!(connected));
    put("frameworks_connected", json!(connected));
    put("frameworks_disconnected", json!(frameworks - connected));
    put("frameworks_inactive", json!(frameworks - connected));

    for (name, count) in task_states(master) {
        put(&format!("tasks_{name}"), json!(count));
    }
    let mut total = Resources::new();
    for agent in master.agents.values() {
        total.add(&agent.total);
    }
    let used = master.used(|_, _| true);
    for name in ["cpus", "mem", "disk"] {
        let (all, part) = (total.scalar(name), used.scalar(name));
        put(&format!("{name}_total"), json!(all));
        put(&format!("{name}_used"), json!(part));
        put(&format!("{name}_percent"), json!(if all > 0.0 { part / all } else { 0.0 }));
    }
    for name in COUNTERS {
        put(name, json!(0));
    }
    for (name, count) in &master.counters {
        put(name, json!(count));
    }
    shown
}

/// How many tasks there are in each state, the ended ones of the remembered frameworks included.
fn task_states(master: &Master) -> Vec<(&'static str, usize)> {
    let states = [
        ("staging", TaskState::Staging),
        ("starting", TaskState::Starting),
        ("running", TaskState::Running),
        ("killing", TaskState::Killing),
        ("finished", TaskState::Finished),
        ("failed", TaskState::Failed),
        ("killed", TaskState::Killed),
        ("lost", TaskState::Lost),
        ("error", TaskState::Error),
        ("dropped", TaskState::Dropped),
        ("gone", TaskState::Gone),
        ("gone_by_operator", TaskState::GoneByOperator),
        ("unreachable", TaskState::Unreachable),
    ];
    let all = || {
        master.frameworks.values().chain(&master.completed).flat_map(|framework| {
            let live = framework.tasks.values().chain(framework.unreachable.values());
            live.chain(&framework.completed)
        })
    };
    let count = |state| all().filter(|task| task.state == state).count();
    states.map(|(name, state)| (name, count(state))).to_vec()
}

//! Answers of the operator API `/api/v1`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::core::model::{Framework, Task};
use super::super::core::{COMPLETED_FRAMEWORKS_MAX, Master};
use super::{AGENT_CAPABILITIES, offered, put, put_list, roles, used, version};
use crate::clock::Millis;
use crate::mesos::types::{AgentId, OfferId};

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

/// The answer to a call without effects; none if this master doesn't know the kind.
#[must_use]
pub fn v1(master: &Master, now: Millis, kind: &str) -> Option<Value> {
    let body = match kind {
        "GET_HEALTH" => json!({ "healthy": true }),
        "GET_VERSION" => json!({ "version_info": version() }),
        "GET_MASTER" => json!({
            "master_info": master.info,
            "start_time": master.wall_s(Millis::default()),
            "elected_time": master.wall_s(master.elected),
        }),
        "GET_AGENTS" => agents(master),
        "GET_FRAMEWORKS" => frameworks(master),
        "GET_TASKS" => tasks(master),
        "GET_ROLES" => roles::v1(master),
        "GET_LOGGING_LEVEL" => json!({ "level": 0 }),
        // Left out, and so there is nothing of it.
        "GET_WEIGHTS" => return Some(json!({ "type": kind })),
        "GET_QUOTA" | "GET_MAINTENANCE_STATUS" => json!({ "status": {} }),
        "GET_MAINTENANCE_SCHEDULE" => json!({ "schedule": {} }),
        "GET_OPERATIONS" => json!({}),
        "GET_FLAGS" => json!({ "flags": flags(master) }),
        "GET_EXECUTORS" => json!({ "executors": [] }),
        "GET_STATE" => json!({
            "get_tasks": tasks(master),
            "get_executors": { "executors": [] },
            "get_frameworks": frameworks(master),
            "get_agents": agents(master),
        }),
        "GET_METRICS" => {
            let all = super::metrics::of_leader(master, now);
            let one = |(name, value): (&String, &Value)| json!({ "name": name, "value": value });
            json!({ "metrics": all.iter().map(one).collect::<Vec<_>>() })
        }
        _ => return None,
    };
    Some(json!({ "type": kind, kind.to_ascii_lowercase(): body }))
}

/// The flags that mean something to this master, with Mesos's names and notation.
fn flags(master: &Master) -> Vec<Value> {
    let settings = &master.settings;
    let flags = [
        ("agent_ping_timeout", duration(settings.ping_interval)),
        ("agent_reregister_timeout", duration(settings.reregister_timeout)),
        ("allocation_interval", duration(settings.allocation_interval)),
        ("max_agent_ping_timeouts", settings.pings_max.to_string()),
        ("max_completed_frameworks", COMPLETED_FRAMEWORKS_MAX.to_string()),
        // The nearest of Mesos's names: the registry is durable, and one write makes it so.
        ("quorum", "1".to_owned()),
        ("registry", "replicated_log".to_owned()),
        ("zk_session_timeout", duration(settings.zk_session_timeout)),
    ];
    flags.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// `15secs`, `10mins`: the largest unit that leaves no rest.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.as_millis() {
        milliseconds if !milliseconds.is_multiple_of(1000) => format!("{milliseconds}ms"),
        _ if !seconds.is_multiple_of(60) || seconds == 0 => format!("{seconds}secs"),
        _ => format!("{}mins", seconds / 60),
    }
}

fn agents(master: &Master) -> Value {
    let one = |id: &AgentId| {
        let agent = master.agents.get(id)?;
        let capabilities = AGENT_CAPABILITIES.iter().map(|kind| json!({ "type": kind }));
        let mut shown = json!({
            "agent_info": {
                "hostname": agent.info.hostname,
                "port": agent.info.port,
                "resources": agent.total.to_wire(None),
                "id": id,
                "checkpoint": true,
            },
            "active": master.is_active(id),
            "deactivated": master.deactivation(id).is_some(),
            "version": agent.info.version,
            "pid": agent.pid(),
            "registered_time": nanoseconds(agent.registered_s),
            "total_resources": agent.total.to_wire_unrefined(None),
            "capabilities": capabilities.collect::<Vec<_>>(),
        });
        put_list(&mut shown["agent_info"], "attributes", &agent.info.attributes);
        put_list(&mut shown, "allocated_resources", used(master, |_, task| task.info.agent_id == *id));
        put_list(&mut shown, "offered_resources", offered(master, |offered| offered.agent_id == *id));
        put(&mut shown, "reregistered_time", agent.reregistered_s.map(nanoseconds));
        if let Some((since_ns, drain)) = master.deactivation(id).and_then(|why| Some((why.since_ns, why.drain?))) {
            let state = if master.is_empty(id) { "DRAINED" } else { "DRAINING" };
            let mut config = json!({ "mark_gone": drain.mark_gone });
            put(&mut config, "max_grace_period", drain.grace_max.map(|grace| json!(grace)));
            shown["drain_info"] = json!({ "state": state, "config": config });
            shown["estimated_drain_start_time"] = json!({ "nanoseconds": since_ns });
        }
        Some(shown)
    };
    let recovered = master.recovered.iter().map(|id| {
        let mut shown = json!(master.registry.admitted.get(id.as_str()));
        shown["checkpoint"] = json!(true);
        shown
    });
    json!({
        "agents": master.agents.keys().filter_map(one).collect::<Vec<_>>(),
        "recovered_agents": recovered.collect::<Vec<_>>(),
    })
}

fn frameworks(master: &Master) -> Value {
    let live = master.frameworks.values().map(|framework| show_framework(master, framework));
    let ended = master.completed.iter().map(|framework| show_framework(master, framework));
    json!({
        "frameworks": live.collect::<Vec<_>>(),
        "completed_frameworks": ended.collect::<Vec<_>>(),
    })
}

fn show_framework(master: &Master, framework: &Framework) -> Value {
    let id = framework.info.id.clone().unwrap_or_default();
    let offers = master.offers.iter().filter(|(_, offered)| offered.framework_id == id);
    let wire = |(id, offered): (&OfferId, _)| master.wire_offer(id, offered);
    let mut shown = json!({
        "framework_info": framework.info,
        "active": framework.stream.is_some(),
        "connected": framework.stream.is_some(),
        "recovered": framework.recovered,
        "allocated_resources": used(master, |owner, _| *owner == id),
        "offer_constraints": {},
    });
    // Of one that only its agents know there is nothing else to say.
    if !framework.recovered {
        shown["registered_time"] = nanoseconds(framework.registered_s);
        shown["reregistered_time"] = nanoseconds(framework.reregistered_s.unwrap_or(framework.registered_s));
        shown["offers"] = json!(offers.filter_map(wire).collect::<Vec<_>>());
        shown["offered_resources"] = json!(offered(master, |offered| offered.framework_id == id));
    }
    shown
}

fn tasks(master: &Master) -> Value {
    let all = || master.frameworks.values().chain(&master.completed);
    let show = |framework: &Framework, task: &Task| show_task(framework, task);
    let live: Vec<_> = all().flat_map(|f| f.tasks.values().map(|t| show(f, t)).collect::<Vec<_>>()).collect();
    let unreachable: Vec<_> =
        all().flat_map(|f| f.unreachable.values().map(|t| show(f, t)).collect::<Vec<_>>()).collect();
    let completed: Vec<_> = all().flat_map(|f| f.completed.iter().map(|t| show(f, t)).collect::<Vec<_>>()).collect();
    json!({ "tasks": live, "unreachable_tasks": unreachable, "completed_tasks": completed })
}

fn show_task(framework: &Framework, task: &Task) -> Value {
    let info = &task.info;
    let mut shown = json!({
        "name": info.name,
        "task_id": info.task_id,
        "framework_id": framework.info.id,
        "agent_id": info.agent_id,
        "state": task.state,
        "resources": info.resources,
        "statuses": task.statuses,
    });
    if let Some((state, uuid)) = &task.update {
        shown["status_update_state"] = json!(state);
        shown["status_update_uuid"] = json!(uuid);
    }
    put(&mut shown, "labels", info.labels.as_ref());
    put(&mut shown, "discovery", info.discovery.as_ref());
    put(&mut shown, "container", info.container.as_ref());
    shown
}

#[expect(clippy::cast_possible_truncation, reason = "nanoseconds since 1970 fit until 2262")]
fn nanoseconds(seconds: f64) -> Value {
    json!({ "nanoseconds": (seconds * NANOS) as i64 })
}

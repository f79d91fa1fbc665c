//! The old endpoints: `/state`, `/slaves`, `/frameworks`, `/tasks`, and some about what is left out.

use serde_json::{Map, Value, json};

use super::super::core::Master;
use super::super::core::model::{Agent, Framework, Task};
use super::{AGENT_CAPABILITIES, offered, put, roles, summary, used, version};
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{AgentId, FrameworkCapability, FrameworkId, ValueType};

/// Tasks that `/tasks` shows at once, without a limit of the caller's.
const TASKS_MAX: usize = 100;

/// The body of one of the old endpoints; `query` is what stands behind the `?`.
#[must_use]
pub fn v0(master: &Master, path: &str, query: &str) -> Value {
    match path {
        "/slaves" => {
            let wanted = parameter(query, "slave_id");
            let is_wanted = |id: &AgentId| wanted.is_none_or(|wanted| id.as_str() == wanted);
            let full = |(id, agent)| show_agent_fully(master, id, agent);
            let slaves: Vec<_> = master.agents.iter().filter(|(id, _)| is_wanted(id)).map(full).collect();
            json!({ "slaves": slaves, "recovered_slaves": recovered(master) })
        }
        "/frameworks" => json!({
            "frameworks": frameworks(master),
            "completed_frameworks": completed(master),
            "unregistered_frameworks": [],
        }),
        "/tasks" => tasks(master, query),
        "/roles" => roles::v0(master),
        "/state-summary" => summary::summary(master),
        // Left out, and so there is nothing of it.
        "/weights" => json!([]),
        "/quota" | "/maintenance/schedule" | "/maintenance/status" => json!({}),
        _ => state(master),
    }
}

/// A parameter of a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

/// Tasks by the time of their first status, the latest first unless `order=asc`.
fn tasks(master: &Master, query: &str) -> Value {
    let number = |name: &str, default: usize| parameter(query, name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let all = master.frameworks.values().chain(&master.completed);
    let mut tasks: Vec<_> = all
        .flat_map(|framework| {
            let live = framework.tasks.values().chain(framework.unreachable.values());
            live.chain(&framework.completed).map(move |task| (framework, task))
        })
        .collect();
    let begun = |task: &Task| task.statuses.first().and_then(|status| status.timestamp).unwrap_or_default();
    tasks.sort_by(|(_, a), (_, b)| begun(a).total_cmp(&begun(b)));
    if parameter(query, "order") != Some("asc") {
        tasks.reverse();
    }
    let page = tasks.iter().skip(number("offset", 0)).take(number("limit", TASKS_MAX));
    json!({ "tasks": page.map(|(framework, task)| show_task(framework, task)).collect::<Vec<_>>() })
}

fn state(master: &Master) -> Value {
    let info = &master.info;
    let active = master.agents.keys().filter(|id| master.is_active(id)).count();
    let mut shown = json!({
        "start_time": master.wall_s(Millis::default()),
        "elected_time": master.wall_s(master.elected),
        "id": info.id,
        "pid": info.pid,
        "hostname": info.hostname,
        "capabilities": info.capabilities.iter().map(|c| &c.kind).collect::<Vec<_>>(),
        "activated_slaves": active,
        "deactivated_slaves": master.agents.len() - active,
        "unreachable_slaves": master.registry.unreachable.len(),
        "leader": info.pid,
        "leader_info": {
            "id": info.id, "pid": info.pid, "port": info.port, "hostname": info.hostname,
        },
        "flags": {},
        "slaves": slaves(master),
        "recovered_slaves": recovered(master),
        "frameworks": frameworks(master),
        "completed_frameworks": completed(master),
        "orphan_tasks": [],
        "unregistered_frameworks": [],
    });
    if let (Value::Object(shown), Value::Object(build)) = (&mut shown, version()) {
        shown.extend(build);
    }
    shown
}

fn slaves(master: &Master) -> Vec<Value> {
    master.agents.iter().map(|(id, agent)| show_agent(master, id, agent)).collect()
}

fn recovered(master: &Master) -> Vec<Value> {
    let name = |id: &AgentId| master.registry.admitted.get(id.as_str()).map(|agent| &agent.hostname);
    let waiting = master.recovered.iter();
    waiting.map(|id| json!({ "id": id.value, "hostname": name(id) })).collect()
}

fn frameworks(master: &Master) -> Vec<Value> {
    master.frameworks.values().map(|framework| show_framework(master, framework)).collect()
}

fn completed(master: &Master) -> Vec<Value> {
    master.completed.iter().map(|framework| show_framework(master, framework)).collect()
}

pub(super) fn show_agent(master: &Master, id: &AgentId, agent: &Agent) -> Value {
    let attribute = |attribute: &crate::mesos::types::Attribute| {
        let text = attribute.text.as_ref().map(|text| json!(text.value));
        let number = attribute.scalar.map(|scalar| json!(scalar.value));
        (attribute.name.clone(), text.or(number).unwrap_or_default())
    };
    let attributes: Map<_, _> = agent.info.attributes.iter().map(attribute).collect();
    let mut shown = json!({
        "id": id.value,
        "hostname": agent.info.hostname,
        "port": agent.info.port,
        "attributes": attributes,
        "pid": agent.pid(),
        "registered_time": agent.registered_s,
        "resources": flat(&agent.total),
        "used_resources": flat(&master.used(|_, task| task.info.agent_id == *id)),
        "offered_resources": flat(&master.offered(|offered| offered.agent_id == *id)),
        "reserved_resources": reserved(agent),
        "unreserved_resources": flat(&agent.total.reserved_for("*")),
        "active": master.is_active(id),
        "deactivated": master.deactivation(id).is_some(),
        "version": agent.info.version,
        "capabilities": AGENT_CAPABILITIES,
    });
    put(&mut shown, "reregistered_time", agent.reregistered_s);
    shown
}

fn reserved(agent: &Agent) -> Map<String, Value> {
    let of = |role: &String| (role.clone(), flat(&agent.total.reserved_for(role)));
    agent.total.reserving_roles().iter().map(of).collect()
}

/// As `/slaves` shows it: the resources in full as well.
fn show_agent_fully(master: &Master, id: &AgentId, agent: &Agent) -> Value {
    let mut shown = show_agent(master, id, agent);
    let reserved = |role: &String| (role.clone(), json!(agent.total.reserved_for(role).to_wire_unrefined(None)));
    shown["reserved_resources_full"] = Value::Object(agent.total.reserving_roles().iter().map(reserved).collect());
    shown["unreserved_resources_full"] = json!(agent.total.reserved_for("*").to_wire_unrefined(None));
    shown["used_resources_full"] = json!(used(master, |_, task| task.info.agent_id == *id));
    shown["offered_resources_full"] = json!(offered(master, |offered| offered.agent_id == *id));
    shown
}

/// A framework without its tasks and offers.
pub(super) fn show_framework_briefly(master: &Master, framework: &Framework) -> Value {
    let info = &framework.info;
    let id = info.id.clone().unwrap_or_default();
    json!({
        "id": id.value,
        "name": info.name,
        "used_resources": flat(&master.used(|owner, _| *owner == id)),
        "offered_resources": flat(&master.offered(|offered| offered.framework_id == id)),
        "capabilities": info.capabilities.iter().map(|c| c.kind).collect::<Vec<_>>(),
        "hostname": info.hostname.as_deref().unwrap_or_default(),
        "webui_url": info.webui_url.as_deref().unwrap_or_default(),
        "active": framework.stream.is_some(),
        "connected": framework.stream.is_some(),
        "recovered": framework.recovered,
    })
}

fn show_framework(master: &Master, framework: &Framework) -> Value {
    let info = &framework.info;
    let id = info.id.clone().unwrap_or_default();
    let mut all = master.used(|owner, _| *owner == id);
    all.add(&master.offered(|offered| offered.framework_id == id));
    let task = |task: &Task| show_task(framework, task);
    let more = json!({
        "resources": flat(&all),
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "registered_time": framework.registered_s,
        "unregistered_time": framework.unregistered_s,
        "tasks": framework.tasks.values().map(task).collect::<Vec<_>>(),
        "unreachable_tasks": framework.unreachable.values().map(task).collect::<Vec<_>>(),
        "completed_tasks": framework.completed.iter().map(task).collect::<Vec<_>>(),
        "offers": show_offers(master, &id),
        "executors": [],
        "offer_constraints": {},
    });
    let mut shown = show_framework_briefly(master, framework);
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    if info.can(FrameworkCapability::MultiRole) {
        shown["roles"] = json!(info.roles);
    } else {
        shown["role"] = json!(info.role.as_deref().unwrap_or("*"));
    }
    put(&mut shown, "reregistered_time", framework.reregistered_s);
    put(&mut shown, "principal", info.principal.as_ref());
    put(&mut shown, "labels", info.labels.as_ref().map(|labels| &labels.labels));
    shown
}

fn show_offers(master: &Master, framework: &FrameworkId) -> Vec<Value> {
    let mine = master.offers.iter().filter(|(_, offered)| offered.framework_id == *framework);
    mine.map(|(id, offered)| {
        json!({
            "id": id.value,
            "framework_id": framework.value,
            "allocation_info": { "role": offered.role },
            "slave_id": offered.agent_id.value,
            "resources": flat(&offered.resources),
        })
    })
    .collect()
}

fn show_task(framework: &Framework, task: &Task) -> Value {
    let statuses: Vec<_> = task
        .statuses
        .iter()
        .map(|status| {
            let mut shown = json!({ "state": status.state, "timestamp": status.timestamp });
            put(&mut shown, "labels", status.labels.as_ref().map(|labels| &labels.labels));
            put(&mut shown, "container_status", status.container_status.as_ref());
            put(&mut shown, "healthy", status.healthy);
            shown
        })
        .collect();
    let info = &task.info;
    let mut shown = json!({
        "id": info.task_id.value,
        "name": info.name,
        "framework_id": framework.info.id.as_ref().map(|id| &id.value),
        "executor_id": "",
        "slave_id": info.agent_id.value,
        "state": task.state,
        "resources": flat(&task.resources),
        "role": task.role(),
        "statuses": statuses,
    });
    put(&mut shown, "labels", info.labels.as_ref().map(|labels| &labels.labels));
    put(&mut shown, "discovery", info.discovery.as_ref());
    put(&mut shown, "container", info.container.as_ref());
    shown
}

/// `{"cpus": 2.0, "mem": …, "disk": …, "gpus": 0.0, "ports": "[31000-31100]"}`.
fn flat(resources: &Resources) -> Value {
    let mut shown = Map::new();
    for name in ["disk", "mem", "gpus", "cpus"] {
        shown.insert(name.to_owned(), json!(resources.scalar(name)));
    }
    for (name, _, part) in resources.parts() {
        let value = match part.kind {
            ValueType::Scalar => json!(resources.scalar(name)),
            _ => json!(part.to_string().split_once(':').map(|(_, value)| value)),
        };
        shown.insert(name.to_owned(), value);
    }
    shown.into()
}

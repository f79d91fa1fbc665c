//! The agent's own HTTP endpoints: `/health` and `/state`, also under the process prefix that Mesos's agents have.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::core::link::Link;
use super::core::{Agent, task::Stage};
use super::protocol::RegisterAgent;

/// Prefix of an agent's process in Mesos.
const PREFIX: &str = "/slave(1)";

/// The router; `state` is the document of `/state`.
pub fn router(state: watch::Receiver<Arc<Value>>) -> Router {
    let endpoints = Router::new()
        .route("/health", get(|| async {}))
        .route("/state", get(document))
        .route("/state.json", get(document));
    Router::new().merge(endpoints.clone()).nest(PREFIX, endpoints).with_state(state)
}

async fn document(State(state): State<watch::Receiver<Arc<Value>>>) -> Json<Value> {
    let document = state.borrow().clone();
    Json(Value::clone(&document))
}

/// The document, with the field names of Mesos's agent.
#[must_use]
pub fn state(agent: &Agent, info: &RegisterAgent, started_s: f64) -> Value {
    let mut state = json!({
        "version": info.version,
        "id": agent.id().map_or("", |id| id.as_str()),
        "pid": format!("slave(1)@{}:{}", info.ip, info.port),
        "hostname": info.hostname,
        "start_time": started_s,
        "resources": info.resources,
        "frameworks": frameworks(agent),
    });
    if let Link::Registered { master_hostname, .. } = agent.link() {
        state["master_hostname"] = json!(master_hostname);
    }
    state
}

fn frameworks(agent: &Agent) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for (key, task) in agent.tasks().filter(|(_, task)| task.stage != Stage::Ended) {
        let id = key.framework_id.as_str();
        let executor = json!({
            "executor_id": key.task_id.value,
            "container": task.container,
            "tasks": [{"id": key.task_id.value, "name": task.info.name, "framework_id": id, "state": task.state}],
        });
        match all.last_mut().filter(|last| last["id"] == id) {
            Some(last) => {
                if let Some(executors) = last["executors"].as_array_mut() {
                    executors.push(executor);
                }
            }
            None => all.push(json!({"id": id, "executors": [executor]})),
        }
    }
    all
}

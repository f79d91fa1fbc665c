//! `POST /api/v1`, and the older `POST /teardown`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::super::core::drain::Drain;
use super::super::core::{Event, Refusal};
use super::super::desk::Desk;
use super::super::view;
use super::ladder::{check_accept, check_post, check_request};
use super::read::read_message;
use crate::mesos::types::{AgentId, FrameworkId};

/// The kinds of calls that have a body, under their own name in lower case.
const WITH_BODY: &[&str] = &[
    "GET_METRICS",
    "SET_LOGGING_LEVEL",
    "LIST_FILES",
    "READ_FILE",
    "UPDATE_WEIGHTS",
    "RESERVE_RESOURCES",
    "UNRESERVE_RESOURCES",
    "CREATE_VOLUMES",
    "DESTROY_VOLUMES",
    "GROW_VOLUME",
    "SHRINK_VOLUME",
    "UPDATE_MAINTENANCE_SCHEDULE",
    "START_MAINTENANCE",
    "STOP_MAINTENANCE",
    "UPDATE_QUOTA",
    "SET_QUOTA",
    "REMOVE_QUOTA",
    "TEARDOWN",
    "MARK_AGENT_GONE",
    "DRAIN_AGENT",
    "DEACTIVATE_AGENT",
    "REACTIVATE_AGENT",
];

pub(super) async fn answer(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_request(parts)?;
    let call: Map<String, Value> = read_message("master.Call", body)?;
    let expect = |name: &str| {
        let why = format!("Failed to validate master::Call: Expecting '{name}' to be present");
        Refusal::new(400, why)
    };
    let kind = call.get("type").and_then(Value::as_str).ok_or_else(|| expect("type"))?;
    let body = kind.to_ascii_lowercase();
    let body = match call.get(&body) {
        None if WITH_BODY.contains(&kind) => return Err(expect(&body)),
        body => body.unwrap_or(&Value::Null),
    };
    // The converter has seen that it is there.
    let id = |name: &str| body[name]["value"].as_str().unwrap_or_default();
    match kind {
        "TEARDOWN" => return teardown(desk, FrameworkId::from(id("framework_id"))).await,
        "MARK_AGENT_GONE" => return mark_gone(desk, AgentId::from(id("agent_id"))).await,
        "DRAIN_AGENT" => return out_of_use(desk, AgentId::from(id("agent_id")), Some(drain(body))).await,
        "DEACTIVATE_AGENT" => return out_of_use(desk, AgentId::from(id("agent_id")), None).await,
        "REACTIVATE_AGENT" => return in_use(desk, AgentId::from(id("agent_id"))).await,
        _ => {}
    }
    check_accept(&parts.headers)?;
    let shown = desk.look(|master, now| view::v1(master, now, kind)).await;
    let shown = shown.ok_or_else(|| Refusal::new(503, "No leader elected"))?;
    shown.map(|shown| super::json(&shown, "")).ok_or_else(super::not_implemented)
}

/// `frameworkId=<id>`.
pub(super) async fn teardown_form(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_post(parts)?;
    let body = String::from_utf8_lossy(body);
    let id = body.split('&').find_map(|pair| pair.strip_prefix("frameworkId="));
    let id = id.ok_or_else(|| Refusal::new(400, "Missing 'frameworkId' query parameter in the request body"))?;
    teardown(desk, FrameworkId::from(id)).await
}

async fn teardown(desk: &Arc<Desk>, framework: FrameworkId) -> Result<Response, Refusal> {
    desk.on_admitted(Event::Teardown(framework.clone()), |master| match master.frameworks.contains_key(&framework) {
        true => Ok(()),
        false => Err(Refusal::new(400, "No framework found with specified ID")),
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}

async fn mark_gone(desk: &Arc<Desk>, agent: AgentId) -> Result<Response, Refusal> {
    desk.on_admitted(Event::MarkAgentGone(agent.clone()), |master| {
        let registry = &master.registry;
        let known = registry.admitted.contains_key(agent.as_str())
            || registry.unreachable.contains_key(agent.as_str())
            || registry.gone.contains_key(agent.as_str());
        match known {
            true => Ok(()),
            false => Err(Refusal::new(404, format!("Agent '{agent}' not found"))),
        }
    })
    .await?;
    desk.registry_settled().await?;
    Ok(StatusCode::OK.into_response())
}

/// Body of DRAIN_AGENT.
fn drain(body: &Value) -> Drain {
    let part = |name: &str| body["max_grace_period"][name].as_f64().unwrap_or_default();
    let grace = Duration::try_from_secs_f64(part("seconds") + part("nanos") / 1e9).ok();
    Drain::new(grace.filter(|_| body["max_grace_period"].is_object()), body["mark_gone"].as_bool().unwrap_or_default())
}

async fn out_of_use(desk: &Arc<Desk>, agent: AgentId, drain: Option<Drain>) -> Result<Response, Refusal> {
    change(desk, &agent, Event::DeactivateAgent(agent.clone(), drain)).await
}

async fn in_use(desk: &Arc<Desk>, agent: AgentId) -> Result<Response, Refusal> {
    change(desk, &agent, Event::ReactivateAgent(agent.clone())).await
}

/// Changes the registry's entry of an agent that is there or can come back.
async fn change(desk: &Arc<Desk>, agent: &AgentId, event: Event) -> Result<Response, Refusal> {
    desk.on_admitted(event, |master| match master.registry.knows(agent) {
        true => Ok(()),
        false => Err(Refusal::new(404, format!("Agent '{agent}' not found"))),
    })
    .await?;
    desk.registry_settled().await?;
    Ok(StatusCode::OK.into_response())
}

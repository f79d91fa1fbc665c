//! `POST /api/v1`, and the older `POST /teardown`.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::core::{Event, Refusal};
use super::super::desk::Desk;
use super::super::view;
use super::ladder::{check_accept, check_post, check_request};
use super::read::read;
use crate::mesos::types::{AgentId, FrameworkId};

/// A call of an operator.
#[derive(Debug, Deserialize)]
struct Call {
    #[serde(rename = "type")]
    kind: Option<String>,
    teardown: Option<Teardown>,
    mark_agent_gone: Option<MarkAgentGone>,
}

#[derive(Debug, Deserialize)]
struct Teardown {
    framework_id: FrameworkId,
}

#[derive(Debug, Deserialize)]
struct MarkAgentGone {
    agent_id: AgentId,
}

pub(super) async fn answer(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_request(parts)?;
    let call: Call = read(body)?;
    let expect = |name: &str| {
        let why = format!("Failed to validate master::Call: Expecting '{name}' to be present");
        Refusal::new(400, why)
    };
    let kind = call.kind.ok_or_else(|| expect("type"))?;
    match kind.as_str() {
        "UNKNOWN" => return Err(Refusal::new(501, "501 Not Implemented.")),
        "TEARDOWN" => {
            let framework = call.teardown.ok_or_else(|| expect("teardown"))?.framework_id;
            return teardown(desk, framework).await;
        }
        "MARK_AGENT_GONE" => {
            let agent = call.mark_agent_gone.ok_or_else(|| expect("mark_agent_gone"))?.agent_id;
            return mark_gone(desk, agent).await;
        }
        _ => {}
    }
    check_accept(&parts.headers)?;
    let shown = desk.look(|master, now| view::v1(master, now, &kind)).await;
    let shown = shown.ok_or_else(|| Refusal::new(503, "No leader elected"))?;
    shown.map(|shown| super::json(&shown)).ok_or_else(|| expect("type"))
}

/// `frameworkId=<id>`.
pub(super) async fn teardown_form(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_post(parts)?;
    let body = String::from_utf8_lossy(body);
    let id = body.split('&').find_map(|pair| pair.strip_prefix("frameworkId="));
    let id = id.ok_or_else(|| Refusal::new(400, "Missing 'frameworkId' query parameter"))?;
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
            false => Err(Refusal::new(404, "Agent not found")),
        }
    })
    .await?;
    desk.registry_settled().await?;
    Ok(StatusCode::OK.into_response())
}

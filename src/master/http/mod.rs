//! Requests and answers. Every path is also there below `/master`, as Mesos has it.
//!
//! * `ladder`: what is checked before a call is looked at; `read`: from body to call; `scheduler`, `operator`, `agent`:
//!   the three APIs.

mod agent;
mod ladder;
mod operator;
mod read;
mod scheduler;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::core::Refusal;
use super::desk::{Desk, Leadership};
use super::view;
use crate::agent::protocol;

/// Largest body of a request: far above any launch; protects the process's memory.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The whole HTTP interface of a master.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new().fallback(answer).with_state(desk)
}

async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let path = path.strip_prefix("/master").filter(|rest| rest.starts_with('/')).unwrap_or(&path);
    match path {
        "/health" => StatusCode::OK.into_response(),
        "/version" => json(&view::version()),
        "/redirect" => redirect(&desk),
        "/metrics/snapshot" => json(&view::metrics(&desk).await),
        _ if !is_known(path) => text(StatusCode::NOT_FOUND, "404 Not Found."),
        _ => match desk.leadership().await {
            Leadership::Here => {
                let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
                    return text(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large or broken");
                };
                lead(&desk, path, &parts, body).await.unwrap_or_else(refuse)
            }
            Leadership::Elsewhere(authority) => redirect_to(format!("//{authority}/master{path}{}", query(&parts.uri))),
            Leadership::Nowhere(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
    }
}

/// The paths that only a leader answers.
fn is_known(path: &str) -> bool {
    matches!(
        path,
        "/api/v1/scheduler"
            | "/api/v1"
            | "/state"
            | "/slaves"
            | "/frameworks"
            | "/tasks"
            | "/teardown"
            | protocol::SUBSCRIBE_PATH
            | protocol::CALL_PATH
    )
}

async fn lead(desk: &Arc<Desk>, path: &str, parts: &Parts, body: Bytes) -> Result<Response, Refusal> {
    match path {
        "/api/v1/scheduler" => scheduler::answer(desk, parts, &body).await,
        "/api/v1" => operator::answer(desk, parts, &body).await,
        "/teardown" => operator::teardown_form(desk, parts, &body).await,
        protocol::SUBSCRIBE_PATH => agent::subscribe(desk, parts, &body).await,
        protocol::CALL_PATH => agent::call(desk, parts, &body).await,
        _ => {
            let shown = desk.look(|master, now| view::v0(master, now, path)).await;
            let shown = shown.ok_or_else(|| Refusal::new(503, "No leader elected"))?;
            Ok(json(&shown))
        }
    }
}

/// The leader as `//host:port`, on every master.
fn redirect(desk: &Desk) -> Response {
    match desk.leader_authority() {
        Some(authority) => redirect_to(format!("//{authority}")),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected"),
    }
}

fn redirect_to(location: String) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn query(uri: &Uri) -> String {
    uri.query().map(|query| format!("?{query}")).unwrap_or_default()
}

fn json(value: &serde_json::Value) -> Response {
    let body = Body::from(value.to_string());
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, body.into()).into_response()
}

/// An answer other than success; without a method it is what [`Refusal`] says.
fn refuse(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(status, refusal.body);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(axum::http::header::ALLOW, post);
    }
    response
}

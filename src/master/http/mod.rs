//! Requests and answers. Every path is also there below `/master`, as Mesos has it.
//!
//! * [`serve`]: connections. `ladder`: what is checked before a call is looked at; `read`: from body to JSON, `convert`: from
//!   JSON to a call.
//! * `scheduler`, `operator`, `agent`: the three APIs.

mod agent;
mod convert;
mod ladder;
mod operator;
mod read;
mod scheduler;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::core::Refusal;
use super::desk::{Desk, Leadership};
use super::view;
use crate::agent::protocol;

pub use serve::serve;

/// Largest body of a request: far above any launch; protects the process's memory.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

async fn answer(desk: Arc<Desk>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let path = path.strip_prefix("/master").filter(|rest| rest.starts_with('/')).unwrap_or(&path);
    match path {
        "/health" => StatusCode::OK.into_response(),
        "/version" => json(&view::version(), query(&parts.uri)),
        "/redirect" => redirect(&desk),
        "/metrics/snapshot" => json(&view::metrics(&desk).await, query(&parts.uri)),
        _ if !is_known(path) => text(StatusCode::NOT_FOUND, "404 Not Found."),
        _ => match desk.leadership().await {
            Leadership::Here => {
                let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
                    return text(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large or broken");
                };
                lead(&desk, path, &parts, body).await.unwrap_or_else(refuse)
            }
            Leadership::Elsewhere(authority) => {
                let query = backwards(query(&parts.uri));
                redirect_to(format!("//{authority}/master{path}{query}"))
            }
            Leadership::Nowhere(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        },
    }
}

/// Documents that may be had with any method.
const DOCUMENTS: &[&str] = &["/state", "/slaves", "/frameworks", "/tasks", "/roles", "/state-summary"];
/// Documents about what is left out: they say that there is nothing of it, and changing that is refused.
const EMPTY_DOCUMENTS: &[&str] = &["/quota", "/weights", "/maintenance/schedule", "/maintenance/status"];
/// Calls about what is left out.
const LEFT_OUT: &[&str] =
    &["/machine/down", "/machine/up", "/reserve", "/unreserve", "/create-volumes", "/destroy-volumes"];
/// Calls.
const CALLS: &[&str] = &["/api/v1/scheduler", "/api/v1", "/teardown", protocol::SUBSCRIBE_PATH, protocol::CALL_PATH];

/// The paths that only a leader answers.
fn is_known(path: &str) -> bool {
    [DOCUMENTS, EMPTY_DOCUMENTS, LEFT_OUT, CALLS].concat().contains(&path)
}

async fn lead(desk: &Arc<Desk>, path: &str, parts: &Parts, body: Bytes) -> Result<Response, Refusal> {
    match path {
        "/api/v1/scheduler" => scheduler::answer(desk, parts, &body).await,
        "/api/v1" => operator::answer(desk, parts, &body).await,
        "/teardown" => operator::teardown_form(desk, parts, &body).await,
        protocol::SUBSCRIBE_PATH => agent::subscribe(desk, parts, &body).await,
        protocol::CALL_PATH => agent::call(desk, parts, &body).await,
        _ if LEFT_OUT.contains(&path) => ladder::check_post(parts).and(Err(not_implemented())),
        _ if EMPTY_DOCUMENTS.contains(&path) && parts.method != Method::GET => Err(not_implemented()),
        _ => {
            let query = query(&parts.uri);
            let shown = desk.look(|master, _| view::v0(master, path, query)).await;
            let shown = shown.ok_or_else(|| Refusal::new(503, "No leader elected"))?;
            Ok(json(&shown, query))
        }
    }
}

fn not_implemented() -> Refusal {
    Refusal::new(501, "501 Not Implemented.")
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

/// A query's parameters as Mesos hands them on: the last first.
fn backwards(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let parameters: Vec<_> = query.split('&').rev().collect();
    format!("?{}", parameters.join("&"))
}

fn query(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

/// JSON; with `jsonp=f` in the query as a script that calls `f` with it.
fn json(value: &serde_json::Value, query: &str) -> Response {
    match query.split('&').find_map(|pair| pair.strip_prefix("jsonp=")) {
        Some(function) => ([(CONTENT_TYPE, "text/javascript")], format!("{function}({value});")).into_response(),
        None => ([(CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response(),
    }
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

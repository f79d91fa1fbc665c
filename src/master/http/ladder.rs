//! What is checked before a call is looked at, in Mesos's order.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::super::core::Refusal;

/// Names a scheduler's subscription.
pub(super) const STREAM_ID: &str = "Mesos-Stream-Id";

/// The method and the type of the body.
pub(super) fn check_request(parts: &Parts) -> Result<(), Refusal> {
    check_post(parts)?;
    let given = parts.headers.get(CONTENT_TYPE);
    let given = given.ok_or_else(|| Refusal::new(400, "Expecting 'Content-Type' to be present"))?;
    match given.as_bytes() {
        b"application/json" => Ok(()),
        // Protobuf is left out; this is what Mesos says to a body that it can't read.
        b"application/x-protobuf" => Err(Refusal::new(400, "Failed to parse body into Call protobuf")),
        _ => Err(Refusal::new(415, "Expecting 'Content-Type' of application/json or application/x-protobuf")),
    }
}

pub(super) fn check_post(parts: &Parts) -> Result<(), Refusal> {
    if parts.method == Method::POST {
        return Ok(());
    }
    let method = &parts.method;
    Err(Refusal::new(405, format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.")))
}

/// Whether the answer may be JSON.
pub(super) fn check_accept(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(accept) = headers.get(ACCEPT) else {
        return Ok(());
    };
    let accept = accept.to_str().unwrap_or_default().to_ascii_lowercase();
    if accept.split(',').any(allows_json) {
        return Ok(());
    }
    Err(Refusal::new(406, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"))
}

fn allows_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let json = matches!(parts.next(), Some("application/json" | "application/*" | "*/*"));
    let refused = parts.any(|parameter| {
        let quality = parameter.strip_prefix("q=").and_then(|q| q.parse::<f64>().ok());
        quality.is_some_and(|quality| quality <= 0.0)
    });
    json && !refused
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_may_be_asked_for_in_many_ways() {
        let check = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            check_accept(&headers).is_ok()
        };
        for good in [
            "application/json",
            "*/*",
            "application/*;q=0.1",
            "text/html, Application/JSON; charset=utf-8",
            "application/x-protobuf;q=1, application/json;q=0.2",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in ["", "text/html", "application/json;q=0", "application/x-protobuf"] {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_accept(&HeaderMap::new()).is_ok());
    }
}

//! `docker inspect`, unabridged: the engine's own document, as the frameworks of Mesos get it. (A typed client would leave out what it
//! doesn't know, and what is null.)

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The engine answers within this, also on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The document of a container; none if there is no such container.
///
/// # Errors
/// If the engine is away, or answers something else.
pub async fn inspect(socket: &Path, container: &str) -> Result<Option<Value>, String> {
    tokio::time::timeout(ANSWER_MAX, ask(socket, container))
        .await
        .map_err(|_| format!("no answer within {ANSWER_MAX:?}"))?
}

async fn ask(socket: &Path, container: &str) -> Result<Option<Value>, String> {
    let stream =
        UnixStream::connect(socket).await.map_err(|e| format!("cannot connect to {}: {e}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("/containers/{container}/json"))
        .header("Host", "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    connection.abort();
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map(Some).map_err(|e| e.to_string()),
        StatusCode::NOT_FOUND => Ok(None),
        other => Err(format!("the engine answered {other}: {}", String::from_utf8_lossy(&body))),
    }
}

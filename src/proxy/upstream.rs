//! One connection to the leader per request. There is no pool: no dead connection to an old leader can be taken from one,
//! and a request is written to exactly one connection, so what became of it is known. Between containers a new
//! connection costs a fraction of a millisecond.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// A live node accepts within a millisecond; a lost SYN is sent again after one second, so waiting longer than that buys little.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Body of a request: the client's, or none.
pub type RequestBody = Either<Incoming, Empty<Bytes>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing of the request left.
    #[error("no connection to {to}: {why}")]
    Unreached {
        /// The leader.
        to: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The request, or part of it, may have arrived.
    #[error("the connection to {to} broke before an answer: {source}")]
    Broken {
        /// The leader.
        to: SocketAddr,
        /// What hyper said.
        source: hyper::Error,
    },
}

/// Keeps the connection of an answer alive; dropping it closes the connection at once.
#[derive(Debug)]
pub struct Line {
    _connection: AbortOnDropHandle<()>,
}

/// Sends a request and waits for the head of the answer. Dropping the future closes the connection.
///
/// # Errors
/// If no connection was made, or it broke before an answer began.
pub async fn ask(to: SocketAddr, request: Request<RequestBody>) -> Result<(Response<Incoming>, Line), Failure> {
    let unreached = |why: String| Failure::Unreached { to, why };
    let stream = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(to))
        .await
        .map_err(|_| unreached(format!("not accepted within {CONNECT_MAX:?}")))?
        .map_err(|error| unreached(error.to_string()))?;
    // Small WebSocket messages must not wait for more. Failing at it is no reason to fail the request.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreached(error.to_string()))?;
    let connection = tokio::spawn(async move {
        // Its errors come out of the answer or its body.
        let _ = connection.with_upgrades().await;
    });
    let line = Line { _connection: AbortOnDropHandle::new(connection) };
    match sender.send_request(request).await {
        Ok(response) => Ok((response, line)),
        Err(source) => Err(Failure::Broken { to, source }),
    }
}

//! Connections of clients. Header names are written as Mesos writes them (`Mesos-Stream-Id`), for clients that look closely.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::answer;
use crate::master::desk::Desk;

/// After a connection that can't be accepted (the system is short of something) the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a master's HTTP interface. Never ends.
pub async fn serve(listener: TcpListener, desk: Arc<Desk>) -> Infallible {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Events are small and someone waits for each; without the option they would wait for each other.
        let _ = stream.set_nodelay(true);
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(answer(desk, request.map(Body::new)).await) }
        });
        let mut protocol = http1::Builder::new();
        let connection = protocol.title_case_headers(true).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Clients go as they like.
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
}

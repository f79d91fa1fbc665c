//! The way in from outside: HTTP and WebSocket to Jupyter on the etcd leader, wherever that is at the moment.
//!
//! # Layout
//! * [`core`]: which node leads, and what becomes of every request during a move. Pure.
//! * [`hub`]: the core among its requests: carries its actions to the tasks that serve them.
//! * [`follow`]: the leader record, watched at every etcd endpoint at once.
//! * [`serve`]: the listener and one request's way through.
//! * [`upstream`]: one connection to the leader per request.
//! * [`headers`]: what a proxy takes out of a message and puts into it.
//!
//! Not done: HTTP/2, TLS, looking into WebSocket frames, caching.

pub mod core;
pub mod follow;
pub mod headers;
pub mod hub;
pub mod serve;
pub mod upstream;

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::ProxyConfig;

/// The proxy can't start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The configured address can't be listened on.
    #[error(
        "cannot listen on {listen}: {source}; is another proxy running, or is `listen` not an address of this machine?"
    )]
    Listen {
        /// From the configuration.
        listen: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs the proxy until it is told to stop from outside.
///
/// # Errors
/// If its address can't be listened on.
pub async fn run(config: ProxyConfig) -> Result<(), ProxyError> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| ProxyError::Listen { listen, source })?;
    let hub = Arc::new(hub::Hub::new(&config));
    let following = follow::follow(&config, Arc::clone(&hub));
    tracing::info!(%listen, cluster = config.cluster, "the proxy listens");
    tokio::join!(following, hub.keep_time(), serve::serve(listener, Arc::clone(&hub)));
    Ok(())
}

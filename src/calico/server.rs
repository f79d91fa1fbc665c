//! The two sockets. One call at a time: the table decides, the actions are carried out, then the answer goes out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::core::{Action, Table};
use super::wire::{Reply, Role, parse};
use super::{datapath, store};
use crate::clock::Clock;
use crate::config::CalicoConfig;

/// Docker's media type for plugins.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// How often the netfilter hook is looked at. Docker pushes it down only when it starts; a workload's packets to other machines wait for this.
const CHAIN_CHECK: Duration = Duration::from_secs(2);

/// Why the plugin ended.
#[derive(Debug, thiserror::Error)]
pub enum CalicoError {
    /// Something on this machine isn't as it must be.
    #[error("the network plugin cannot run: {0}")]
    Machine(String),
    /// A socket can't be served.
    #[error("the network plugin cannot listen on {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

struct Plugin {
    state_dir: PathBuf,
    clock: Clock,
    table: Mutex<Table>,
}

/// Serves the plugin until an error ends it.
///
/// # Errors
/// If the persisted allocations can't be read, forwarding can't be enabled, or a socket can't be served.
pub async fn run(config: CalicoConfig) -> Result<(), CalicoError> {
    let clock = Clock::start();
    let mut table = store::load(&config.state_dir, &config.pool).map_err(CalicoError::Machine)?;
    table.recover(clock.now(), &datapath::present().map_err(CalicoError::Machine)?);
    store::save(&config.state_dir, &table).map_err(CalicoError::Machine)?;
    datapath::enable_forwarding().map_err(CalicoError::Machine)?;
    if let Err(why) = datapath::ensure_chain().await {
        warn!("{why}; tried again in {CHAIN_CHECK:?}");
    }
    info!(pool = %config.pool, allocations = table.allocations().len(), "the network plugin starts");
    let plugin = Arc::new(Plugin { state_dir: config.state_dir, clock, table: Mutex::new(table) });
    let network = serve(config.plugin_dir.join("calico.sock"), Role::Network, plugin.clone());
    let ipam = serve(config.plugin_dir.join("calico-ipam.sock"), Role::Ipam, plugin);
    tokio::select! {
        ended = network => ended,
        ended = ipam => ended,
        () = keep_chain() => Ok(()),
    }
}

async fn keep_chain() {
    loop {
        tokio::time::sleep(CHAIN_CHECK).await;
        if let Err(why) = datapath::ensure_chain().await {
            warn!("{why}");
        }
    }
}

async fn serve(path: PathBuf, role: Role, plugin: Arc<Plugin>) -> Result<(), CalicoError> {
    let failed = |source| CalicoError::Socket { path: path.clone(), source };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let router = Router::new().fallback(call).with_state((role, plugin));
    axum::serve(listener, router).await.map_err(failed)
}

async fn call(State((role, plugin)): State<(Role, Arc<Plugin>)>, uri: Uri, body: Bytes) -> impl IntoResponse {
    // A task of its own: Docker hangs up after 15 s, and half a Join must not be left behind.
    let path = uri.path().to_owned();
    let handled = tokio::spawn(async move { plugin.handle(role, &path, &body).await }).await;
    let reply = handled.unwrap_or_else(|e| Reply::Refused(format!("the network plugin failed: {e}")));
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], reply.body().to_string())
}

impl Plugin {
    async fn handle(&self, role: Role, path: &str, body: &[u8]) -> Reply {
        let request = match parse(role, path, body) {
            Ok(request) => request,
            Err(why) => {
                warn!(path, "{why}");
                return Reply::Refused(why);
            }
        };
        let asked = format!("{request:?}");
        let mut table = self.table.lock().await;
        let present = match datapath::present() {
            Ok(present) => present,
            Err(why) => return Reply::Refused(why),
        };
        let (reply, actions) = table.on(self.clock.now(), role, request, &present);
        for action in actions {
            if let Err(why) = self.carry_out(action, &table).await {
                warn!(asked, "{why}");
                return Reply::Refused(why);
            }
        }
        info!(asked, answered = ?reply, "call");
        reply
    }

    async fn carry_out(&self, action: Action, table: &Table) -> Result<(), String> {
        match action {
            Action::Persist => store::save(&self.state_dir, table),
            Action::MakeLink { host, container, address } => datapath::make_link(&host, &container, address).await,
            Action::RemoveLink { host } => datapath::remove_link(&host).await,
        }
    }
}

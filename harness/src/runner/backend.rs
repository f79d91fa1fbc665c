//! What a run needs of whoever starts and removes topologies.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::observe::machines::Machines;
use crate::observe::observation::Shape;
use crate::scenario::Cluster;

/// A standing topology.
#[derive(Clone)]
pub struct Stand {
    /// The cluster.
    pub shape: Shape,
    /// Outposts and outer engine.
    pub machines: Arc<dyn Machines>,
    /// `http://127.0.0.1:<port>` of the proxy.
    pub proxy_url: String,
    /// Jupyter's token. A secret.
    pub token: String,
    /// Folder of the topology itself: the undo journal lies here, where the next run on it finds it.
    pub folder: PathBuf,
    /// It was started for this run: when it doesn't come back, another one can take its place.
    pub ours: bool,
    /// It outlives this process, so that a guard must undo what a killed run leaves.
    pub guarded: bool,
    /// Versions of the parts, for the report.
    pub parts: BTreeMap<String, String>,
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("shape", &self.shape).field("proxy_url", &self.proxy_url).finish_non_exhaustive()
    }
}

/// Starts and removes topologies: `docker` now, a simulator later.
pub trait Backend {
    /// Starts a topology with this cluster, or takes the one that stands if it fits. `tell` takes lines of progress.
    fn up<'a>(
        &'a self,
        cluster: &'a Cluster,
        tell: &'a (dyn Fn(&str) + Sync),
    ) -> LocalBoxFuture<'a, Result<Stand, String>>;

    /// Writes the parts' logs into a folder.
    fn logs<'a>(&'a self, folder: &'a Path) -> LocalBoxFuture<'a, Result<(), String>>;

    /// Ends the run's use of the topology: removes it and everything of it, unless it is to be kept or stood before. Also
    /// called after an [`Backend::up`] that failed or was cut off; then whatever is there is removed. Returns whether a topology stays.
    fn release(&self, keep: bool) -> LocalBoxFuture<'_, Result<bool, String>>;
}

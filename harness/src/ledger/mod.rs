//! The ledger: clients that write all the time, and remember what was promised to them.
//!
//! Each second one etcd put of a unique key, one fsynced file of its own on /shared, and one notebook saved under a new name
//! through the proxy. At the end everything acknowledged must be there with its content, what has an unknown outcome may be,
//! and nothing else is.

mod account;
mod traces;
mod volume;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use stormbed::outpost::protocol::{Call, Reply};
use stormbed::registry::Keys;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::history::ledger::{LedgerOutcome, Op, OpOutcome};
use crate::observe::jupyter::cell_text;
use crate::observe::observer::Seen;
use crate::observe::outpost::Outpost;
use crate::observe::world::World;

/// Longest time of one operation. GlusterFS may stall for seconds while a brick is away; then the outcome is unknown.
const OP_MAX: Duration = Duration::from_secs(5);
/// Reading everything back: some hundred small files over FUSE.
const READ_MAX: Duration = Duration::from_secs(20);
/// The final reading is tried on this many machines: one of them may just be coming back.
const READ_TRIES: usize = 3;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Etcd,
    File,
    Notebook,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Etcd, Kind::File, Kind::Notebook];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Etcd => "etcd",
            Kind::File => "file",
            Kind::Notebook => "notebook",
        }
    }
}

/// An operation and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    op: Op,
    content: String,
}

/// Where one scenario's items lie.
#[derive(Debug, Clone)]
struct Places {
    /// Name of the play, unique in the run.
    name: String,
    /// Prefix of the etcd keys.
    keys: String,
    /// Directory of the files, relative to the volume.
    files: PathBuf,
    /// Directory of the notebooks, likewise.
    notebooks: PathBuf,
}

impl Places {
    /// Where the files of a kind lie, if it has any.
    fn directory(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Etcd => None,
            Kind::File => Some(&self.files),
            Kind::Notebook => Some(&self.notebooks),
        }
    }
}

type Entries = Arc<Mutex<BTreeMap<Kind, Vec<Entry>>>>;

/// A ledger that is being written.
#[derive(Debug)]
pub struct Ledger {
    world: World,
    places: Places,
    entries: Entries,
    stop: CancellationToken,
    writer: JoinHandle<()>,
}

impl Ledger {
    /// Starts writing. `name` is unique in the run.
    #[must_use]
    pub fn start(world: &World, name: &str, newest: watch::Receiver<Option<Arc<Seen>>>) -> Self {
        let root = Keys::testbed(&world.shape.cluster);
        let places = Places {
            name: name.to_owned(),
            keys: format!("{root}ledger/{}/{name}/", world.run),
            files: world.directory(&format!("ledger/{name}/files")),
            notebooks: world.directory(&format!("ledger/{name}/notebooks")),
        };
        let entries = Entries::default();
        let stop = CancellationToken::new();
        let writer = writer::Writer::new(world.clone(), places.clone(), entries.clone(), newest, stop.clone());
        Self { world: world.clone(), places, entries, stop, writer: tokio::spawn(writer.run()) }
    }

    /// Acknowledged operations so far, by kind; for progress.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeMap<&'static str, usize> {
        let entries = locked(&self.entries);
        let count = |kind: &Kind| {
            let all = entries.get(kind).map(Vec::as_slice).unwrap_or_default();
            let acknowledged = |e: &&Entry| e.op.outcome == OpOutcome::Acknowledged;
            (kind.as_str(), all.iter().filter(acknowledged).count())
        };
        Kind::ALL.iter().map(count).collect()
    }

    /// Stops writing and waits for what is under way.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // The writer waits for its operations, each of which has its bound.
        if let Err(error) = (&mut self.writer).await {
            tracing::error!(%error, "the ledger's writer failed");
        }
    }

    /// Reads everything back. To be called after [`Ledger::stop`].
    pub async fn account(&self) -> LedgerOutcome {
        let (etcd, files, notebooks) = tokio::join!(self.read_etcd(), self.read_files(), self.read_notebooks());
        let entries = locked(&self.entries).clone();
        let found = [(Kind::Etcd, etcd), (Kind::File, files), (Kind::Notebook, notebooks)];
        let mut accounts = LedgerOutcome::new();
        for (kind, found) in found {
            let mut written = entries.get(&kind).cloned().unwrap_or_default();
            written.sort_by_key(|entry| entry.op.begin);
            let mut account = account::settle(&written, found);
            if let Some(dir) = self.places.directory(kind) {
                account.traces = self.traces(dir, &account, &written).await;
            }
            accounts.insert(kind.as_str().to_owned(), account);
        }
        accounts
    }

    async fn read_etcd(&self) -> Result<BTreeMap<String, String>, String> {
        let call = Call::EtcdRange {
            endpoints: self.world.shape.addresses.values().copied().collect(),
            prefix: self.places.keys.clone(),
        };
        let found = self.read(&self.world.shape.edge, &call, |r| match r {
            Reply::EtcdRange(found) => Some(found),
            _ => None,
        });
        let bare = |key: String| match key.strip_prefix(&self.places.keys) {
            Some(item) => item.to_owned(),
            None => key,
        };
        Ok(found.await?.into_iter().map(|(k, v)| (bare(k), v)).collect())
    }

    async fn read_files(&self) -> Result<BTreeMap<String, String>, String> {
        self.read_directory(&self.places.files).await
    }

    async fn read_notebooks(&self) -> Result<BTreeMap<String, String>, String> {
        let found = self.read_directory(&self.places.notebooks).await?;
        let text = |content: String| {
            let parsed: Result<Value, _> = serde_json::from_str(&content);
            let parsed = parsed.map_err(|e| e.to_string());
            parsed.and_then(|notebook| cell_text(&notebook)).unwrap_or_else(|why| format!("not a notebook: {why}"))
        };
        // Jupyter writes beside the target and renames; what a killed server leaves of that begins with a dot.
        let visible = found.into_iter().filter(|(name, _)| !name.starts_with('.'));
        Ok(visible.map(|(name, content)| (name, text(content))).collect())
    }

    async fn read_directory(&self, dir: &Path) -> Result<BTreeMap<String, String>, String> {
        let call = Call::FileReadAll { dir: dir.to_owned(), container: None };
        self.read("", &call, |r| match r {
            Reply::Files(found) => Some(found),
            _ => None,
        })
        .await
    }

    /// Asks `first`, or a host, and other hosts if that fails.
    async fn read<T>(&self, first: &str, call: &Call, expect: fn(Reply) -> Option<T>) -> Result<T, String> {
        let hosts = self.world.shape.hosts.iter();
        let machines = std::iter::once(first).chain(hosts.map(String::as_str));
        let outposts = machines.filter_map(|name| self.world.outposts.get(name));
        let mut why = "no machine could be asked".to_owned();
        for outpost in outposts.filter(|o| o.is_connected()).take(READ_TRIES) {
            let probe = self.world.call(Some(outpost), call.clone(), READ_MAX, expect);
            match probe.await.result {
                Ok(found) => return Ok(found),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn locked(entries: &Entries) -> MutexGuard<'_, BTreeMap<Kind, Vec<Entry>>> {
    entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A connected host; each call begins with another one.
fn next_host(world: &World, turn: usize) -> Option<&Outpost> {
    let connected = world.shape.hosts.iter();
    let connected = connected.filter_map(|name| world.outposts.get(name));
    let connected: Vec<&Outpost> = connected.filter(|o| o.is_connected()).collect();
    connected.get(turn % connected.len().max(1)).copied()
}

//! An engine of the tests: parts whose state changes as it is told, unless it refuses; and outposts that answer as a test says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stormbed::outpost::protocol::{Answer, Call, ContainerState, Hello, PROTOCOL_VERSION, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

use super::machines::{Machines, OutpostStream, Verb};
use super::observation::PartView;

/// What an outpost says to a call: its machine's name, the call.
type Says = Arc<dyn Fn(&str, Call) -> Result<Reply, String> + Send + Sync>;

/// Parts, and outposts if a test wants some.
pub struct FakeMachines {
    parts: Mutex<BTreeMap<String, PartView>>,
    refusals: AtomicUsize,
    /// As long as an act takes.
    slowness: Duration,
    outposts: Vec<String>,
    says: Says,
}

impl FakeMachines {
    /// Parts in these states; the container of `zk-1` is `id-zk-1`.
    pub fn of(parts: &[(&str, ContainerState)]) -> Self {
        let view = |(name, state): &(&str, ContainerState)| {
            ((*name).to_owned(), PartView { id: format!("id-{name}"), state: *state })
        };
        Self {
            parts: Mutex::new(parts.iter().map(view).collect()),
            refusals: AtomicUsize::new(0),
            slowness: Duration::ZERO,
            outposts: Vec::new(),
            says: Arc::new(|_, _| Ok(Reply::Done)),
        }
    }

    /// The first so many acts that would bring a part back are refused.
    pub fn refusing(self, acts: usize) -> Self {
        Self { refusals: AtomicUsize::new(acts), ..self }
    }

    /// Every act takes so long, so that what is done at once can be told from what is done one after another.
    pub fn slow(self, slowness: Duration) -> Self {
        Self { slowness, ..self }
    }

    /// Outposts on these machines that say this.
    pub fn saying<F>(self, outposts: &[&str], says: F) -> Self
    where
        F: Fn(&str, Call) -> Result<Reply, String> + Send + Sync + 'static,
    {
        Self { outposts: outposts.iter().map(|name| (*name).to_owned()).collect(), says: Arc::new(says), ..self }
    }

    fn told(&self, container: &str, verb: Verb) -> Result<(), String> {
        let state = match verb {
            Verb::Start | Verb::Unpause => ContainerState::Running,
            Verb::Pause => ContainerState::Paused,
            Verb::Kill | Verb::Stop => ContainerState::Exited,
        };
        let refuse = || self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if state == ContainerState::Running && refuse().is_ok() {
            return Err("the engine says no".to_owned());
        }
        let mut parts = self.parts.lock().expect("no test panics with it");
        parts.values_mut().filter(|part| part.id == container).for_each(|part| part.state = state);
        Ok(())
    }
}

impl Machines for FakeMachines {
    fn outposts(&self) -> Vec<String> {
        self.outposts.clone()
    }
    fn hello(&self, machine: &str) -> Option<Hello> {
        self.outposts.iter().any(|name| name == machine).then(hello)
    }
    fn open_outpost<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>> {
        async move {
            if !self.outposts.iter().any(|name| name == machine) {
                return Err("there is none".to_owned());
            }
            let (near, far) = tokio::io::duplex(1 << 16);
            let (says, name) = (self.says.clone(), machine.to_owned());
            tokio::spawn(peer(far, move |request| vec![Answer::of(request.id, says(&name, request.call))]));
            let (read, write) = tokio::io::split(near);
            Ok(OutpostStream { read: Box::new(read), write: Box::new(write) })
        }
        .boxed()
    }
    fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>> {
        let parts = self.parts.lock().expect("no test panics with it").clone();
        async { Ok(parts) }.boxed()
    }
    fn act<'a>(&'a self, container: &'a str, verb: Verb) -> BoxFuture<'a, Result<(), String>> {
        async move {
            tokio::time::sleep(self.slowness).await;
            self.told(container, verb)
        }
        .boxed()
    }
}

/// What an outpost of the tests is told first.
pub fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        heartbeat_timeout_ms: 5_000,
        cluster: "c".into(),
        operator_private_key: "secret".into(),
        jupyter_port: 8888,
        shared_mount: None,
        volume: "v".into(),
        brick: None,
        slots: None,
        pool: "198.19.0.0/24".into(),
        masters: BTreeMap::new(),
        agents: BTreeMap::new(),
        zookeepers: BTreeMap::new(),
        election_path: "/mesos".into(),
        schedulers_path: "/stormbed/election".into(),
        log_dir: PathBuf::new(),
    }
}

/// The far end of a stream: greets, then answers as `answer` says.
pub async fn peer(stream: DuplexStream, mut answer: impl FnMut(Request) -> Vec<Answer>) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: Request = serde_json::from_str(&line).expect("the client writes requests");
        let answers = match &request.call {
            Call::Hello(_) => vec![Answer::of(request.id, Ok(Reply::Ready { protocol: PROTOCOL_VERSION }))],
            Call::Heartbeat => vec![Answer::of(request.id, Ok(Reply::Done))],
            _ => answer(request),
        };
        for answer in answers {
            let mut line = serde_json::to_vec(&answer).expect("answers are plain data");
            line.push(b'\n');
            if write.write_all(&line).await.is_err() {
                return;
            }
        }
    }
}

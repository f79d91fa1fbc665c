//! Event streams as they arrive, each read in a task of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use stormbed::mesos::recordio::Decoder;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::holdings::Change;
use super::http::{Chunk, Connection};
use super::lanes::{is_heartbeat, lane};
use super::replay::Changes;

/// An event that came and is not yet accounted for.
#[derive(Debug, Clone)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// Its lane.
    pub lane: String,
    /// The event.
    pub event: Value,
}

/// What is known of a stream.
#[derive(Debug, Default)]
struct Known {
    waiting: Vec<Received>,
    beats_ms: Vec<u64>,
    interval_ms: Option<u64>,
    end: Option<(&'static str, Instant)>,
}

/// A stream that is or was open.
#[derive(Debug)]
pub struct Stream {
    opened: Instant,
    known: Arc<Mutex<Known>>,
    news: Arc<Notify>,
    task: JoinHandle<()>,
    reset: Option<oneshot::Sender<()>>,
}

impl Stream {
    /// Reads a stream whose answer's head has been read.
    /// Ends of tasks are told to `changes`, too.
    pub fn open(connection: Connection, changes: Changes) -> Self {
        let (known, news, opened) = (Arc::new(Mutex::default()), Arc::new(Notify::new()), Instant::now());
        let (reset, wanted) = oneshot::channel();
        let reader = Reader { opened, known: Arc::clone(&known), news: Arc::clone(&news), changes };
        let task = tokio::spawn(async move { reader.read(connection, wanted).await });
        Self { opened, known, news, task, reset: Some(reset) }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut lock(&self.known))
    }

    /// The first event of a lane that is not yet accounted for; waits for it until a deadline.
    pub async fn take(&self, lane: &str, deadline: Instant) -> Option<Received> {
        loop {
            let news = self.news.notified();
            let found = self.with(|known| {
                let at = known.waiting.iter().position(|received| received.lane == lane)?;
                Some(known.waiting.remove(at))
            });
            if found.is_some() || tokio::time::timeout_at(deadline, news).await.is_err() {
                return found;
            }
        }
    }

    /// What came and is not yet accounted for.
    pub fn waiting(&self) -> Vec<Received> {
        self.with(|known| known.waiting.clone())
    }

    /// Forgets what has come so far of events that `which` says.
    pub fn forget(&self, which: impl Fn(&Received) -> bool) {
        self.with(|known| known.waiting.retain(|received| !which(received)));
    }

    /// How the stream ended; waits for it until a deadline.
    pub async fn ended(&self, deadline: Instant) -> Option<&'static str> {
        loop {
            let news = self.news.notified();
            let end = self.with(|known| known.end.map(|(how, _)| how));
            if end.is_some() || tokio::time::timeout_at(deadline, news).await.is_err() {
                return end;
            }
        }
    }

    /// When heartbeats came (after the opening), their interval, and how long the stream was open.
    pub fn heartbeats(&self) -> (Vec<u64>, Option<u64>, u64) {
        self.with(|known| {
            let end = known.end.map_or_else(Instant::now, |(_, at)| at);
            (known.beats_ms.clone(), known.interval_ms, millis(end - self.opened))
        })
    }

    /// Ends the connection with a reset.
    pub async fn reset(mut self) {
        if let Some(reset) = self.reset.take() {
            // The reader may have ended by itself.
            let _ = reset.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a mutex guards: plain data, whole at any time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    opened: Instant,
    known: Arc<Mutex<Known>>,
    news: Arc<Notify>,
    changes: Changes,
}

impl Reader {
    async fn read(self, mut connection: Connection, mut reset: oneshot::Receiver<()>) {
        let mut decoder = Decoder::default();
        loop {
            let chunk = tokio::select! {
                chunk = connection.chunk() => chunk,
                Ok(()) = &mut reset => {
                    let _ = connection.reset();
                    return;
                }
            };
            match chunk {
                Chunk::End(how) => {
                    self.tell(|known| known.end = Some((how, Instant::now())));
                    return;
                }
                Chunk::Data(data) => decoder.push(&data),
            }
            while let Ok(Some(record)) = decoder.next_record() {
                let text = String::from_utf8_lossy(&record).into_owned();
                self.hear(serde_json::from_str(&text).unwrap_or(Value::String(text)));
            }
        }
    }

    fn hear(&self, event: Value) {
        let at = Instant::now();
        lock(&self.changes).extend(Change::of_event(&event).map(|change| (at, change)));
        self.tell(|known| {
            if let Some(seconds) = event["subscribed"]["heartbeat_interval_seconds"].as_f64() {
                known.interval_ms = Some((seconds * 1000.0) as u64);
            }
            match is_heartbeat(&event) {
                true => known.beats_ms.push(millis(at - self.opened)),
                false => known.waiting.push(Received { at, lane: lane(&event), event }),
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Known)) {
        change(&mut lock(&self.known));
        self.news.notify_waiters();
    }
}

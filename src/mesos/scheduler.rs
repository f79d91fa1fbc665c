//! A client of Mesos's v1 scheduler API: keeps a framework subscribed to whichever master leads.
//!
//! [`connect`] starts a task that follows a detected leader ([`detect`](super::detector::detect)), subscribes, and hands on
//! what happens as [`Signal`]s, in order:
//!
//! ```text
//! Subscribed ─► Event* ─► Disconnected ─► Subscribed ─► …        Ended (last)
//! ```
//! * The stream has a connection of its own. [`Calls`] go over another one, in order, each awaiting its 202; they belong to one
//!   subscription and are void after it, so nothing meant for an old master reaches a new one.
//! * Detection is followed, redirects aren't: a master that says 307 or 503 is asked again, or left when another one leads.
//!   While detection says "nobody", a healthy stream is kept.
//! * A stream without any event for [`SILENT_HEARTBEATS`] heartbeat intervals counts as broken.
//! * The framework's id is taken from the first SUBSCRIBED and used from then on; whoever needs it after a restart stores it.
//! * `Framework failed over`, or a stream id that isn't current any more, means that another instance has subscribed with our id:
//!   that is the end ([`SchedulerError::Fenced`]), because to subscribe again would take it away from the other.
//!
//! Not here: protobuf bodies, authentication, TLS.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rand::Rng;
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::recordio::{Decoder, RecordError};
use super::types::{Call, CallType, Event, FrameworkInfo, MasterInfo, Subscribed, strip_nulls};

/// Heartbeat intervals without an event after which a stream counts as broken (the reference client: five).
pub const SILENT_HEARTBEATS: f64 = 3.0;
/// Names a subscription; in its answer, and in every call.
const STREAM_ID: &str = "Mesos-Stream-Id";
const API: &str = "/api/v1/scheduler";
/// A master on the same network that doesn't take a connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Answer to a call, or first event of a subscription: masters answer in milliseconds; a frozen one must not hold us longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the next attempt: a random part of this, doubled each time …
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// … up to this, which bounds how late we notice that a master serves again. A new leader starts it again.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Calls and signals that may wait: far more than one turn of a scheduler makes.
const QUEUE: usize = 256;

/// What happened.
#[derive(Debug)]
pub enum Signal {
    /// A master accepted the subscription; every call belongs to it.
    Subscribed {
        /// The framework's id, and more.
        subscribed: Subscribed,
        /// For calls.
        calls: Calls,
    },
    /// An event, other than SUBSCRIBED, HEARTBEAT and ERROR.
    Event(Event),
    /// The subscription is gone, with all offers; the next attempt is under way.
    Disconnected(Disconnected),
    /// No further attempt is made.
    Ended(SchedulerError),
}

/// Why a subscription, or an attempt at one, ended without ending the client.
#[derive(Debug, thiserror::Error)]
pub enum Disconnected {
    /// The connection failed.
    #[error("the connection to the master failed: {0}")]
    Connection(#[from] reqwest::Error),
    /// The master ended the stream.
    #[error("the master ended the stream")]
    EndOfStream,
    /// The stream can't be read on.
    #[error(transparent)]
    Framing(#[from] RecordError),
    /// No event for too long.
    #[error("no event from the master for {} ms", .0.as_millis())]
    Silence(Duration),
    /// Another master leads.
    #[error("another master leads")]
    NewLeader,
    /// This master doesn't serve frameworks (now).
    #[error("the master answers {0}: it does not serve frameworks now")]
    NotServing(StatusCode),
    /// The master doesn't know our subscription.
    #[error("the master does not know our subscription: {0}")]
    NotSubscribed(String),
}

/// Why no further attempt is made.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// Another instance subscribed with our id.
    #[error("another scheduler has subscribed with our framework id: {0}; this one must stop")]
    Fenced(String),
    /// The master refuses this framework.
    #[error("the master refuses this framework: {0}; correct its FrameworkInfo, or forget its stored id")]
    Refused(String),
}

/// The answer to a call that wasn't taken.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Lost(#[from] Disconnected),
    #[error(transparent)]
    Final(#[from] SchedulerError),
    #[error("{status} {body}")]
    Invalid { status: StatusCode, body: String },
}

/// Sends calls in order within one subscription.
#[derive(Debug, Clone)]
pub struct Calls {
    queue: mpsc::Sender<Call>,
}

impl Calls {
    /// Queues a call; waits while very many are queued. A call after the end of its subscription is dropped: its
    /// [`Signal::Disconnected`] is on its way.
    pub async fn send(&self, call: Call) {
        let kind = call.kind;
        if self.queue.send(call).await.is_err() {
            tracing::debug!(%kind, "a call after the end of its subscription is dropped");
        }
    }
}

/// Keeps `framework` subscribed to the detected leader in a task of its own, until the receiver is dropped or
/// [`Signal::Ended`].
#[must_use]
pub fn connect(framework: FrameworkInfo, leader: watch::Receiver<Option<MasterInfo>>) -> mpsc::Receiver<Signal> {
    let (signals, receiver) = mpsc::channel(QUEUE);
    let driver = Driver { framework, leader, signals: signals.clone() };
    tokio::spawn(async move {
        tokio::select! {
            () = signals.closed() => {}
            error = driver.run() => {
                let _ = signals.send(Signal::Ended(error)).await;
            }
        }
    });
    receiver
}

/// A client without redirects, proxies and time limits of its own.
fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(1)
        .build()
        .expect("a client without TLS has nothing that could fail")
}

struct Driver {
    framework: FrameworkInfo,
    leader: watch::Receiver<Option<MasterInfo>>,
    signals: mpsc::Sender<Signal>,
}

impl Driver {
    async fn run(mut self) -> SchedulerError {
        let mut backoff = BACKOFF_MIN;
        let mut last = String::new();
        loop {
            let Some(master) = self.master().await else {
                // The detector is gone, which only happens when the runtime ends.
                return std::future::pending().await;
            };
            if std::mem::replace(&mut last, master.id.clone()) != master.id {
                backoff = BACKOFF_MIN;
            }
            let (subscribed, end) = self.subscription(&master).await;
            let why = match end {
                CallError::Final(error) => return error,
                CallError::Lost(why) => why,
                CallError::Invalid { status, .. } => Disconnected::NotServing(status),
            };
            tracing::warn!(master = %master.authority(), %why, subscribed, "not subscribed");
            if subscribed {
                backoff = BACKOFF_MIN;
                let _ = self.signals.send(Signal::Disconnected(why)).await;
            }
            let pause = rand::rng().random_range(Duration::ZERO..backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            // A newly detected leader ends the pause.
            let _ = tokio::time::timeout(pause, self.leader.changed()).await;
        }
    }

    /// The leader, as soon as there is one.
    async fn master(&mut self) -> Option<MasterInfo> {
        let leader = self.leader.wait_for(Option::is_some).await.ok()?;
        leader.clone()
    }

    /// One subscription, from attempt to end; whether it was one at all.
    async fn subscription(&mut self, master: &MasterInfo) -> (bool, CallError) {
        let url = format!("http://{}{API}", master.authority());
        let (stream_id, chunks) = match subscribe(&url, &self.framework).await {
            Ok(stream) => stream,
            Err(end) => return (false, end),
        };
        let (queue, calls) = mpsc::channel(QUEUE);
        let mut stream = EventStream { chunks, decoder: Decoder::default(), silence: ANSWER_TIMEOUT };
        let mut subscribed = false;
        // Calls have a task of their own: they must go on while the scheduler is busy with an event.
        let mut pump = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(pump(url, stream_id, calls)));
        let end = loop {
            let event = tokio::select! {
                event = stream.next() => event,
                end = &mut pump => break end.unwrap_or(CallError::Lost(Disconnected::EndOfStream)),
                () = another_leads(&mut self.leader, master) => break Disconnected::NewLeader.into(),
            };
            let signal = match event {
                Err(why) => break why.into(),
                Ok(Event::Heartbeat) => continue,
                Ok(Event::Error(message)) => break ended(message).into(),
                Ok(Event::Subscribed(answer)) => {
                    subscribed = true;
                    self.framework.id = Some(answer.framework_id.clone());
                    stream.expect_heartbeats(answer.heartbeat_interval_seconds);
                    Signal::Subscribed { subscribed: answer, calls: Calls { queue: queue.clone() } }
                }
                Ok(event) => Signal::Event(event),
            };
            let _ = self.signals.send(signal).await;
        };
        (subscribed, end)
    }
}

/// Returns when a leader other than `master` is detected; not when none is.
async fn another_leads(leader: &mut watch::Receiver<Option<MasterInfo>>, master: &MasterInfo) {
    let other = |found: &Option<MasterInfo>| found.as_ref().is_some_and(|m| m.id != master.id);
    if leader.wait_for(other).await.is_err() {
        std::future::pending().await
    }
}

/// What an ERROR event means.
fn ended(message: String) -> SchedulerError {
    if message.contains("failed over") { SchedulerError::Fenced(message) } else { SchedulerError::Refused(message) }
}

type Chunks = std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>;

/// Opens a stream; returns its id with it.
async fn subscribe(url: &str, framework: &FrameworkInfo) -> Result<(String, Chunks), CallError> {
    let request = client().post(url).header(ACCEPT, "application/json").json(&Call::subscribe(framework.clone()));
    let response = tokio::time::timeout(ANSWER_TIMEOUT, request.send())
        .await
        .map_err(|_| Disconnected::Silence(ANSWER_TIMEOUT))?
        .map_err(Disconnected::from)?;
    let status = response.status();
    // 404: routes aren't there yet. 307, 503: not (or not yet) leading.
    if status == StatusCode::NOT_FOUND || status.is_redirection() || status.is_server_error() {
        return Err(Disconnected::NotServing(status).into());
    }
    if status != StatusCode::OK {
        let body = response.text().await.unwrap_or_default();
        return Err(SchedulerError::Refused(format!("{status} {body}")).into());
    }
    let id = response.headers().get(STREAM_ID);
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    Ok((id.to_owned(), Box::pin(response.bytes_stream())))
}

/// Events out of a stream's chunks.
struct EventStream {
    chunks: Chunks,
    decoder: Decoder,
    silence: Duration,
}

impl EventStream {
    fn expect_heartbeats(&mut self, interval_s: f64) {
        let silence = Duration::try_from_secs_f64(interval_s * SILENT_HEARTBEATS);
        self.silence = silence.unwrap_or(ANSWER_TIMEOUT).max(ANSWER_TIMEOUT);
    }

    /// The next event that can be understood. Cancel safe: chunks are kept in the decoder.
    async fn next(&mut self) -> Result<Event, Disconnected> {
        loop {
            while let Some(record) = self.decoder.next_record()? {
                match read(&record) {
                    Ok(event) => return Ok(event),
                    Err(error) => tracing::error!(%error, "an event can't be understood: ignored"),
                }
            }
            let chunk = tokio::time::timeout(self.silence, self.chunks.next()).await;
            match chunk.map_err(|_| Disconnected::Silence(self.silence))? {
                Some(chunk) => self.decoder.push(&chunk?),
                None => return Err(Disconnected::EndOfStream),
            }
        }
    }
}

fn read(record: &[u8]) -> serde_json::Result<Event> {
    let mut value: Value = serde_json::from_slice(record)?;
    strip_nulls(&mut value);
    serde_json::from_value(value)
}

/// Sends queued calls, one after the other; returns when one shows that the subscription is over.
async fn pump(url: String, stream_id: String, mut calls: mpsc::Receiver<Call>) -> CallError {
    let client = client();
    while let Some(call) = calls.recv().await {
        let kind = call.kind;
        match post(&client, &url, &stream_id, &call).await {
            Ok(()) => {}
            // A call that this master never takes: sending it again, or subscribing again, would not help.
            Err(CallError::Invalid { status, body }) => {
                tracing::error!(%kind, %status, body, "the master refuses a call: ignored");
            }
            Err(end) => return end,
        }
    }
    std::future::pending().await
}

async fn post(client: &Client, url: &str, stream_id: &str, call: &Call) -> Result<(), CallError> {
    let request = client
        .post(url)
        .header(ACCEPT, "application/json")
        .header(STREAM_ID, stream_id)
        .timeout(ANSWER_TIMEOUT)
        .json(call);
    let response = request.send().await.map_err(Disconnected::from)?;
    let status = response.status();
    // The body is read to its end, so that the connection serves the next call as well.
    let body = response.text().await.map_err(Disconnected::from)?;
    judge(call.kind, status, body)
}

/// What the answer to a call means. 202 says nothing about its effect.
fn judge(kind: CallType, status: StatusCode, body: String) -> Result<(), CallError> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST if body.contains("didn't match the stream ID") => {
            Err(SchedulerError::Fenced(body).into())
        }
        StatusCode::BAD_REQUEST if body.contains("Framework cannot be found") => {
            Err(Disconnected::NotSubscribed(body).into())
        }
        StatusCode::FORBIDDEN => Err(Disconnected::NotSubscribed(body).into()),
        status if status.is_redirection() || status.is_server_error() => {
            tracing::debug!(%kind, %status, body, "the master does not serve");
            Err(Disconnected::NotServing(status).into())
        }
        status => Err(CallError::Invalid { status, body }),
    }
}

#[cfg(test)]
mod tests;

//! One subscription to a master: the stream of its messages, and our calls, in order.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::protocol::{CALL_PATH, FromAgent, Register, STREAM_ID_HEADER, SUBSCRIBE_PATH, ToAgent};
use crate::mesos::recordio::Decoder;

/// Within this a master on the same network answers, or never.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Calls that wait for the one under way: a task has one update under way, so this is far more than an agent has.
const CALLS_MAX: usize = 1024;

/// What comes of a connection.
#[derive(Debug)]
pub enum Heard {
    /// The master says something.
    Message(Box<ToAgent>),
    /// It is over.
    Lost(String),
}

/// A connection; dropping it ends it.
#[derive(Debug)]
pub struct Connection {
    calls: mpsc::Sender<FromAgent>,
    task: tokio::task::JoinHandle<()>,
}

impl Connection {
    /// Subscribes in a task of its own; `heard` is told everything, and [`Heard::Lost`] last.
    pub fn open<F>(leader: String, register: Register, heard: F) -> Self
    where
        F: Fn(Heard) + Send + Sync + 'static,
    {
        let (calls, outbox) = mpsc::channel(CALLS_MAX);
        let task = tokio::spawn(async move {
            let why = match converse(&leader, &register, outbox, &heard).await {
                Ok(never) => match never {},
                Err(why) => why,
            };
            heard(Heard::Lost(format!("{leader}: {why}")));
        });
        Self { calls, task }
    }

    /// Sends a call after those before it. One that can't be queued is dropped with a connection that hangs: updates are sent again.
    pub fn send(&self, call: FromAgent) {
        if let Err(error) = self.calls.try_send(call) {
            tracing::warn!(%error, "a call to the master is dropped");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Never {}

async fn converse(
    leader: &str,
    register: &Register,
    mut outbox: mpsc::Receiver<FromAgent>,
    heard: &(dyn Fn(Heard) + Send + Sync),
) -> Result<Never, String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(ANSWER_MAX)
        .build()
        .map_err(|e| format!("cannot make a client: {e}"))?;
    let subscribing = client.post(format!("http://{leader}{SUBSCRIBE_PATH}")).json(register).send();
    let answer = tokio::time::timeout(ANSWER_MAX, subscribing)
        .await
        .map_err(|_| format!("no answer to the subscription within {ANSWER_MAX:?}"))?
        .map_err(|e| format!("cannot subscribe: {e}"))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("the subscription was answered {}", answer.status()));
    }
    let stream_id = answer.headers().get(STREAM_ID_HEADER).cloned().unwrap_or_else(|| {
        // A master without the header has no use for it either.
        reqwest::header::HeaderValue::from_static("")
    });
    let calls = async {
        while let Some(call) = outbox.recv().await {
            let request = client
                .post(format!("http://{leader}{CALL_PATH}"))
                .header(STREAM_ID_HEADER, stream_id.clone())
                .timeout(ANSWER_MAX)
                .json(&call);
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => return format!("a call was answered {}", answer.status()),
                Err(e) => return format!("a call failed: {e}"),
            }
        }
        "closed".to_owned()
    };
    tokio::select! {
        why = listen(answer, heard) => Err(why),
        why = calls => Err(why),
    }
}

async fn listen(answer: reqwest::Response, heard: &(dyn Fn(Heard) + Send + Sync)) -> String {
    let mut chunks = answer.bytes_stream();
    let mut decoder = Decoder::default();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => decoder.push(&chunk),
            Err(e) => return format!("the stream broke: {e}"),
        }
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => match serde_json::from_slice(&record) {
                    Ok(message) => heard(Heard::Message(Box::new(message))),
                    Err(e) => return format!("a message that isn't of this protocol: {e}"),
                },
                Ok(None) => break,
                Err(e) => return e.to_string(),
            }
        }
    }
    "the master ended the stream".to_owned()
}

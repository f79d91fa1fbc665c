//! One stream, from its first line to its end: requests run at the same time, answers come in any order, everything is
//! bounded, and at the end, whatever ended it, what is held is undone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::codec::{FramedRead, LinesCodec};

use super::protocol::{Answer, Call, Hello, PROTOCOL_VERSION, Reply, Request};

/// Requests that run at the same time; more are refused. A tick of the runner is about ten.
const RUNNING_MAX: usize = 64;
/// A line longer than this is a mistake: the longest is one file of the ledger.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Bound on the time to the first line, before the runner said its own.
const FIRST_LINE_MAX: Duration = Duration::from_secs(30);
/// Bound on undoing everything at the end: the engine thaws a container in milliseconds, or never.
const LET_GO_MAX: Duration = Duration::from_secs(30);

/// What an outpost does with a call. Two exist: the machine it runs on, and the one of the tests.
pub trait Hands: Send + Sync + 'static {
    /// Carries out one call; dropped when its time is over.
    fn call(&self, call: Call, within: Duration) -> impl Future<Output = Result<Reply, String>> + Send;
    /// Undoes every fault that is held.
    fn let_go(&self) -> impl Future<Output = ()> + Send;
}

/// Serves a stream until it ends, its heartbeat stops, or `stop` is there; then lets go of everything.
pub async fn serve<H: Hands>(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
    open: impl FnOnce(Hello) -> Result<H, String>,
) {
    let (answers, outbox) = mpsc::channel(RUNNING_MAX);
    let mut writer = tokio::spawn(write(output, outbox));
    let mut lines = FramedRead::new(input, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let mut session = Session {
        open: Some(open),
        hands: None,
        patience: FIRST_LINE_MAX,
        places: Arc::new(Semaphore::new(RUNNING_MAX)),
        running: JoinSet::new(),
        answers,
    };
    let mut stop = pin!(stop);
    let mut silent_until = Instant::now() + session.patience;
    let why = loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(Ok(line)) => {
                    session.line(&line).await;
                    silent_until = Instant::now() + session.patience;
                }
                Some(Err(error)) => break format!("its input is broken: {error}"),
                None => break "its input ended".to_owned(),
            },
            Some(_) = session.running.join_next() => {}
            () = tokio::time::sleep_until(silent_until) => break "its heartbeat stopped".to_owned(),
            () = &mut stop => break "it was told to stop".to_owned(),
            _ = &mut writer => break "nobody reads its answers".to_owned(),
        }
    };
    tracing::info!(why, "the outpost ends");
    session.running.shutdown().await;
    if let Some(hands) = session.hands
        && tokio::time::timeout(LET_GO_MAX, hands.let_go()).await.is_err()
    {
        tracing::error!("not everything that was held could be undone in time");
    }
}

struct Session<H, F> {
    open: Option<F>,
    hands: Option<Arc<H>>,
    patience: Duration,
    places: Arc<Semaphore>,
    running: JoinSet<()>,
    answers: mpsc::Sender<Answer>,
}

impl<H: Hands, F: FnOnce(Hello) -> Result<H, String>> Session<H, F> {
    async fn line(&mut self, line: &str) {
        match serde_json::from_str::<Request>(line) {
            Ok(request) => self.request(request).await,
            Err(error) => {
                #[derive(Deserialize)]
                struct Id {
                    id: u64,
                }
                match serde_json::from_str::<Id>(line) {
                    Ok(Id { id }) => {
                        self.answer(id, Err(format!("not a request of protocol {PROTOCOL_VERSION}: {error}"))).await;
                    }
                    // The line itself may hold secrets and stays out of the log.
                    Err(error) => {
                        tracing::warn!(%error, "a line is no request and has no id; it is ignored")
                    }
                }
            }
        }
    }

    async fn request(&mut self, request: Request) {
        let Request { id, call, timeout_ms } = request;
        let within = Duration::from_millis(timeout_ms);
        let call = match call {
            Call::Hello(hello) => {
                let result = self.hello(*hello);
                return self.answer(id, result).await;
            }
            Call::Heartbeat => return self.answer(id, Ok(Reply::Done)).await,
            call => call,
        };
        let Some(hands) = self.hands.clone() else {
            return self.answer(id, Err("the first call of a stream must be hello".into())).await;
        };
        let Some(place) = self.place(&call) else {
            let busy = format!("{RUNNING_MAX} requests are running; ask again when one has been answered");
            let _ = self.answers.send(Answer::unasked(id, busy)).await;
            return;
        };
        let answers = self.answers.clone();
        self.running.spawn(async move {
            let answer = match tokio::time::timeout(within, hands.call(call, within)).await {
                Ok(result) => Answer::of(id, result),
                Err(_) => Answer::unasked(id, format!("not done within {timeout_ms} ms")),
            };
            drop(place);
            // A closed outbox ends the session anyway.
            let _ = answers.send(answer).await;
        });
    }

    fn hello(&mut self, hello: Hello) -> Result<Reply, String> {
        if hello.protocol != PROTOCOL_VERSION {
            return Err(format!(
                "the runner speaks protocol {}, this outpost {PROTOCOL_VERSION}; build both from one tree",
                hello.protocol
            ));
        }
        let open = self.open.take().ok_or("a stream has one hello only")?;
        self.patience = Duration::from_millis(hello.heartbeat_timeout_ms);
        self.hands = Some(Arc::new(open(hello)?));
        Ok(Reply::Ready { protocol: PROTOCOL_VERSION })
    }

    /// A place to run in; faults always find one, they are few and must not be lost in a crowd of looks.
    fn place(&self, call: &Call) -> Option<Option<OwnedSemaphorePermit>> {
        match call {
            Call::Inject { .. } | Call::Undo { .. } | Call::Sweep => Some(None),
            _ => Arc::clone(&self.places).try_acquire_owned().ok().map(Some),
        }
    }

    async fn answer(&self, id: u64, result: Result<Reply, String>) {
        let _ = self.answers.send(Answer::of(id, result)).await;
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut outbox: mpsc::Receiver<Answer>) -> std::io::Result<()> {
    while let Some(answer) = outbox.recv().await {
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

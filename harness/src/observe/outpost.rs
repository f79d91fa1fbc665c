//! The runner's end of an outpost: one stream per machine, kept open for as long as the client lives.
//!
//! Requests and answers are matched by id, in any order. A probe's begin is stamped just before its request is written and
//! its end when its answer has been read. A stream that ends, or on which even heartbeats go unanswered, is opened anew:
//! a killed machine may come back at any time. While there is no stream, every call fails at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use stormbed::clock::{Clock, Millis};
use stormbed::outpost::protocol::{Answer, Call, PROTOCOL_VERSION, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::machines::{Machines, OutpostStream};
use super::observation::Probe;

/// The stream's own rhythm.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// Between heartbeats. An outpost undoes its faults after `Hello::heartbeat_timeout_ms` (some seconds) without a line.
    pub heartbeat_every: Duration,
    /// The machine is frozen or gone when nothing came for so long, and a new stream is the only cure: five heartbeats.
    pub silence_max: Duration,
    /// Between attempts to open a stream: a machine that was killed takes seconds to come back.
    pub reopen_every: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            heartbeat_every: Duration::from_secs(1),
            silence_max: Duration::from_secs(5),
            reopen_every: Duration::from_millis(500),
        }
    }
}

/// Opening is one `docker exec`; a loaded engine takes a second or two.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// Calls without an answer on one stream. A tick has about 5 and a sweep about 12; more means that the outpost is stuck.
const IN_FLIGHT_MAX: usize = 128;
/// What the answer may take on its way after the outpost's own deadline.
const GRACE: Duration = Duration::from_millis(200);

/// A client of one machine's outpost. Clones share the stream; it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Outpost {
    machine: String,
    calls: mpsc::Sender<Pending>,
    connected: watch::Receiver<Option<String>>,
    clock: Clock,
    _guard: Arc<DropGuard>,
}

#[derive(Debug)]
struct Pending {
    call: Call,
    timeout: Duration,
    answer: oneshot::Sender<Probe<Result<Reply, String>>>,
}

#[derive(Debug)]
struct Flight {
    begin: Millis,
    answer: oneshot::Sender<Probe<Result<Reply, String>>>,
}

type Flights = Arc<Mutex<BTreeMap<u64, Flight>>>;

impl Outpost {
    /// A client that opens its stream in the background.
    #[must_use]
    pub fn open(machine: &str, machines: Arc<dyn Machines>, clock: Clock) -> Self {
        Self::open_with(machine, machines, clock, Rhythm::default())
    }

    /// The same, with another rhythm.
    #[must_use]
    pub fn open_with(machine: &str, machines: Arc<dyn Machines>, clock: Clock, rhythm: Rhythm) -> Self {
        let (calls, queue) = mpsc::channel(IN_FLIGHT_MAX);
        let (state, connected) = watch::channel(Some("not connected yet".to_owned()));
        let stop = CancellationToken::new();
        let keeper = Keeper { machine: machine.to_owned(), machines, clock, rhythm, state };
        let guard = Arc::new(stop.clone().drop_guard());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = keeper.run(queue) => {}
            }
        });
        Self { machine: machine.to_owned(), calls, connected, clock, _guard: guard }
    }

    /// Name of the machine.
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// There is a stream, and the outpost has said that it is ready.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.borrow().is_none()
    }

    /// Waits until there is a stream.
    ///
    /// # Errors
    /// If there is none within `bound`; says why the last attempt failed.
    pub async fn ready(&self, bound: Duration) -> Result<(), String> {
        let mut state = self.connected.clone();
        let waited = timeout(bound, state.wait_for(Option::is_none)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            _ => Err(format!(
                "no outpost on {} within {} s: {}",
                self.machine,
                bound.as_secs(),
                self.connected.borrow().clone().unwrap_or_default()
            )),
        }
    }

    /// One call. The outpost has `bound` for it.
    pub async fn call(&self, call: Call, bound: Duration) -> Probe<Reply> {
        let Probe { begin, end, result } = self.ask(call, bound).await;
        Probe { begin, end, result: result.flatten() }
    }

    /// One call, which tells an outpost that could not be asked (outer error) from what it answered.
    pub async fn ask(&self, call: Call, bound: Duration) -> Probe<Result<Reply, String>> {
        let begin = self.clock.now();
        if let Some(why) = self.connected.borrow().clone() {
            return self.failed(begin, format!("no outpost on {}: {why}", self.machine));
        }
        let (answer, answered) = oneshot::channel();
        let pending = Pending { call, timeout: bound, answer };
        if self.calls.try_send(pending).is_err() {
            let why = format!("the outpost on {} has {IN_FLIGHT_MAX} calls waiting", self.machine);
            return self.failed(begin, why);
        }
        match timeout(bound + GRACE, answered).await {
            Ok(Ok(probe)) => probe,
            Ok(Err(_)) => self.failed(begin, format!("the stream to {} ended", self.machine)),
            Err(_) => {
                let ms = (bound + GRACE).as_millis();
                self.failed(begin, format!("no answer from {} within {ms} ms", self.machine))
            }
        }
    }

    fn failed<T>(&self, begin: Millis, why: String) -> Probe<T> {
        Probe { begin, end: self.clock.now(), result: Err(why) }
    }
}

/// Keeps one stream open.
struct Keeper {
    machine: String,
    machines: Arc<dyn Machines>,
    clock: Clock,
    rhythm: Rhythm,
    /// None = connected; else why not.
    state: watch::Sender<Option<String>>,
}

impl Keeper {
    async fn run(self, mut queue: mpsc::Receiver<Pending>) {
        // Not bounded in count: a machine under a fault may come back at any time, and the client's drop ends this task.
        loop {
            let why = match self.opened().await {
                Ok(stream) => self.serve(stream, &mut queue).await,
                Err(why) => why,
            };
            tracing::debug!(machine = %self.machine, %why, "no stream to the outpost");
            self.state.send_replace(Some(why));
            while let Ok(pending) = queue.try_recv() {
                drop(pending);
            }
            tokio::time::sleep(self.rhythm.reopen_every).await;
        }
    }

    async fn opened(&self) -> Result<OutpostStream, String> {
        timeout(OPEN_MAX, self.machines.open_outpost(&self.machine))
            .await
            .unwrap_or_else(|_| Err(format!("not opened within {} s", OPEN_MAX.as_secs())))
    }

    /// Serves calls until the stream is over; returns why.
    async fn serve(&self, stream: OutpostStream, queue: &mut mpsc::Receiver<Pending>) -> String {
        let OutpostStream { read, mut write } = stream;
        let mut lines = BufReader::new(read);
        let Some(hello) = self.machines.hello(&self.machine) else {
            return "this machine has no outpost".to_owned();
        };
        let hello = Call::Hello(Box::new(hello));
        let greeted = timeout(OPEN_MAX, greet(&mut lines, &mut write, hello)).await;
        match greeted {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why,
            Err(_) => return format!("no greeting within {} s", OPEN_MAX.as_secs()),
        }
        self.state.send_replace(None);
        let flights = Flights::default();
        let why = tokio::select! {
            why = self.write_calls(write, queue, &flights) => why,
            why = self.read_answers(lines, &flights) => why,
        };
        self.state.send_replace(Some(why.clone()));
        let end = self.clock.now();
        for (_, flight) in std::mem::take(&mut *locked(&flights)) {
            let probe =
                Probe { begin: flight.begin, end, result: Err(format!("the stream to {} ended: {why}", self.machine)) };
            let _ = flight.answer.send(probe);
        }
        why
    }

    async fn write_calls(
        &self,
        mut write: impl AsyncWrite + Unpin,
        queue: &mut mpsc::Receiver<Pending>,
        flights: &Flights,
    ) -> String {
        let mut heartbeat = tokio::time::interval(self.rhythm.heartbeat_every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut id = 1; // 0 was the greeting
        loop {
            let pending = tokio::select! {
                pending = queue.recv() => match pending {
                    Some(pending) => Some(pending),
                    None => return "the client is gone".to_owned(),
                },
                _ = heartbeat.tick() => None,
            };
            let (call, bound) = match &pending {
                // Its caller has given up: an act must not take place behind its back.
                Some(pending) if pending.answer.is_closed() => continue,
                Some(pending) => (pending.call.clone(), pending.timeout),
                None => (Call::Heartbeat, self.rhythm.heartbeat_every),
            };
            if let Some(pending) = pending
                && let Err(pending) = self.launch(id, pending, flights)
            {
                let begin = self.clock.now();
                let why = format!("{IN_FLIGHT_MAX} calls to {} are unanswered", self.machine);
                let _ = pending.answer.send(Probe { begin, end: begin, result: Err(why) });
                continue;
            }
            let request = Request { id, call, timeout_ms: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX) };
            id += 1;
            match timeout(self.rhythm.silence_max, write_line(&mut write, &request)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return why,
                Err(_) => return "its input is blocked".to_owned(),
            }
        }
    }

    /// Notes a call as being in flight, unless too many are.
    fn launch(&self, id: u64, pending: Pending, flights: &Flights) -> Result<(), Pending> {
        let mut flights = locked(flights);
        // Whoever stopped waiting has closed its end.
        flights.retain(|_, flight| !flight.answer.is_closed());
        if flights.len() >= IN_FLIGHT_MAX {
            return Err(pending);
        }
        let flight = Flight { begin: self.clock.now(), answer: pending.answer };
        flights.insert(id, flight);
        Ok(())
    }

    async fn read_answers(&self, mut lines: impl AsyncBufReadExt + Unpin, flights: &Flights) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let deadline = Instant::now() + self.rhythm.silence_max;
            match timeout_at(deadline, lines.read_line(&mut line)).await {
                Ok(Ok(0)) => return "it ended".to_owned(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return format!("reading failed: {error}"),
                Err(_) => return format!("silent for {:?}", self.rhythm.silence_max),
            }
            let end = self.clock.now();
            let answer: Answer = match serde_json::from_str(&line) {
                Ok(answer) => answer,
                Err(error) => return format!("not an answer: {error}: {}", head(&line)),
            };
            // An unknown id is a heartbeat's, or one whose caller has given up.
            if let Some(flight) = locked(flights).remove(&answer.id) {
                let result = match answer.result {
                    Err(why) if answer.unasked => Err(why),
                    answered => Ok(answered),
                };
                let _ = flight.answer.send(Probe { begin: flight.begin, end, result });
            }
        }
    }
}

async fn greet(
    lines: &mut (impl AsyncBufReadExt + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    hello: Call,
) -> Result<(), String> {
    let request = Request { id: 0, call: hello, timeout_ms: u64::try_from(OPEN_MAX.as_millis()).unwrap_or(u64::MAX) };
    write_line(write, &request).await?;
    let mut line = String::new();
    let read = lines.read_line(&mut line).await;
    if read.map_err(|e| format!("reading failed: {e}"))? == 0 {
        return Err("it ended before it answered the greeting".to_owned());
    }
    let answer: Answer =
        serde_json::from_str(&line).map_err(|e| format!("not an answer to the greeting: {e}: {}", head(&line)))?;
    match answer.result? {
        Reply::Ready { protocol } if protocol == PROTOCOL_VERSION => Ok(()),
        other => Err(format!(
            "expected protocol {PROTOCOL_VERSION}, found {other:?}: image and runner are from different builds"
        )),
    }
}

async fn write_line(write: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), String> {
    let mut line = serde_json::to_vec(request).map_err(|e| format!("request not written: {e}"))?;
    line.push(b'\n');
    write.write_all(&line).await.map_err(|e| format!("writing failed: {e}"))?;
    write.flush().await.map_err(|e| format!("writing failed: {e}"))
}

fn locked(flights: &Flights) -> MutexGuard<'_, BTreeMap<u64, Flight>> {
    flights.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The start of a line, for a message.
fn head(line: &str) -> String {
    line.chars().take(120).collect()
}

#[cfg(test)]
#[path = "outpost_tests.rs"]
mod tests;

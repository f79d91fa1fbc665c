//! One step after the other, inside of a case's network namespace: requests are sent when they were sent, and what comes back
//! is compared at once.
//!
//! Times: a step follows the one before it after the recorded time, so silence is as long as it was. An event may be late (the
//! machine is busy) but not early where the recording waited for it, because that is a rule then: a filter, a retry, a timeout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::case::{Case, Kind, Request};
use super::cluster::{self, Cluster};
use super::http::{Connection, Head, bytes};
use super::inspect;
use super::lanes::{OFFERS, check_heartbeats, has_free_order, is_heartbeat, lane, update_uuid};
use super::matching::{Bindings, Difference, Order, keeps_length};
use super::refused::Refused;
use super::streams::{Received, Stream};

/// An event that the recording waited for at least so long came by a rule of time.
const RULE_MS: u64 = 2_000;
/// An event of no rule may take this long.
const EVENT_MAX: Duration = Duration::from_secs(12);
/// The recordings end a silence where they like: what came this much before its end counts as after it.
const EDGE: Duration = Duration::from_millis(250);
/// The same for offers: allocations come every second, with another phase each time.
const EDGE_OFFERS: Duration = Duration::from_millis(1_100);
/// An event that the recording has this soon after a silence may come inside of it: a container starts faster, an allocation
/// has another phase.
const AHEAD_MS: u64 = 2_500;
/// A duplicate that the recording has comes this soon, or not at all.
const DUPLICATE_MAX: Duration = Duration::from_millis(1_500);

/// How a case ended. Written to a file for the runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Nothing if it passed.
    pub failure: Option<Failure>,
}

/// The first difference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// Index of the step among the steps, from 0; none before the first.
    pub step: Option<usize>,
    /// Its recorded time.
    pub t_ms: u64,
    /// What step it is.
    pub what: String,
    /// Where inside.
    pub path: String,
    /// What was recorded.
    pub expected: String,
    /// What was there instead.
    pub got: String,
}

/// How requests use connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    /// Each its own.
    Own,
    /// All the same.
    Kept,
    /// All the same, and those that follow each other are written at once.
    Pipelined,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    head: Head,
    /// None where a stream begins.
    body: Option<Vec<u8>>,
}

pub(super) struct Replay<'a> {
    case: &'a Case,
    refused: Option<&'a Refused>,
    /// Streams that a refused call would have opened.
    absent: BTreeSet<String>,
    pub(super) cluster: Cluster,
    pub(super) bindings: Bindings,
    streams: BTreeMap<String, Stream>,
    answers: BTreeMap<u64, Result<Answer, String>>,
    kept: Option<Connection>,
    connections: Connections,
    /// When each step was done.
    done: Vec<Instant>,
    /// Uuids of updates that came.
    seen: BTreeSet<String>,
    /// Whether an agent or a scheduler has come again: updates may come twice then.
    again: bool,
    /// The container's document of the last event.
    document: Value,
    trace: std::fs::File,
}

/// The directory of the recordings' host, with what a task reads in it.
fn shared_directory(root: &Path) -> std::io::Result<PathBuf> {
    let dir = root.join("shared");
    std::fs::create_dir_all(dir.join("host-vol"))?;
    std::fs::write(dir.join("host-vol/hello"), "hi\n")?;
    Ok(dir)
}

/// Replays a case. `root` is for its processes, `out` for logs and the trace.
pub async fn replay(case: &Case, text: &str, refused: Option<&Refused>, [root, out, stormd]: [&Path; 3]) -> Outcome {
    let failed = |what: &str, why: String| Outcome {
        failure: Some(Failure {
            step: None,
            t_ms: 0,
            what: what.to_owned(),
            path: String::new(),
            expected: "success".to_owned(),
            got: why,
        }),
    };
    let mut cluster = Cluster::new(case, root, out, stormd);
    let trace = match std::fs::File::create(out.join("trace.jsonl")) {
        Ok(trace) => trace,
        Err(error) => return failed("opening the trace", error.to_string()),
    };
    if let Err(why) = cluster.begin(case, text).await {
        return failed("starting the cluster", why);
    }
    let shared = match shared_directory(root) {
        Ok(shared) => shared,
        Err(error) => return failed("making the directory that volumes show", error.to_string()),
    };
    let mut bindings = Bindings::default();
    bindings.know("dir", &shared.display().to_string());
    for name in case.mesos_flags.keys() {
        bindings.know(&format!("work_dir:{name}"), &cluster.work_dir(name).display().to_string());
    }
    if let Ok(host) = nix::unistd::gethostname() {
        bindings.know("host", &host.to_string_lossy());
    }
    let mut replay = Replay {
        case,
        refused,
        absent: BTreeSet::new(),
        cluster,
        bindings,
        streams: BTreeMap::new(),
        answers: BTreeMap::new(),
        kept: None,
        connections: Connections::Own,
        done: Vec::new(),
        seen: BTreeSet::new(),
        again: false,
        document: Value::Null,
        trace,
    };
    replay.cluster.fall_into_step(case).await;
    let failure = replay.run().await.err();
    let _ = std::io::Write::flush(&mut replay.trace);
    Outcome { failure }
}

impl Replay<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        for index in 0..self.case.steps.len() {
            let step = &self.case.steps[index];
            // Those that wait for something are not held up.
            if !matches!(
                step.kind,
                Kind::Answer { .. }
                    | Kind::Event { .. }
                    | Kind::Decoded(_)
                    | Kind::StreamEnd { .. }
                    | Kind::Watched { .. }
            ) {
                let (before, t_ms) = match index.checked_sub(1) {
                    Some(before) => (self.done[before], self.case.steps[before].t_ms),
                    None => (started, 0),
                };
                sleep_until(before + Duration::from_millis(step.t_ms.saturating_sub(t_ms))).await;
            }
            let result = self.step(index).await;
            self.done.push(Instant::now());
            result.map_err(|difference| failure(self.case, index, difference))?;
            let last = self.refused.and_then(|refused| refused.last);
            if let Kind::Send(Request { no, .. }) = &step.kind
                && Some(*no) == last
            {
                let answered = self.compare_answer(*no, &Value::Null);
                return answered.map_err(|difference| failure(self.case, index, difference));
            }
        }
        let last = self.case.steps.len().saturating_sub(1);
        let labels: Vec<_> = self.streams.keys().cloned().collect();
        for label in labels {
            let checked = self.close(&label).and_then(|stream| {
                let end = Instant::now();
                self.check_rest(last, &label, &stream, end)
            });
            checked.map_err(|difference| failure(self.case, last, difference))?;
        }
        Ok(())
    }

    async fn step(&mut self, index: usize) -> Result<(), Difference> {
        let case = self.case;
        if let Kind::Event { stream, .. } | Kind::StreamEnd { stream, .. } | Kind::Watched { stream: Some(stream), .. } =
            &case.steps[index].kind
            && self.absent.contains(stream)
        {
            return Ok(());
        }
        match &case.steps[index].kind {
            Kind::Send(request) => self.send(index, request).await,
            Kind::Answer { no, answer } => self.compare_answer(*no, answer),
            Kind::Event { event, .. } if is_heartbeat(event) => Ok(()),
            Kind::Event { stream, event } => self.event(index, stream, event).await,
            Kind::Decoded(value) => {
                let (mut recorded, document) = (value[0].clone(), self.document[0].clone());
                // A task that ends at once may have ended when its container is looked at, or not yet.
                if [&recorded, &document].iter().any(|one| one["State"]["Running"] == false)
                    && let Some(recorded) = recorded.as_object_mut()
                {
                    recorded.remove("State");
                }
                inspect::compare(&mut self.bindings, &recorded, &document)
            }
            Kind::StreamEnd { stream, how } => self.stream_end(stream, how).await,
            Kind::Action(what) => self.act(what).await,
            Kind::Observe { what, value } => self.observe(what, value).await,
            Kind::Watched { stream, ms } => self.watch(index, stream.as_deref(), *ms).await,
            Kind::Note(text) => {
                self.connections = match text.as_str() {
                    "one connection, one request at a time" => Connections::Kept,
                    "the same connection, four requests in one write" => Connections::Pipelined,
                    "the same connection after Connection: close" => Connections::Kept,
                    _ => self.connections,
                };
                Ok(())
            }
        }
    }

    fn trace(&mut self, what: &str, value: &Value) {
        let ms = self.done.first().map_or(0, |first| first.elapsed().as_millis() as u64);
        let line = json!({"t_ms": ms, what: value});
        // The trace is for people; a full disk shows elsewhere.
        let _ = std::io::Write::write_all(&mut self.trace, format!("{line}\n").as_bytes());
    }

    // ---- requests -----------------------------------------------------------------------------------------------------

    fn filled(&mut self, request: &Request) -> Request {
        let mut filled = request.clone();
        filled.body = self.bindings.fill(&request.body);
        for value in filled.headers.values_mut() {
            *value = self.bindings.fill_text(value);
        }
        filled.path = self.bindings.fill_text(&request.path);
        filled
    }

    async fn send(&mut self, index: usize, request: &Request) -> Result<(), Difference> {
        if self.answers.contains_key(&request.no) {
            return Ok(());
        }
        let batch: Vec<Request> = match self.connections {
            Connections::Pipelined => {
                let steps = &self.case.steps[index..];
                let same = steps.iter().map_while(|step| match &step.kind {
                    Kind::Send(request) => Some(request),
                    _ => None,
                });
                same.cloned().collect()
            }
            _ => vec![request.clone()],
        };
        let batch: Vec<_> = batch.iter().map(|request| self.filled(request)).collect();
        for request in &batch {
            self.trace(
                "send",
                &json!({"no": request.no, "to": request.to, "path": request.path, "body": request.body}),
            );
        }
        let address =
            self.cluster.address(&request.to).map_err(|why| Difference::new("$", "a process", why))?.to_owned();
        let deadline = self.patience();
        loop {
            if let Err(why) = self.exchange(&address, &batch).await {
                for request in &batch {
                    self.answers.entry(request.no).or_insert(Err(why.clone()));
                }
            }
            if Instant::now() > deadline || !self.is_asked_again(index, request) {
                return Ok(());
            }
            self.answers.remove(&request.no);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The recorder's own question whether a master leads yet was asked until it did; the file holds the last answer.
    fn is_asked_again(&self, index: usize, request: &Request) -> bool {
        let question = json!({"type": "TEARDOWN", "framework_id": {"value": "x"}});
        let recorded = self.case.steps[index..].iter().find_map(|step| match &step.kind {
            Kind::Answer { no, answer } if *no == request.no => answer["status"].as_u64(),
            _ => None,
        });
        let waits = match self.answers.get(&request.no) {
            Some(Ok(answer)) => matches!(answer.head.status, 307 | 503),
            _ => true,
        };
        request.body == question && recorded == Some(400) && waits
    }

    /// Sends requests and reads their answers.
    async fn exchange(&mut self, address: &str, batch: &[Request]) -> Result<(), String> {
        let mut connection = match self.kept.take().filter(|_| self.connections != Connections::Own) {
            Some(connection) => connection,
            None => Connection::open(address).await.map_err(|e| e.to_string())?,
        };
        let all: Vec<u8> = batch.iter().flat_map(|request| bytes(request, address)).collect();
        connection.send(&all).await.map_err(|e| e.to_string())?;
        for request in batch {
            let head = connection.head().await.map_err(|e| e.to_string())?;
            if head.status == 200 && head.is_chunked() {
                // Streams that the recorder hadn't expected are called so.
                let label = &request.stream.clone().unwrap_or_else(|| format!("h{}", request.no));
                // A label that is used again: the stream before is over, one way or the other.
                self.again |= self.streams.contains_key(label) || !self.streams.is_empty();
                self.absent.remove(label);
                self.streams.insert(label.clone(), Stream::open(connection));
                self.answers.insert(request.no, Ok(Answer { head, body: None }));
                return Ok(());
            }
            let body = connection.body(&head, &request.method).await.map_err(|e| e.to_string())?;
            self.answers.insert(request.no, Ok(Answer { head, body: Some(body) }));
        }
        if self.connections != Connections::Own {
            self.kept = Some(connection);
        }
        Ok(())
    }

    fn compare_answer(&mut self, no: u64, recorded: &Value) -> Result<(), Difference> {
        let instead = self.refused.and_then(|refused| refused.instead.get(&no.to_string()));
        if let Some(instead) = instead {
            return self.compare_refusal(no, instead);
        }
        let answer = self.answers.remove(&no).unwrap_or_else(|| Err("the request was never sent".to_owned()));
        let shown = match &answer {
            Ok(answer) => {
                let body = answer.body.as_deref().map(String::from_utf8_lossy);
                json!({"no": no, "status": answer.head.status, "headers": answer.head.headers, "body": body})
            }
            Err(why) => json!({"no": no, "error": why}),
        };
        self.trace("recv_http", &shown);
        let (answer, recorded_error) = match (answer, recorded.get("error")) {
            // No answer then, no answer now; the words are the recorder's language's.
            (Err(_), Some(_)) => return Ok(()),
            (Err(why), None) => return Err(Difference::new("$", &recorded["status"], why)),
            (Ok(answer), error) => (answer, error),
        };
        if let Some(error) = recorded_error {
            return Err(Difference::new("$", error, answer.head.status));
        }
        let said = json!({"status": answer.head.status, "reason": answer.head.reason});
        for key in ["status", "reason"] {
            let path = format!("$.{key}");
            self.bindings.value(&recorded[key], &said[key], &path, Order::Kept).map_err(|mut difference| {
                if let Some(body) = &answer.body {
                    difference.got = format!("{} ({})", difference.got, String::from_utf8_lossy(body));
                }
                difference
            })?;
        }
        let has_length = recorded["headers"].get("Content-Length").is_some();
        self.compare_body(no, &recorded["body"], &answer, has_length)?;
        self.compare_headers(&recorded["headers"], &recorded["body"], &answer.head)
    }

    fn compare_refusal(&mut self, no: u64, instead: &super::refused::Answer) -> Result<(), Difference> {
        let request = self.case.steps.iter().find_map(|step| match &step.kind {
            Kind::Send(request) if request.no == no => Some(request),
            _ => None,
        });
        self.absent.extend(request.and_then(|request| request.stream.clone()));
        let wanted = format!("{} {}", instead.status, instead.body);
        let said = match self.answers.remove(&no) {
            Some(Ok(Answer { head, body: Some(body) })) => {
                format!("{} {}", head.status, String::from_utf8_lossy(&body))
            }
            other => format!("{other:?}"),
        };
        if said == wanted { Ok(()) } else { Err(Difference::new("$", wanted, said)) }
    }

    fn compare_headers(&mut self, recorded: &Value, body: &Value, head: &Head) -> Result<(), Difference> {
        let mut recorded = recorded.as_object().cloned().unwrap_or_default();
        let mut said: serde_json::Map<String, Value> =
            head.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        // The recordings leave it out where the body isn't the original's, and keep it sometimes.
        if !recorded.contains_key("Content-Length") || !keeps_length(body) {
            recorded.remove("Content-Length");
            said.remove("Content-Length");
        }
        self.bindings.value(&recorded.into(), &said.into(), "$.headers", Order::Kept)
    }

    fn compare_body(&mut self, no: u64, recorded: &Value, answer: &Answer, has_length: bool) -> Result<(), Difference> {
        let Some(body) = &answer.body else {
            return match recorded.as_str() {
                Some("<stream>") => Ok(()),
                _ => Err(Difference::new("$.body", recorded, "a stream")),
            };
        };
        let text = String::from_utf8_lossy(body).into_owned();
        let json =
            serde_json::from_str(&text).ok().filter(|_| answer.head.header("Content-Type") == Some("application/json"));
        let mut said = json.unwrap_or(Value::String(text));
        // A long document is recorded in part, which shows in the length that isn't there.
        if !has_length {
            if let (Value::Array(_), Value::Array(frameworks)) = (recorded, &said["get_frameworks"]["frameworks"]) {
                said = frameworks.iter().map(|framework| framework["framework_info"].clone()).collect();
            }
            trim(recorded, &mut said);
        }
        if self.refused.is_some_and(|refused| refused.incomplete.contains(&no)) {
            return check_names(recorded, &said);
        }
        let mut recorded = recorded.clone();
        if let Some(recorded) = recorded.as_object_mut() {
            // Where the recorder had its logs.
            recorded.remove("log_dir");
        }
        self.bindings.value(&recorded, &said, "$.body", Order::Free)
    }

    // ---- events -------------------------------------------------------------------------------------------------------

    fn stream(&self, label: &str) -> Result<&Stream, Difference> {
        self.streams.get(label).ok_or_else(|| Difference::new("$", format!("the stream {label}"), "none was opened"))
    }

    async fn event(&mut self, index: usize, label: &str, recorded: &Value) -> Result<(), Difference> {
        let lane = lane(&self.bindings.clone().fill(recorded));
        let (cause, waited_ms) = self.cause(index);
        let mut deadline = (cause + Duration::from_millis(waited_ms)).max(Instant::now()) + EVENT_MAX;
        let duplicate = update_uuid(recorded).is_some_and(|uuid| {
            let filled = self.bindings.clone().fill_text(uuid);
            self.again && self.seen.contains(&filled)
        });
        if duplicate {
            deadline = Instant::now() + DUPLICATE_MAX;
        }
        let received = loop {
            let received = self.stream(label)?.take(&lane, deadline).await;
            match received {
                Some(received) if !duplicate && self.is_duplicate(recorded, &received) => {}
                Some(received) => break received,
                None if duplicate => return Ok(()),
                None => {
                    let came = self.stream(label)?.waiting().into_iter().map(|r| r.event.to_string());
                    let came: Vec<_> = came.collect();
                    return Err(Difference::new(
                        "$",
                        recorded,
                        format!("nothing in time; waiting: [{}]", came.join(", ")),
                    ));
                }
            }
        };
        self.trace("event", &received.event);
        self.remember(&received);
        let (path, order) = if has_free_order(recorded) { ("$", Order::Free) } else { ("$", Order::Kept) };
        self.bindings.value(recorded, &received.event, path, order)?;
        let took = received.at.saturating_duration_since(cause);
        // An agent comes back after a random part of its back-off.
        let by_lot = recorded["update"]["status"]["reason"] == "REASON_AGENT_REREGISTERED";
        if !by_lot && waited_ms >= RULE_MS && took < Duration::from_millis(waited_ms / 2) {
            return Err(Difference::new(
                "$",
                format!("after {waited_ms} ms"),
                format!("after {} ms", took.as_millis()),
            ));
        }
        Ok(())
    }

    /// When that was done what the recording waited after, and how long it did.
    fn cause(&self, index: usize) -> (Instant, u64) {
        let before = self.case.steps[..index].iter().enumerate().rev();
        let cause = before.into_iter().find(|(_, step)| match &step.kind {
            Kind::Event { event, .. } => !is_heartbeat(event),
            kind => matches!(kind, Kind::Send(_) | Kind::Answer { .. } | Kind::Action(_) | Kind::Observe { .. }),
        });
        match cause {
            Some((at, step)) => (self.done[at], self.case.steps[index].t_ms.saturating_sub(step.t_ms)),
            None => (Instant::now(), 0),
        }
    }

    /// After something came again, updates that are not acknowledged yet come more often than once; how often has no meaning.
    fn is_duplicate(&self, recorded: &Value, received: &Received) -> bool {
        let known = update_uuid(&received.event).is_some_and(|uuid| self.seen.contains(uuid));
        known && self.again && !self.fits(recorded, &received.event)
    }

    fn fits(&self, recorded: &Value, event: &Value) -> bool {
        self.bindings.clone().value(recorded, event, "$", Order::Kept).is_ok()
    }

    fn remember(&mut self, received: &Received) {
        if let Some(uuid) = update_uuid(&received.event) {
            self.seen.insert(uuid.to_owned());
        }
        let data = received.event["update"]["status"]["data"].as_str();
        if let Some(bytes) = data.and_then(|data| BASE64_STANDARD.decode(data).ok()) {
            self.document = serde_json::from_slice(&bytes).unwrap_or_default();
        }
    }

    async fn watch(&mut self, index: usize, label: Option<&str>, ms: u64) -> Result<(), Difference> {
        let t_ms = self.case.steps[index].t_ms;
        let begun = t_ms.saturating_sub(ms) + 20;
        let before = self.case.steps[..index].iter().rposition(|step| step.t_ms <= begun);
        let end = match before {
            Some(before) => self.done[before] + Duration::from_millis(t_ms - self.case.steps[before].t_ms),
            None => Instant::now() + Duration::from_millis(ms),
        };
        sleep_until(end).await;
        let Some(stream) = label.and_then(|label| self.streams.remove(label)) else {
            return Ok(());
        };
        let label = label.unwrap_or_default();
        let checked = self.check_rest(index, label, &stream, end);
        self.streams.insert(label.to_owned(), stream);
        checked
    }

    /// Nothing may have come that the recording doesn't have, or has much later.
    fn check_rest(&mut self, index: usize, label: &str, stream: &Stream, end: Instant) -> Result<(), Difference> {
        if self.again {
            stream.forget(|received| update_uuid(&received.event).is_some_and(|uuid| self.seen.contains(uuid)));
        }
        let horizon = self.case.steps[index].t_ms + AHEAD_MS;
        let mut coming: Vec<String> = Vec::new();
        for step in self.case.steps[index..].iter().take_while(|step| step.t_ms <= horizon) {
            if let Kind::Event { stream, event } = &step.kind
                && stream == label
            {
                coming.push(lane(&self.bindings.clone().fill(event)));
            }
        }
        let edge = |received: &Received| if received.lane == OFFERS { EDGE_OFFERS } else { EDGE };
        for received in stream.waiting().into_iter().filter(|received| received.at + edge(received) < end) {
            match coming.iter().position(|lane| *lane == received.lane) {
                Some(at) => {
                    coming.remove(at);
                }
                None => return Err(Difference::new("$", "nothing", &received.event)),
            }
        }
        Ok(())
    }

    async fn stream_end(&mut self, label: &str, how: &str) -> Result<(), Difference> {
        let ended = self.stream(label)?.ended(Instant::now() + EVENT_MAX).await;
        match ended {
            Some(end) if end == how => {}
            Some(end) => return Err(Difference::new("$.how", how, end)),
            None => return Err(Difference::new("$", "the stream's end", "the stream goes on")),
        }
        let end = Instant::now() + EDGE * 2;
        let stream = self.close(label)?;
        self.check_rest(self.done.len(), label, &stream, end)
    }

    /// Takes a stream out and checks its heartbeats.
    fn close(&mut self, label: &str) -> Result<Stream, Difference> {
        let stream = self.streams.remove(label);
        let stream = stream.ok_or_else(|| Difference::new("$", format!("the stream {label}"), "none is open"))?;
        if let (beats, Some(interval), open) = stream.heartbeats() {
            check_heartbeats(&beats, interval, open).map_err(|why| Difference::new("$", "steady heartbeats", why))?;
        }
        Ok(stream)
    }

    // ---- from outside -------------------------------------------------------------------------------------------------

    async fn act(&mut self, what: &str) -> Result<(), Difference> {
        let what = self.bindings.fill_text(what);
        self.trace("action", &what.as_str().into());
        let failed = |why: String| Difference::new("$", "success", why);
        let words: Vec<&str> = what.split(' ').collect();
        match words.as_slice() {
            ["client", "closes", "stream", label] if self.absent.contains(*label) => Ok(()),
            ["client", "closes", "stream", label] => {
                let stream = self.close(label)?;
                self.again = true;
                self.check_rest(self.done.len(), label, &stream, Instant::now())
            }
            ["client", "resets", "stream", label] => {
                self.again = true;
                self.close(label)?.reset().await;
                Ok(())
            }
            ["docker", arguments @ ..] => cluster::docker(arguments).await.map(|_| ()).map_err(failed),
            ["kill", "-9", "of", "the", "docker", "executor", .., agent] => {
                cluster::kill_executors(&self.cluster.work_dir(agent)).map(|_| ()).map_err(failed)
            }
            ["kill", signal, _, name] => {
                let signal = match *signal {
                    "-9" => Signal::SIGKILL,
                    "-STOP" => Signal::SIGSTOP,
                    "-CONT" => Signal::SIGCONT,
                    "-TERM" => Signal::SIGTERM,
                    "-USR1" => Signal::SIGUSR1,
                    other => return Err(failed(format!("an unknown signal {other}"))),
                };
                self.again |= signal == Signal::SIGCONT;
                self.cluster.signal(name, signal).await.map_err(failed)
            }
            ["start", "zookeeper", _] => self.cluster.start_zookeeper().await.map_err(failed),
            ["start", "with", new, "instead", "of", old, _, name] => {
                self.cluster.start(name, |flag| flag.replace(old, new)).map_err(failed)
            }
            ["start", _, name] => {
                self.again = true;
                self.cluster.start(name, str::to_owned).map_err(failed)
            }
            _ => Err(failed("the replayer doesn't know this action".to_owned())),
        }
    }

    pub(super) async fn is_kept_connection_closed(&mut self) -> bool {
        match &mut self.kept {
            Some(connection) => connection.is_closed_soon().await,
            None => false,
        }
    }

    /// When an observation must have come true: the recording's time since the step before, and patience.
    pub(super) fn patience(&self) -> Instant {
        Instant::now() + EVENT_MAX
    }
}

/// Leaves out what a recording that is no whole document doesn't have: members, on every level, and entries
/// `{"name": …, "value": …}` of lists.
fn trim(recorded: &Value, said: &mut Value) {
    match (recorded, said) {
        (Value::Object(recorded), Value::Object(said)) => {
            said.retain(|key, _| recorded.contains_key(key));
            said.iter_mut().for_each(|(key, said)| trim(&recorded[key], said));
        }
        (Value::Array(recorded), Value::Array(said)) if recorded.iter().all(|one| one["value"] != Value::Null) => {
            said.retain(|one| recorded.iter().any(|other| other["name"] == one["name"]));
        }
        (Value::Array(recorded), Value::Array(said)) => {
            // Things in a list are alike: one that has no partner shows by itself.
            for (at, one) in said.iter_mut().enumerate() {
                if let Some(partner) = recorded.get(at).or(recorded.last()) {
                    trim(partner, one);
                }
            }
        }
        _ => {}
    }
}

/// Every member is among the recorded names.
fn check_names(recorded: &Value, said: &Value) -> Result<(), Difference> {
    let names = recorded.as_array().cloned().unwrap_or_default();
    let said = said.as_object().ok_or_else(|| Difference::new("$.body", "a document", said))?;
    match said.keys().find(|key| !names.contains(&Value::from(key.as_str()))) {
        None if said.is_empty() => Err(Difference::new("$.body", "some of the recorded names", "none")),
        None => Ok(()),
        Some(name) => Err(Difference::new("$.body", "nothing", name)),
    }
}

fn failure(case: &Case, index: usize, difference: Difference) -> Failure {
    let step = &case.steps[index];
    let what = match &step.kind {
        Kind::Send(request) => format!("request {}", request.no),
        Kind::Answer { no, .. } => format!("answer to request {no}"),
        Kind::Event { stream, event } => format!("{} on {stream}", event["type"].as_str().unwrap_or("event")),
        Kind::Decoded(_) => "the container's document in the event before".to_owned(),
        Kind::StreamEnd { stream, .. } => format!("end of {stream}"),
        Kind::Action(what) => what.clone(),
        Kind::Observe { what, .. } => what.clone(),
        Kind::Watched { stream, ms } => format!("silence of {ms} ms on {}", stream.as_deref().unwrap_or("no stream")),
        Kind::Note(text) => text.clone(),
    };
    let Difference { path, expected, got } = difference;
    Failure { step: Some(index), t_ms: step.t_ms, what, path, expected, got }
}

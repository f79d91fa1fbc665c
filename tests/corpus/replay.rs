//! One step after the other, inside of a case's network namespace: requests are sent when they were sent, and what comes back
//! is compared at once.
//!
//! Times: a step follows the one before it after the recorded time, so silence is as long as it was. An event may be late (the
//! machine is busy) but not early where the recording waited for it, because that is a rule then: a filter, a retry, a timeout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::case::{Case, Kind, Request};
use super::cluster::Cluster;
use super::holdings::Change;
use super::http::Connection;
use super::inspect;
use super::lanes::is_heartbeat;
use super::matching::{Bindings, Difference};
use super::refused::Refused;
use super::requests::{Answer, Connections};
use super::streams::Stream;

/// An event of no rule may take this long.
pub(super) const EVENT_MAX: Duration = Duration::from_secs(12);

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

/// Who gets what when: launches as they were sent and ends as they came, on whatever stream.
pub(super) type Changes = Arc<Mutex<Vec<(Instant, Change)>>>;

pub(super) struct Replay<'a> {
    pub(super) case: &'a Case,
    pub(super) refused: Option<&'a Refused>,
    /// Streams that a refused call would have opened.
    pub(super) absent: BTreeSet<String>,
    pub(super) cluster: Cluster,
    pub(super) bindings: Bindings,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) answers: BTreeMap<u64, Result<Answer, String>>,
    pub(super) kept: Option<Connection>,
    pub(super) connections: Connections,
    pub(super) changes: Changes,
    /// When each step was done.
    pub(super) done: Vec<Instant>,
    /// Uuids of updates that came.
    pub(super) seen: BTreeSet<String>,
    /// Whether an agent or a scheduler has come again: updates may come twice then.
    pub(super) again: bool,
    /// The container's document of the last event.
    pub(super) document: Value,
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
        changes: Changes::default(),
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

    pub(super) fn trace(&mut self, what: &str, value: &Value) {
        let ms = self.done.first().map_or(0, |first| first.elapsed().as_millis() as u64);
        let line = json!({"t_ms": ms, what: value});
        // The trace is for people; a full disk shows elsewhere.
        let _ = std::io::Write::write_all(&mut self.trace, format!("{line}\n").as_bytes());
    }

    /// When an observation must have come true: the recording's time since the step before, and patience.
    pub(super) fn patience(&self) -> Instant {
        Instant::now() + EVENT_MAX
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

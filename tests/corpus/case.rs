//! A recording's file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// One recorded dialogue.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Its name, also the file's.
    #[serde(rename = "case")]
    pub name: String,
    /// Command line of every process, by name (`m1`, `a1`).
    pub mesos_flags: BTreeMap<String, Vec<String>>,
    /// Only with several masters.
    #[serde(default)]
    pub leader_at_start: Option<String>,
    /// What was done and seen, in the order of time.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct Step {
    /// Milliseconds since the cluster was ready.
    pub t_ms: u64,
    /// What.
    pub kind: Kind,
}

/// What a step is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A request.
    Send(Request),
    /// The answer to a request.
    Answer {
        /// The request's number.
        no: u64,
        /// Status, reason, headers, body; or `error`.
        answer: Value,
    },
    /// An event of a stream.
    Event {
        /// The stream's label.
        stream: String,
        /// The event.
        event: Value,
    },
    /// The container's document that the event before carried.
    Decoded(Value),
    /// A stream ended.
    StreamEnd {
        /// The stream's label.
        stream: String,
        /// `last-chunk`, `eof`, `reset`.
        how: String,
    },
    /// Something done from outside.
    Action(String),
    /// A look at something else.
    Observe {
        /// At what.
        what: String,
        /// What was seen.
        value: Value,
    },
    /// Nothing was sent for a while.
    Watched {
        /// The stream's label; none where there was no stream.
        stream: Option<String>,
        /// How long.
        ms: u64,
    },
    /// A remark; some say how the following requests share a connection.
    Note(String),
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// Its number.
    pub no: u64,
    /// To which process.
    pub to: String,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON, text, or nothing.
    #[serde(default)]
    pub body: Value,
    /// A body that isn't UTF-8.
    #[serde(default)]
    pub body_base64: Option<String>,
    /// Label of the stream that a SUBSCRIBE opens.
    #[serde(default)]
    pub stream: Option<String>,
}

impl TryFrom<Map<String, Value>> for Step {
    type Error = String;

    fn try_from(mut step: Map<String, Value>) -> Result<Self, String> {
        let t_ms = step.get("t_ms").and_then(Value::as_u64).ok_or("a step without t_ms")?;
        let mut text = |key: &str| step.remove(key).and_then(|v| v.as_str().map(str::to_owned));
        let (stream, how) = (text("stream"), text("how"));
        let named = |stream: Option<String>| stream.ok_or("an event without its stream");
        let value = step.remove("value").unwrap_or_default();
        let kind = ["send", "recv_http", "event", "decoded", "stream_end", "action", "observe", "watched", "note"]
            .into_iter()
            .find_map(|key| Some((key, step.remove(key)?)));
        let kind = match kind {
            Some(("send", mut send)) => {
                if let Some(stream) = stream {
                    send["stream"] = stream.into();
                }
                Kind::Send(serde_json::from_value(send).map_err(|e| format!("a request: {e}"))?)
            }
            Some(("recv_http", answer)) => {
                Kind::Answer { no: answer["no"].as_u64().ok_or("an answer without its number")?, answer }
            }
            Some(("event", event)) => Kind::Event { stream: named(stream)?, event },
            Some(("decoded", _)) => Kind::Decoded(value),
            Some(("stream_end", label)) => Kind::StreamEnd {
                stream: label.as_str().ok_or("a stream's end without its label")?.to_owned(),
                how: how.ok_or("a stream's end without how")?,
            },
            Some(("action", Value::String(what))) => Kind::Action(what),
            Some(("observe", Value::String(what))) => Kind::Observe { what, value },
            Some(("watched", watched)) => Kind::Watched {
                stream: watched["stream"].as_str().map(str::to_owned),
                ms: watched["ms"].as_u64().ok_or("a silence without its length")?,
            },
            Some(("note", Value::String(text))) => Kind::Note(text),
            other => return Err(format!("a step of an unknown kind: {other:?}")),
        };
        Ok(Self { t_ms, kind })
    }
}

impl Case {
    /// Reads a recording.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// How long the recording took.
    pub fn duration_ms(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.t_ms)
    }

    /// Whether a process runs from the beginning: one that a step starts first does not.
    pub fn starts_with(&self, process: &str) -> bool {
        let first = self.steps.iter().find_map(|step| match &step.kind {
            Kind::Action(what) if what.ends_with(&format!(" {process}")) => Some(what),
            _ => None,
        });
        let ends = |what: &String| self.ends_by_itself(process) || !what.starts_with("start");
        first.is_none_or(ends)
    }

    /// Whether the recording sees the process end without having ended it.
    fn ends_by_itself(&self, process: &str) -> bool {
        self.steps.iter().any(|step| match &step.kind {
            Kind::Observe { what, .. } => what.starts_with("exit of") && what.ends_with(&format!(" {process}")),
            _ => false,
        })
    }

    /// Whether there are agents, and so an engine.
    pub fn has_agents(&self) -> bool {
        self.mesos_flags.values().any(|line| line.first().is_some_and(|program| program == "mesos-agent"))
    }
}

/// The files of a corpus, by name.
///
/// # Errors
/// If the folder can't be read or is empty.
pub fn files(corpus: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = corpus.join("cases");
    let failed = |e: std::io::Error| format!("{}: {e}; STORMBED_CORPUS names the corpus's folder", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(format!("{} holds no case", folder.display())) } else { Ok(files) }
}

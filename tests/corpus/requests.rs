//! Requests as they were sent, and what was answered.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::case::{Kind, Request};
use super::holdings::Change;
use super::http::{Connection, Head, bytes};
use super::matching::{Difference, Order, keeps_length};
use super::replay::Replay;
use super::streams::{Stream, lock};

/// How requests use connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connections {
    /// Each its own.
    Own,
    /// All the same.
    Kept,
    /// All the same, and those that follow each other are written at once.
    Pipelined,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    head: Head,
    /// None where a stream begins.
    body: Option<Vec<u8>>,
}

impl Replay<'_> {
    fn filled(&mut self, request: &Request) -> Request {
        let mut filled = request.clone();
        filled.body = self.bindings.fill(&request.body);
        for value in filled.headers.values_mut() {
            *value = self.bindings.fill_text(value);
        }
        filled.path = self.bindings.fill_text(&request.path);
        filled
    }

    pub(super) async fn send(&mut self, index: usize, request: &Request) -> Result<(), Difference> {
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
        let launched = batch.iter().flat_map(|request| Change::of_request(&request.body));
        lock(&self.changes).extend(launched.map(|change| (Instant::now(), change)));
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

    /// The recorder asked two things until it had the answer that the file holds: whether a master leads yet, and whether an agent
    /// has brought its frameworks back to a new one. When that is, nothing promises: elections take their time, and an agent comes
    /// back after a random part of its back-off. Neither does each master notice at the same moment that its ZooKeeper session has
    /// ended, and with it every leader.
    fn is_asked_again(&self, index: usize, request: &Request) -> bool {
        let recorded = self.case.steps[index..].iter().find_map(|step| match &step.kind {
            Kind::Answer { no, answer } if *no == request.no => Some(answer),
            _ => None,
        });
        let Some(recorded) = recorded else {
            return false;
        };
        let said = self.answers.get(&request.no).and_then(|answer| answer.as_ref().ok());
        let whether_it_leads = request.body == json!({"type": "TEARDOWN", "framework_id": {"value": "x"}});
        if whether_it_leads && recorded["status"] == 400 {
            return said.is_none_or(|answer| matches!(answer.head.status, 307 | 503));
        }
        if recorded["status"] == 503 && recorded["body"] == "No leader elected" {
            return said.is_some_and(|answer| answer.head.status == 307);
        }
        let recovered = |document: &Value| {
            let frameworks = document["frameworks"].as_array().into_iter().flatten();
            frameworks.filter(|framework| framework["recovered"] == true).count()
        };
        let body = said.and_then(|answer| serde_json::from_slice(answer.body.as_deref()?).ok());
        request.method == "GET" && recovered(&body.unwrap_or_default()) < recovered(&recorded["body"])
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
                self.streams.insert(label.clone(), Stream::open(connection, self.changes.clone()));
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

    pub(super) fn compare_answer(&mut self, no: u64, recorded: &Value) -> Result<(), Difference> {
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

    pub(super) async fn is_kept_connection_closed(&mut self) -> bool {
        match &mut self.kept {
            Some(connection) => connection.is_closed_soon().await,
            None => false,
        }
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

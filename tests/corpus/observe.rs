//! A look at something else: containers, sandboxes, znodes, the ends of processes, a master's start.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::case::Kind;
use super::cluster::{Said, docker};
use super::inspect;
use super::matching::{Difference, Order};
use super::replay::Replay;
use super::znodes;

/// Where ZooKeeper serves.
const ZOOKEEPER: &str = "127.0.0.1:2181";

impl Replay<'_> {
    pub(super) async fn observe(&mut self, what: &str, recorded: &Value) -> Result<(), Difference> {
        let words: Vec<&str> = what.split(' ').collect();
        match words.as_slice() {
            ["docker", "inspect", ..] => self.inspect(recorded).await,
            ["sandbox", ..] => self.sandbox(recorded),
            ["exit", "of", _, name] => self.exit(name, recorded).await,
            ["master", name, "still", "running"] => match self.cluster.runs(name) {
                true => Ok(()),
                false => Err(Difference::new("$", what, "it has ended")),
            },
            ["new", "leader"] => self.new_leader(recorded).await,
            ["znodes:", ..] => {
                let nodes =
                    znodes::dump(ZOOKEEPER, "/mesos").await.map_err(|why| Difference::new("$", recorded, why))?;
                self.bindings.value(recorded, &nodes, "$", Order::Kept)
            }
            ["connection", "refused", ..] => Ok(()),
            ["connection", "closed", ..] => {
                let closed = self.is_kept_connection_closed().await;
                self.bindings.value(recorded, &closed.into(), "$", Order::Kept)
            }
            ["answer", "to", "TEARDOWN", ..] => self.startup(recorded).await,
            _ => Err(Difference::new("$", what, "the replayer doesn't know this observation")),
        }
    }

    /// The candidate with the smallest number leads, always. It is the recorded one, unless ZooKeeper was away: then all stand
    /// again at the same moment, and whose node is the first nothing promises.
    async fn new_leader(&mut self, recorded: &Value) -> Result<(), Difference> {
        let failed = |why: String| Difference::new("$", recorded, why);
        let leader = self.cluster.leader().await.map_err(failed)?;
        let first = znodes::first_candidate(ZOOKEEPER, "/mesos").await.map_err(failed)?;
        if self.cluster.address(&leader) != Ok(&first) {
            return Err(Difference::new("$", format!("the first candidate, at {first}"), leader));
        }
        let stood_again = self.case.steps[..self.done.len()].iter().any(|step| match &step.kind {
            Kind::Action(what) => what.starts_with("start zookeeper"),
            _ => false,
        });
        match stood_again {
            true => Ok(()),
            false => self.bindings.value(recorded, &leader.into(), "$", Order::Kept),
        }
    }

    async fn inspect(&mut self, recorded: &Value) -> Result<(), Difference> {
        let name = self.bindings.fill_text(recorded["Name"].as_str().unwrap_or_default());
        let text = docker(&["inspect", name.trim_start_matches('/')]).await;
        let text = text.map_err(|why| Difference::new("$", recorded, why))?;
        let documents: Value = serde_json::from_str(&text).unwrap_or_default();
        inspect::compare(&mut self.bindings, recorded, &documents[0])
    }

    fn sandbox(&mut self, recorded: &Value) -> Result<(), Difference> {
        let folder = self.bindings.fill_text(recorded["dir"].as_str().unwrap_or_default());
        for file in ["stdout", "stderr"] {
            let expected = recorded[file].as_str().unwrap_or_default();
            // What Docker itself wrote is not compared.
            if expected.contains("Run 'docker run --help'") {
                continue;
            }
            let text = std::fs::read_to_string(Path::new(&folder).join(file));
            let text = text.map_err(|e| Difference::new(&format!("$.{file}"), expected, e))?;
            // The order of `env`'s lines is a shell's.
            let lines = |text: &str| text.trim().lines().map(Value::from).collect::<Value>();
            self.bindings.value(&lines(expected), &lines(&text), &format!("$.{file}"), Order::Free)?;
        }
        Ok(())
    }

    async fn exit(&mut self, name: &str, recorded: &Value) -> Result<(), Difference> {
        let ended = self.cluster.exit(name, self.patience()).await;
        let ended = ended.map_err(|why| Difference::new("$", recorded, why))?;
        let expected = json!({"exit_code": recorded["exit_code"], "signal": recorded["signal"]});
        self.bindings.value(&expected, &ended, "$", Order::Kept)?;
        for line in recorded["last_error_lines"].as_array().into_iter().flatten() {
            // `E slave.cpp:8366] EXIT with status 1: <the reason>`
            let line = line.as_str().unwrap_or_default();
            let reason = line.split_once(": ").map_or(line, |(_, reason)| reason).trim();
            if !self.cluster.log(name).contains(reason) {
                return Err(Difference::new("$.last_error_lines", reason, "its log doesn't say so"));
            }
        }
        Ok(())
    }

    /// Polls a starting master until it says this; what it says before must be one of the things that a start may say.
    async fn startup(&mut self, recorded: &Value) -> Result<(), Difference> {
        let deadline = self.patience();
        let wanted = said(recorded);
        loop {
            let now = self.cluster.teardown("m1").await.map(|now| Said { location: None, ..now });
            match now {
                Some(now) if now == wanted => return Ok(()),
                // A start may be too fast for a look at each of its stages.
                Some(now) if later_stage(&wanted, &now) => return Ok(()),
                Some(now) if !later_stage(&now, &wanted) => {
                    return Err(Difference::new("$", recorded, format!("{} {}", now.status, now.body)));
                }
                _ if tokio::time::Instant::now() > deadline => return Err(Difference::new("$", recorded, "nothing")),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

fn said(recorded: &Value) -> Said {
    Said {
        status: recorded["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default(),
        location: None,
        body: recorded["body"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A master's start: no routes yet, no registry yet, ready.
const STAGES: [(u16, &str); 3] =
    [(404, "404 Not Found."), (503, "Master has not finished recovery"), (400, "Framework cannot be found")];

/// Whether the second is a later stage of a start than the first.
fn later_stage(first: &Said, second: &Said) -> bool {
    let stage =
        |said: &Said| STAGES.iter().position(|(status, body)| (*status, *body) == (said.status, said.body.as_str()));
    stage(first).zip(stage(second)).is_some_and(|(first, second)| second > first)
}

//! `stormbed logs`

use std::path::Path;

use serde::Serialize;

use super::connect;
use super::ground::{Ground, Spot};
use super::part::Part;
use super::show::{print_json, print_lines};
use crate::engine::terminal::Streams;
use crate::run::Home;
use crate::topology::TopologyError;

/// Where supervisors write the parts' logs.
const DIRECTORY: &str = "/var/log/stormbed";
/// The machine's own output, among the names of its logs.
const OUTPUT: &str = "output";
/// Follows files until nobody listens any more: a `tail` alone would find that out with its next line.
const FOLLOW: &str = r#"lines=$1; shift; tail -n "$lines" -F "$@" & tail=$!; cat >/dev/null; kill $tail"#;
/// A container's two streams come as two, and a log is a result: all of it goes to standard output, in its order.
const NODE_LOG: &str = r#"exec docker logs "$@" 2>&1"#;

/// Show what a machine or a node of a topology wrote.
///
/// A machine has one log for each of its parts (`host-1/agent`, `host-1/dockerd`, …) and its own output (`host-1/output`); a node
/// has one log.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// A machine (`host-1`, `edge`), one log of it (`host-1/agent`), or a node (`storm-0`: the etcd leader; `slot-3`).
    part: Part,
    /// The run; the only one that is up when absent.
    #[arg(long)]
    run: Option<String>,
    /// Last lines of each log.
    #[arg(long, value_name = "N", default_value_t = 100)]
    lines: usize,
    /// Go on with what comes, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Print a JSON document per line: {"log", "line"}.
    #[arg(long, conflicts_with = "follow")]
    json: bool,
}

/// A line, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    log: &'a str,
    line: &'a str,
}

impl Logs {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let ground = Ground::find(connect().await?, home, self.run.as_deref()).await?;
        let spot = ground.spot(&self.part).await?;
        match &self.part {
            Part::Node(name) => self.node(&ground, &spot, &name.shown(&ground.plan.config.prefix)).await?,
            Part::Machine { machine, log } => match log.as_deref() {
                log if self.follow => follow(&ground, &spot, log, self.lines).await?,
                log => self.machine(&ground, &spot, machine, log).await?,
            },
        }
        Ok(0)
    }

    /// A node's log is its container's output, in its host's engine.
    async fn node(&self, ground: &Ground, spot: &Spot, name: &str) -> Result<(), TopologyError> {
        let lines = self.lines.to_string();
        let mut command = vec!["sh", "-c", NODE_LOG, "docker logs", "--tail", &lines];
        command.extend(self.follow.then_some("--follow"));
        command.extend(spot.inner.as_deref());
        if !self.json {
            ground.engine.attend(&spot.container, &command, Streams::Output).await?;
            return Ok(());
        }
        let said = ground.engine.exec(&spot.container, &command, b"", super::ground::ASK_MAX).await?;
        self.print(name, &said.stdout);
        Ok(())
    }

    async fn machine(
        &self,
        ground: &Ground,
        spot: &Spot,
        machine: &str,
        log: Option<&str>,
    ) -> Result<(), TopologyError> {
        let mut names = vec![OUTPUT.to_owned()];
        let mut found = false;
        if log.is_none_or(|log| log == OUTPUT) {
            self.print(&format!("{machine}/{OUTPUT}"), &ground.engine.output_of(&spot.container, self.lines).await?);
            found = true;
        }
        for (path, content) in ground.engine.files_of(&spot.container, Path::new(DIRECTORY)).await? {
            let name = Path::new(&path).file_stem().and_then(|name| name.to_str()).unwrap_or(&path).to_owned();
            if log.is_none_or(|log| log == name) {
                self.print(&format!("{machine}/{name}"), &String::from_utf8_lossy(&content));
                found = true;
            }
            names.push(name);
        }
        if found {
            return Ok(());
        }
        names.sort();
        names.dedup();
        let known = names.iter().map(|name| format!("{machine}/{name}")).collect::<Vec<_>>().join(", ");
        Err(TopologyError::NoMachine { name: format!("{machine}/{}", log.unwrap_or_default()), known })
    }

    fn print(&self, log: &str, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(self.lines)..];
        if self.json {
            last.iter().for_each(|line| print_json(&Line { log, line }));
        } else if !last.is_empty() {
            print_lines(&format!("--- {log}\n{}", last.join("\n")));
        }
    }
}

async fn follow(ground: &Ground, spot: &Spot, log: Option<&str>, lines: usize) -> Result<(), TopologyError> {
    let files = ground.engine.files_of(&spot.container, Path::new(DIRECTORY)).await?;
    let path = |(path, _): &(String, Vec<u8>)| {
        let name = Path::new(path).file_name()?.to_str()?;
        let wanted = log.is_none_or(|log| name.strip_suffix(".log") == Some(log));
        wanted.then(|| format!("{DIRECTORY}/{name}"))
    };
    let files: Vec<String> = files.iter().filter_map(path).collect();
    if files.is_empty() {
        return Ok(ground.engine.follow(&spot.container, lines).await?);
    }
    let lines = lines.to_string();
    let mut command = vec!["sh", "-c", FOLLOW, "follow", &lines];
    command.extend(files.iter().map(String::as_str));
    ground.engine.attend(&spot.container, &command, Streams::Watching).await?;
    Ok(())
}

//! `stormbed logs`

use std::path::Path;

use super::{connect, the_standing};
use crate::engine::{Engine, LABEL_MACHINE, LABEL_RUN};
use crate::run::Home;
use crate::topology::TopologyError;

/// Show what a machine of a standing topology wrote.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The machine (`host-1`, `master-2`, `edge`, …), or one log of it (`host-1/agent`).
    part: String,
    /// The run; the only one that stands when absent.
    #[arg(long)]
    run: Option<String>,
    /// Last lines of each log.
    #[arg(long, default_value_t = 100)]
    lines: usize,
}

impl Logs {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let id = the_standing(home, self.run.as_deref())?;
        let (machine, log) = match self.part.split_once('/') {
            Some((machine, log)) => (machine, Some(log)),
            None => (self.part.as_str(), None),
        };
        let container = container(&engine, &id, machine).await?;
        if log.is_none() {
            print!("{}", engine.output_of(&container, self.lines).await?);
        }
        let files = engine.files_of(&container, Path::new("/var/log/stormbed")).await?;
        for (path, content) in files {
            let name = Path::new(&path).file_stem().and_then(|n| n.to_str()).unwrap_or(&path);
            if log.is_some_and(|wanted| wanted != name) {
                continue;
            }
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = content.lines().collect();
            println!("--- {machine}/{name}");
            println!("{}", lines[lines.len().saturating_sub(self.lines)..].join("\n"));
        }
        Ok(0)
    }
}

async fn container(engine: &Engine, run: &str, machine: &str) -> Result<String, TopologyError> {
    let listed = engine.containers(LABEL_RUN, Some(run)).await?;
    let name = |labels: &std::collections::BTreeMap<String, String>| labels.get(LABEL_MACHINE).cloned();
    let mut known: Vec<String> = listed.iter().filter_map(|c| name(&c.labels)).collect();
    known.sort();
    listed
        .into_iter()
        .find(|c| name(&c.labels).as_deref() == Some(machine))
        .map(|c| c.id)
        .ok_or_else(|| TopologyError::NoMachine { name: machine.to_owned(), known: known.join(", ") })
}

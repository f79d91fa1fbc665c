//! `stormbed up`

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::heal::mend_all;
use super::show::{print_json, print_lines};
use super::{EXIT_INTERRUPTED, connect, interrupted, teller};
use crate::run::{Home, Phase};
use crate::topology::{Stage, Topology, TopologyConfig, TopologyError, down, up};

/// Start a topology and leave it standing.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// TOML file that says what the topology is like; everything has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go only so far.
    #[arg(long, value_name = "STAGE", value_enum, default_value_t = Stage::Jupyter, hide_default_value = true)]
    until: Stage,
    /// Leave a topology that failed to come up standing, to look at it.
    #[arg(long)]
    keep_failed: bool,
    /// Print JSON: {"run", "jupyter", "token_file"}.
    #[arg(long)]
    json: bool,
}

impl Up {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let config = match &self.config {
            Some(path) => TopologyConfig::load(path)?,
            None => TopologyConfig::default(),
        };
        let options = up::UpOptions { config, until: self.until, keep_failed: self.keep_failed };
        let engine = connect().await?;
        let tell = teller();
        mend_all(&engine, home, &tell).await?;
        let topology = tokio::select! {
            topology = up::up(&engine, home, &options, &tell) => Some(topology?),
            () = interrupted() => None,
        };
        let Some(mut topology) = topology else {
            // Dropping the start has let go of the run's lock; a call that was under way may still make something.
            tell("interrupted: removing what was started");
            tokio::time::sleep(Duration::from_millis(300)).await;
            down::sweep(&engine, home, &tell).await?;
            return Ok(EXIT_INTERRUPTED);
        };
        topology.set_phase(Phase::Standing)?;
        tell("the topology stands");
        show(&topology, self.json);
        Ok(0)
    }
}

/// A topology that stands; keys as `status` has them.
#[derive(Debug, Serialize)]
struct Standing<'a> {
    run: &'a str,
    jupyter: &'a str,
    token_file: &'a str,
}

fn show(topology: &Topology, json: bool) {
    let (jupyter, token_file) = (topology.proxy_url(), topology.token_file().display().to_string());
    let standing = Standing { run: topology.id(), jupyter: &jupyter, token_file: &token_file };
    if json {
        print_json(&standing);
    } else {
        print_lines(&text(&standing));
    }
}

fn text(standing: &Standing<'_>) -> String {
    let Standing { run, jupyter, token_file } = standing;
    format!("run      {run}\njupyter  {jupyter}\ntoken    in {token_file}\ndown     stormbed down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_told_to_people_and_to_programs() {
        let standing = Standing { run: "20260101-000000-abc", jupyter: "http://127.0.0.1:1", token_file: "/x/token" };
        insta::assert_snapshot!(text(&standing));
        insta::assert_json_snapshot!(standing);
    }
}

//! `stormbed up`

use std::path::PathBuf;
use std::time::Duration;

use super::heal::mend_all;
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
        show(&topology);
        Ok(0)
    }
}

fn show(topology: &Topology) {
    println!("run      {}", topology.id());
    println!("jupyter  {}", topology.proxy_url());
    println!("token    in {}", topology.token_file().display());
    println!("down     stormbed down");
}

//! `stormbed down`

use super::{connect, standing, teller, the_standing};
use crate::run::{Home, Run};
use crate::topology::{TopologyError, down};

/// Remove a standing topology.
#[derive(Debug, clap::Args)]
pub struct Down {
    /// The run; the only one that stands when absent.
    run: Option<String>,
    /// Every standing topology, and whatever runs that died left behind.
    #[arg(long, conflicts_with = "run")]
    all: bool,
}

impl Down {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let tell = teller();
        let ids = if self.all {
            down::sweep(&engine, home, &tell).await?;
            standing(home)?
        } else {
            vec![the_standing(home, self.run.as_deref())?]
        };
        for id in ids {
            down::remove(&engine, home, Run::open(home, &id)?).await?;
            tell(&format!("{id} is gone"));
        }
        Ok(0)
    }
}

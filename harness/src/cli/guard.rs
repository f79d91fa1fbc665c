//! `stormbed guard`: started by a run beside itself, never by people.

use std::path::PathBuf;

use super::connect;
use crate::fault::guard::stand;
use crate::report::Verdict;
use crate::topology::TopologyError;
use crate::topology::handle::guarded_machines;

/// Undo what a run has done to containers when that run ends, or a fault's lease does.
#[derive(Debug, clap::Args)]
pub struct Guard {
    /// The topology's folder.
    folder: PathBuf,
    /// The run whose faults are watched.
    run: String,
}

impl Guard {
    pub(super) async fn run(self) -> Result<u8, TopologyError> {
        let machines = guarded_machines(&connect().await?, &self.folder).await?;
        match stand(self.folder, self.run, &machines).await {
            Ok(()) => Ok(0),
            Err(why) => {
                eprintln!("{why}");
                Ok(Verdict::Broken.exit_code())
            }
        }
    }
}

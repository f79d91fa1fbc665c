//! `stormbed clean`

use serde::Serialize;

use super::show::print_json;
use super::{connect, standing, teller};
use crate::engine::LABEL_CACHE;
use crate::image::{seed, set};
use crate::run::{Home, RunError};
use crate::topology::{TopologyError, down};

/// Remove the cache volume and all images of the testbed.
#[derive(Debug, clap::Args)]
pub struct Clean {
    /// Print JSON: {"images": how many are gone}.
    #[arg(long)]
    json: bool,
}

/// What is gone, beside the cache volume.
#[derive(Debug, Serialize)]
struct Cleaned {
    images: usize,
}

impl Clean {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let tell = teller();
        if let Some(id) = standing(home)?.pop() {
            return Err(RunError::Stands { id }.into());
        }
        down::sweep(&engine, home, &tell).await?;
        if let Some(id) = home.runs()?.pop() {
            return Err(RunError::Held { id }.into());
        }
        engine.remove_networks_and_volumes(LABEL_CACHE, "1").await?;
        seed::doubt(home.directory());
        let removed = set::remove_all(&engine).await?;
        tell(&format!("the cache volume and {removed} images are gone"));
        if self.json {
            print_json(&Cleaned { images: removed });
        }
        Ok(0)
    }
}

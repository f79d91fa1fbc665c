//! `stormbed clean`

use super::{connect, standing, teller};
use crate::engine::LABEL_CACHE;
use crate::image::{seed, set};
use crate::run::{Home, RunError};
use crate::topology::{TopologyError, down};

pub(super) async fn run(home: &Home) -> Result<u8, TopologyError> {
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
    Ok(0)
}

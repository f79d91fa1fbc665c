//! `stormbed down`

use serde::Serialize;

use super::show::print_json;
use super::{connect, standing, teller, the_standing};
use crate::run::{Home, Run, RunError};
use crate::topology::{TopologyError, down};

/// Remove a standing topology.
#[derive(Debug, clap::Args)]
pub struct Down {
    /// The run; the only one that stands when absent.
    run: Option<String>,
    /// Every standing topology, and whatever runs that died left behind.
    #[arg(long, conflicts_with = "run")]
    all: bool,
    /// Print JSON: {"removed": [run, …]}.
    #[arg(long)]
    json: bool,
}

/// The topologies that stood and are gone.
#[derive(Debug, Serialize)]
struct Removed {
    removed: Vec<String>,
}

impl Down {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let engine = connect().await?;
        let tell = teller();
        let ids = if self.all {
            down::sweep(&engine, home, &tell).await?;
            standing(home)?
        } else {
            match the_standing(home, self.run.as_deref()) {
                // What is to be gone is gone.
                Err(TopologyError::Run(RunError::NoneStands)) => {
                    tell("no topology stands");
                    vec![]
                }
                found => vec![found?],
            }
        };
        for id in &ids {
            down::remove(&engine, home, Run::open(home, id)?).await?;
            tell(&format!("{id} is gone"));
        }
        if self.json {
            print_json(&Removed { removed: ids });
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_to_programs() {
        let removed = Removed { removed: vec!["a".into(), "b".into()] };
        assert_eq!(serde_json::to_string(&removed).expect("plain data"), "{\"removed\":[\"a\",\"b\"]}");
    }
}

//! `stormbed images`

use super::{connect, teller};
use crate::image::recipe::{self, Packages};
use crate::image::set;
use crate::run::Home;
use crate::topology::TopologyError;

/// Build the images, if their inputs changed.
#[derive(Debug, clap::Args)]
pub struct Images {
    /// Only those that hold no program of ours, and print their tags as shell assignments: what the tests with single
    /// parts need (`eval "$(stormbed images --print)"`).
    #[arg(long)]
    print: bool,
    /// Build nothing: print a hash over everything that goes into the images besides their base and our program, for the key of a cache.
    #[arg(long, conflicts_with = "print")]
    key: bool,
}

impl Images {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        if self.key {
            println!("{}", recipe::key(&Packages::shipped()));
            return Ok(0);
        }
        let engine = connect().await?;
        let tell = teller();
        if self.print {
            let parts = set::ensure_parts(&engine, &tell).await?;
            println!("export STORMBED_ZOOKEEPER_IMAGE={}", parts.zookeeper);
            println!("export STORMBED_NODE_IMAGE={}", parts.node);
            println!("export STORMBED_CORPUS_IMAGE={}", parts.corpus);
            return Ok(0);
        }
        let images = set::ensure(&engine, home, None, &tell).await?;
        set::prune(&engine, &images).await?;
        for tag in [&images.zookeeper, &images.node, &images.host, &images.router] {
            println!("{tag}");
        }
        Ok(0)
    }
}

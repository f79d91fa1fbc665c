//! `stormbed images`

use super::{connect, teller};
use crate::image::recipe::{self, Packages};
use crate::image::{set, stormd};
use crate::run::Home;
use crate::topology::TopologyError;

/// The test that replays recordings of Mesos: it runs itself inside of an image.
const CORPUS_TEST: &str = "docker_corpus";

/// Build the images, if their inputs changed.
#[derive(Debug, clap::Args)]
pub struct Images {
    /// Only those that hold no program of ours, and print their tags as shell assignments: what the tests with single
    /// parts need (`eval "$(stormbed images --print)"`). Where this machine's libc is newer than the images', the programs that a test
    /// runs inside of them are built, too.
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
            if let Some(programs) = stormd::for_test(&engine, home, CORPUS_TEST, &tell).await? {
                println!("export STORMBED_CORPUS_STORMD={}", programs.stormd.display());
                println!("export STORMBED_CORPUS_REPLAYER={}", programs.test.display());
            }
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

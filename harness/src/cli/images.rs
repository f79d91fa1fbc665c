//! `stormbed images`

use std::collections::BTreeMap;

use super::show::{print_json, print_lines};
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
    /// Print JSON: {name: tag}, of each image; with --print also the programs {"stormd", "replayer"}; with --key {"key"}.
    #[arg(long)]
    json: bool,
}

/// A result: its name in JSON, its line for people, its value.
type Line = (&'static str, String, String);

impl Images {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        if self.key {
            let key = recipe::key(&Packages::shipped());
            self.tell(&[("key", key.clone(), key)]);
            return Ok(0);
        }
        let engine = connect().await?;
        let tell = teller();
        if self.print {
            let parts = set::ensure_parts(&engine, &tell).await?;
            let mut lines = vec![
                assigned("zookeeper", "ZOOKEEPER_IMAGE", &parts.zookeeper),
                assigned("node", "NODE_IMAGE", &parts.node),
                assigned("corpus", "CORPUS_IMAGE", &parts.corpus),
            ];
            if let Some(programs) = stormd::for_test(&engine, home, CORPUS_TEST, &tell).await? {
                lines.push(assigned("stormd", "CORPUS_STORMD", &programs.stormd.display()));
                lines.push(assigned("replayer", "CORPUS_REPLAYER", &programs.test.display()));
            }
            self.tell(&lines);
            return Ok(0);
        }
        let images = set::ensure(&engine, home, None, &tell).await?;
        set::prune(&engine, &images).await?;
        let named = [
            ("zookeeper", &images.zookeeper),
            ("node", &images.node),
            ("host", &images.host),
            ("router", &images.router),
        ];
        self.tell(&named.map(|(name, tag)| (name, tag.clone(), tag.clone())));
        Ok(0)
    }

    fn tell(&self, lines: &[Line]) {
        if self.json {
            print_json(&json(lines));
        } else {
            lines.iter().for_each(|(_, line, _)| print_lines(line));
        }
    }
}

fn json(lines: &[Line]) -> BTreeMap<&'static str, &str> {
    lines.iter().map(|(name, _, value)| (*name, value.as_str())).collect()
}

/// As a shell takes it.
fn assigned(name: &'static str, variable: &str, value: &dyn std::fmt::Display) -> Line {
    (name, format!("export STORMBED_{variable}={value}"), value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_lines_and_a_program_the_tags() {
        let lines = [assigned("node", "NODE_IMAGE", &"stormbed-node:1"), assigned("stormd", "CORPUS_STORMD", &"/x")];
        assert_eq!(lines[0].1, "export STORMBED_NODE_IMAGE=stormbed-node:1");
        let json = serde_json::to_string(&json(&lines)).expect("plain data");
        assert_eq!(json, "{\"node\":\"stormbed-node:1\",\"stormd\":\"/x\"}");
    }
}

//! Replays recordings of Apache Mesos 1.12 against the embedded master and agent: `fixtures/mesos-corpus`, or the folder that
//! `STORMBED_CORPUS` names. Each case runs in a container without a network, four at a time.
//!
//! ```text
//! eval "$(target/debug/stormbed images --print)"           # names the images, builds them if they are missing
//! cargo test --locked --test docker_corpus                 # all cases
//! cargo test --locked --test docker_corpus -- docker-kill  # those whose names contain a word; several words: any of them
//! cargo test --locked --test docker_corpus -- --list
//! ```
//! Configurations, logs of the processes and the trace of what was really said are kept below
//! `target/tmp/corpus/<case>/`. In a network namespace of one's own, a case without agents and ZooKeeper runs without an
//! engine: `unshare -n sh -c 'ip link set lo up; <test program> --inside <case file> <scratch folder> <log folder> <stormd>'`.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(unused_imports, dead_code, reason = "the modules' own tests run in `corpus_rules`")]

mod corpus;

use std::process::ExitCode;

use corpus::runner::{self, Arguments};

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => runner::run(arguments),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

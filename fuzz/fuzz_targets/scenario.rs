//! Any bytes as a scenario file: read, planned if it can run, shown; its mistakes told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stormbed_harness::scenario::plan::Plan;
use stormbed_harness::scenario::read::read;
use stormbed_harness::scenario::show::show;
use stormbed_harness::topology::TopologyConfig;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match read("fuzz.toml", &text, &TopologyConfig::default()) {
        Ok(checked) => drop(show(&Plan::draw(&checked.scenario, 1))),
        Err(mistakes) => assert!(mistakes.count > 0 && !mistakes.mistakes.is_empty()),
    }
});

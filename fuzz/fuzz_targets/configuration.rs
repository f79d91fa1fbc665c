//! Any bytes as a configuration file: what is read is valid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stormbed_harness::topology::TopologyConfig;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match TopologyConfig::read("fuzz.toml", &text) {
        Ok(config) => config.validate().expect("what is read is valid"),
        Err(mistakes) => assert!(mistakes.count > 0),
    }
});

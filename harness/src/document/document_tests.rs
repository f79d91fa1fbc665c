//! Bytes of every kind: no panic, no hang, no flood of messages.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::BYTES_MAX;
use crate::scenario::plan::Plan;
use crate::scenario::read::read;
use crate::topology::TopologyConfig;

/// Reads it as both kinds of files; whatever can run is planned.
fn survives(text: &str) {
    let begin = Instant::now();
    let mut told = 0;
    match read("x.toml", text, &TopologyConfig::default()) {
        Ok(checked) => drop(Plan::draw(&checked.scenario, 1)),
        Err(mistakes) => told += format!("{mistakes}").len() + mistakes.mistakes.len(),
    }
    if let Err(mistakes) = TopologyConfig::read("x.toml", text) {
        told += mistakes.mistakes.iter().map(|mistake| mistake.message.len()).sum::<usize>();
    }
    assert!(told < 100_000, "a flood of {told} bytes");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(20), "it took {took:?} for {} bytes", text.len());
}

#[test]
fn what_is_huge_or_deep_is_refused_and_not_taken_apart() {
    let deep = 60_000;
    for text in [
        "x".repeat(BYTES_MAX + 1),
        format!("a{} = 1", ".a".repeat(deep)),
        format!("[a{}]", ".a".repeat(deep)),
        format!("a = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}", "{a=".repeat(deep / 3), "}".repeat(deep / 3)),
        format!("name = \"{}\"", "é".repeat(deep)),
        format!("about = \"{}\"\nname = 1", "a.".repeat(deep)),
        format!("a = {}", "9".repeat(deep)),
        format!("a = 0x{}", "f".repeat(deep)),
        format!("a = 1e{}", "9".repeat(deep)),
        "a=1\n".repeat(30_000),
        "[[step]]\n".repeat(14_000),
        (0..12_000).map(|n| format!("k{n} = 1\n")).collect(),
        "[[step]]\nwatch = \"5s\"\n".repeat(5_000),
        "\"".repeat(deep),
        "[".repeat(16) + &"a.a.a.a.a.a.a.a.\n".repeat(2_000),
        format!("{}a{}", "{a.a.a.a.a.a.a.a.a=\n".repeat(16), "}".repeat(16)),
    ] {
        survives(&text);
    }
    let levels: String = (0..1_000).map(|n| format!("[{}]\n", vec!["a"; n % 60 + 1].join("."))).collect();
    survives(&levels);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn anything_like_toml_is_survived(text in "([a-z]{1,4}|\\[\\[?(step|cluster|a\\.b)\\]?\\]\\n|[={}\\[\\],.\"'# \\n]|name = |fault = |storm = |\"5s\"|-?[0-9]{1,20}|0x[0-9a-f]{1,20}|1979-05-27T07:32:00Z|é){0,80}") {
        survives(&text);
    }
}

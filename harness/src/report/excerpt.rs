//! The lines of many logs around a moment, in order of their times. Every part writes its times in its own way; all of them write
//! UTC, because all of them run in containers without a time zone. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use regex::Regex;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The log: `<machine>/<name>`.
    pub log: String,
    /// The line, its time included.
    pub text: String,
    /// So many others of its log differ from it in nothing but numbers.
    pub alike: usize,
}

/// `2026-11-20T20:24:00.123Z` (ours, Docker's), `2026-11-20 20:24:00,123` (ZooKeeper's), `2026-11-20 20:24:00.123456` (GlusterFS's,
/// etcd's, BIRD's).
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,9}))?").expect("a unit test uses it")
});

/// The lines written between two moments (both included). A line without a time belongs to the line before.
#[must_use]
pub fn between(log: &str, text: &str, from_unix_ms: u64, to_unix_ms: u64) -> Vec<Line> {
    let mut at = None;
    let mut found = Vec::new();
    for line in text.lines() {
        at = time_of(line).or(at);
        if let Some(at_unix_ms) = at.filter(|at| (from_unix_ms..=to_unix_ms).contains(at)) {
            found.push(Line { at_unix_ms, log: log.to_owned(), text: line.to_owned(), alike: 0 });
        }
    }
    found
}

/// The first time in a line.
fn time_of(line: &str) -> Option<u64> {
    let found = TIME.captures(line)?;
    let fraction = found.get(3).map_or("0", |fraction| fraction.as_str());
    let time = format!("{}T{}.{fraction}Z", &found[1], &found[2]);
    let since = humantime::parse_rfc3339(&time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// At most so many lines, those nearest to the moment, in order of their times. Of lines that say the same again and again, one
/// stands for all: a server that logs every request would leave no room for anybody else.
#[must_use]
pub fn nearest(mut lines: Vec<Line>, moment_unix_ms: u64, most: usize) -> Vec<Line> {
    lines.sort_by_key(|line| line.at_unix_ms.abs_diff(moment_unix_ms));
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut different: Vec<Line> = Vec::new();
    for line in lines {
        let place = *places.entry((line.log.clone(), shape(&line.text))).or_insert(different.len());
        match different.get_mut(place) {
            Some(known) => known.alike += 1 + line.alike,
            None => different.push(line),
        }
    }
    different.truncate(most);
    different.sort_by_key(|line| line.at_unix_ms);
    different
}

/// A line without its numbers, times and ids.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let (word, end) = match word.char_indices().next_back() {
            Some((at, last)) if !last.is_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        shape.push_str(if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word });
        shape.push_str(end);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_176_000_000;

    #[test]
    fn times_of_all_parts_are_understood() {
        for line in [
            "2026-11-20T12:00:00.250000Z  INFO master: elected",
            "2026-11-20 12:00:00,250 [myid:1] - INFO  [main:Leader@1] - LEADING",
            "[2026-11-20 12:00:00.250123 +0000] I [MSGID: 100030] glusterd",
            "2026-11-20 12:00:00.250345 I | raft: became leader",
            "time=\"2026-11-20T12:00:00.250Z\" level=info msg=\"API listen\"",
            "\u{1b}[2m2026-11-20T12:00:00.25Z\u{1b}[0m  WARN late",
        ] {
            assert_eq!(time_of(line), Some(NOON + 250), "{line}");
        }
        assert_eq!(time_of("2026-11-20T12:00:00Z whole"), Some(NOON));
        for line in ["panicked at src/x.rs:7", "2026-13-45 99:00:00 nonsense", ""] {
            assert_eq!(time_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_lines_around_a_moment_keep_their_order_and_their_stack_traces() {
        let text = "2026-11-20T11:59:00Z early\n2026-11-20T12:00:01Z panicked\n  at a\n2026-11-20T12:00:09Z late\n";
        let lines = between("host-1/agent", text, NOON, NOON + 5_000);
        assert_eq!(
            lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
            ["2026-11-20T12:00:01Z panicked", "  at a"]
        );
        let far = between("zk-1/output", "2026-11-20 12:00:04,000 x\n", NOON, NOON + 5_000);
        let both = nearest([far.clone(), lines.clone()].concat(), NOON + 4_000, 2);
        assert_eq!(both, [lines[0].clone(), far[0].clone()]);
    }

    #[test]
    fn what_says_the_same_again_and_again_stands_once() {
        let mut text = String::new();
        for number in 0..50 {
            text +=
                &format!("[W 2026-11-20 12:00:00.{number:03} App] 403 GET /api/status (198.18.0.51) {number}.47ms\n");
        }
        text += "[W 2026-11-20 12:00:00.900 App] 500 GET /api/status (198.18.0.51) 3.47ms: no kernel\n";
        let all = between("host-2/jupyter", &text, NOON, NOON + 5_000);
        let other = between("host-3/jupyter", &text, NOON, NOON + 5_000);
        let shown = nearest([all, other].concat(), NOON + 40, 10);
        let told: Vec<_> =
            shown.iter().map(|line| (line.log.as_str(), line.alike, line.text.contains("403"))).collect();
        let expected = [
            ("host-2/jupyter", 49, true),
            ("host-3/jupyter", 49, true),
            ("host-2/jupyter", 0, false),
            ("host-3/jupyter", 0, false),
        ];
        assert_eq!(told, expected);
        assert!(shown[0].text.contains("12:00:00.040"), "the one nearest to the moment: {}", shown[0].text);
    }
}

//! Rules of netfilter in chains of the fault's own, so that undoing one is exact and a forgotten one is found by its name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::text;

/// Beginning of every chain of ours.
pub(super) const CHAIN: &str = "STORMBED-";
/// Tables and the built-in chains in them that lead to ours.
const HOOKS: [(&str, &str); 2] = [("raw", "PREROUTING"), ("mangle", "POSTROUTING")];
/// Others (the inner engine) change rules too; each change takes milliseconds.
const LOCK_S: &str = "5";

/// The chain of a fault: names of chains are short, names of faults needn't be. Runner and outpost come from one build, so
/// they agree on it.
#[must_use]
pub fn chain(fault: &str) -> String {
    let mut hasher = DefaultHasher::new();
    fault.hash(&mut hasher);
    format!("{CHAIN}{:016x}", hasher.finish())
}

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are dropped.
    Drop,
    /// So many of a hundred are.
    DropSome(u8),
    /// They wait in the queue of this number; if nobody has it open, they pass.
    Queue(u16),
}

impl Fate {
    /// Ends of the rules for one match, in order.
    fn ends(self) -> Vec<String> {
        match self {
            Fate::Drop => vec!["-j DROP".to_owned()],
            Fate::DropSome(percent) => {
                let chance = f64::from(percent) / 100.0;
                vec![format!("-m statistic --mode random --probability {chance:.2} -j DROP"), "-j RETURN".to_owned()]
            }
            Fate::Queue(number) => vec![format!("-j NFQUEUE --queue-num {number} --queue-bypass")],
        }
    }
}

/// What became of the packets that a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Met {
    /// Dropped.
    pub dropped: u64,
    /// Passed, though others of their kind are dropped or late.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed: u64,
    /// Passed later than they came.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The packets that a fault is about, where they come in, and where they leave, as `iptables` matches them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matches {
    pub coming: Vec<String>,
    pub leaving: Vec<String>,
}

/// Adds a chain of rules, all of it at once.
pub(super) fn add(chain: &str, matches: &Matches, fate: Fate) -> Result<(), String> {
    restore(&rules(chain, matches, fate))
}

/// What every chain of ours has done to packets so far.
pub(super) fn look() -> Result<BTreeMap<String, Met>, String> {
    Ok(met(&save()?))
}

/// Removes every chain whose name begins like this. None is fine.
pub(super) fn remove(chains: &str) -> Result<(), String> {
    let script = removal(&save()?, chains);
    if script.is_empty() { Ok(()) } else { restore(&script) }
}

/// The rules as one document for `iptables-restore`.
pub(super) fn rules(chain: &str, matches: &Matches, fate: Fate) -> String {
    let mut script = String::new();
    for ((table, hook), matches) in HOOKS.into_iter().zip([&matches.coming, &matches.leaving]) {
        let _ = writeln!(script, "*{table}\n:{chain} - [0:0]");
        for matched in matches {
            for end in fate.ends() {
                let _ = writeln!(script, "-A {chain} {matched} {end}");
            }
        }
        let _ = writeln!(script, "-I {hook} -j {chain}\nCOMMIT");
    }
    script
}

/// The document that removes all chains whose name begins like this, given what is in force; empty if there are none.
fn removal(saved: &str, begin: &str) -> String {
    let mut script = String::new();
    for (table, lines) in tables(saved) {
        let declared = lines.iter().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
        let chains: Vec<&str> = declared.filter(|name| name.starts_with(begin)).collect();
        if chains.is_empty() {
            continue;
        }
        let _ = writeln!(script, "*{table}");
        for line in &lines {
            let rule = line.split_once("] ").map_or(*line, |(_, rule)| rule);
            if let Some(rule) = rule.strip_prefix("-A ")
                && chains.iter().any(|chain| rule.ends_with(&format!("-j {chain}")))
            {
                let _ = writeln!(script, "-D {rule}");
            }
        }
        for verb in ["-F", "-X"] {
            for chain in &chains {
                let _ = writeln!(script, "{verb} {chain}");
            }
        }
        script += "COMMIT\n";
    }
    script
}

/// Packets by chain of ours, and what became of them.
fn met(saved: &str) -> BTreeMap<String, Met> {
    let mut sums: BTreeMap<String, Met> = BTreeMap::new();
    for (_, lines) in tables(saved) {
        for line in lines {
            if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next())
                && name.starts_with(CHAIN)
            {
                sums.entry(name.to_owned()).or_default();
            }
            // [12:720] -A STORMBED-… -i eth0 -j DROP
            if let Some((counters, rule)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] -A "))
                && let (Some(name), Some(packets)) = (rule.split(' ').next(), counters.split(':').next())
                && name.starts_with(CHAIN)
            {
                let packets = packets.parse::<u64>().unwrap_or(0);
                let met = sums.entry(name.to_owned()).or_default();
                if rule.ends_with("-j DROP") { met.dropped += packets } else { met.passed += packets }
            }
        }
    }
    sums
}

/// Table → its lines, of what `iptables-save` writes.
fn tables(saved: &str) -> Vec<(&str, Vec<&str>)> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in saved.lines() {
        match (line.strip_prefix('*'), tables.last_mut()) {
            (Some(table), _) => tables.push((table, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    tables
}

/// All tables at once: each process takes milliseconds, and many on a machine that is busy.
fn save() -> Result<String, String> {
    let output = Command::new("iptables-save").arg("-c").output();
    let output = output.map_err(|e| format!("iptables-save: {}", text(e)))?;
    if !output.status.success() {
        return Err(format!("iptables-save: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn restore(script: &str) -> Result<(), String> {
    let started = Command::new("iptables-restore")
        .args(["--noflush", "-w", LOCK_S])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|e| format!("iptables-restore: {}", text(e)))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(|e| format!("iptables-restore: {}", text(e)))?;
    }
    let output = child.wait_with_output().map_err(|e| format!("iptables-restore: {}", text(e)))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("iptables-restore refused: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "\
# Generated by iptables-save
*raw
:PREROUTING ACCEPT [10:600]
:STORMBED-a1 - [0:0]
:STORMBED-b2 - [0:0]
[5:300] -A PREROUTING -j STORMBED-a1
[5:300] -A PREROUTING -j STORMBED-b2
[0:0] -A PREROUTING -i cali+ -j ACCEPT
[3:180] -A STORMBED-a1 -s 10.0.0.1/32 -d 10.0.0.2/32 -j DROP
[4:240] -A STORMBED-a1 -s 10.0.0.2/32 -d 10.0.0.1/32 -j DROP
COMMIT
*mangle
:POSTROUTING ACCEPT [1:60]
COMMIT
";

    #[test]
    fn only_what_is_ours_and_was_asked_for_is_removed() {
        let script = removal(SAVED, "STORMBED-a1");
        assert_eq!(script, "*raw\n-D PREROUTING -j STORMBED-a1\n-F STORMBED-a1\n-X STORMBED-a1\nCOMMIT\n");
        let all = removal(SAVED, CHAIN);
        assert!(all.contains("-X STORMBED-a1") && all.contains("-X STORMBED-b2") && !all.contains("cali"));
        assert_eq!(removal("*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", CHAIN), "");
    }

    #[test]
    fn a_share_is_drawn_for_each_packet_and_the_others_are_counted_too() {
        let matches = Matches { coming: vec!["-i eth0".into()], leaving: vec![] };
        let script = rules("C", &matches, Fate::DropSome(7));
        let expected = "-A C -i eth0 -m statistic --mode random --probability 0.07 -j DROP\n-A C -i eth0 -j RETURN\n";
        assert!(script.contains(expected), "{script}");
        let script = rules("C", &matches, Fate::Queue(3));
        assert!(script.contains("-A C -i eth0 -j NFQUEUE --queue-num 3 --queue-bypass\n"), "{script}");
    }

    #[test]
    fn packets_are_counted_by_chain() {
        let dropped = |dropped| Met { dropped, ..Met::default() };
        let expected = [("STORMBED-a1".to_owned(), dropped(7)), ("STORMBED-b2".to_owned(), dropped(0))];
        assert_eq!(met(SAVED), expected.into());
        let some = "\
*raw
:STORMBED-c3 - [0:0]
[2:120] -A STORMBED-c3 -i eth0 -m statistic --mode random --probability 0.29999999981 -j DROP
[5:300] -A STORMBED-c3 -i eth0 -j RETURN
COMMIT
*mangle
:STORMBED-c3 - [0:0]
[1:60] -A STORMBED-c3 -o eth0 -m statistic --mode random --probability 0.29999999981 -j DROP
[9:540] -A STORMBED-c3 -o eth0 -j NFQUEUE --queue-num 21300 --queue-bypass
COMMIT
";
        assert_eq!(met(some)["STORMBED-c3"], Met { dropped: 3, passed: 14, late: 0 });
    }

    #[test]
    fn names_of_chains_fit_and_differ() {
        let name = chain("etcd-partition-stale-leader/s1");
        assert!(name.len() <= 28 && name.starts_with(CHAIN), "{name}");
        assert_ne!(name, chain("etcd-partition-stale-leader/s2"));
    }
}

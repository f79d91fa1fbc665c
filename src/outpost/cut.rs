//! Cuts: packets that must not pass, as netfilter rules in chains of the fault's own, so that undoing one is exact and a
//! forgotten one is found by its name.
//!
//! Incoming packets are dropped in `raw PREROUTING`, outgoing ones in `mangle POSTROUTING`: both also see what this machine
//! only passes on, and come before (and after) everything that the engine or the network driver may accept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::processes::{ProcessView, brick_port};
use super::text;

/// Beginning of every chain of ours.
const CHAIN: &str = "STORMBED-";
/// Tables and the built-in chains in them that lead to ours.
const HOOKS: [(&str, &str); 2] = [("raw", "PREROUTING"), ("mangle", "POSTROUTING")];
/// Others (the inner engine) change rules too; each change takes milliseconds.
const LOCK_S: &str = "5";
/// Where the kernel lists routes: the uplink is the default route's interface.
const ROUTES: &str = "/proc/net/route";

/// Which packets a cut drops, seen from what is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// All.
    Both,
    /// Those that come to it: it can speak, and hears nothing.
    In,
    /// Those that leave it: it hears everything, and isn't heard.
    Out,
}

/// What is cut off from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cut", rename_all = "kebab-case")]
pub enum Cut {
    /// Nothing passes the machine's uplink. What runs on it still talks among itself.
    Uplink {
        /// Which packets.
        way: Way,
    },
    /// Nothing passes between an address of one side and one of the other.
    Between {
        /// What is cut off.
        one: Vec<Ipv4Addr>,
        /// From whom; everybody when empty.
        other: Vec<Ipv4Addr>,
        /// Which packets.
        way: Way,
    },
    /// Nothing passes between a service and anybody else.
    Ports {
        /// Its address.
        address: Ipv4Addr,
        /// TCP ports on which it serves.
        served: Vec<u16>,
        /// TCP ports on which it asks others.
        asked: Vec<u16>,
        /// Which packets.
        way: Way,
    },
    /// The same for this machine's brick, on whatever port it serves.
    Brick {
        /// Its process.
        process: ProcessView,
        /// Which packets.
        way: Way,
    },
}

/// The chain of a fault: names of chains are short, names of faults needn't be. Runner and outpost come from one build, so
/// they agree on it.
#[must_use]
pub fn chain(fault: &str) -> String {
    let mut hasher = DefaultHasher::new();
    fault.hash(&mut hasher);
    format!("{CHAIN}{:016x}", hasher.finish())
}

/// Makes a cut, all of it at once.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn make(fault: &str, cut: &Cut) -> Result<(), String> {
    restore(&rules(&chain(fault), &matches(cut)?))
}

/// The packets that are dropped where they come in, and where they leave, as `iptables` matches them.
struct Matches {
    coming: Vec<String>,
    leaving: Vec<String>,
}

fn matches(cut: &Cut) -> Result<Matches, String> {
    // Both hooks see what this machine passes on for others: which of them is met first doesn't matter there.
    let everywhere = |matches: Vec<String>| Matches { coming: matches.clone(), leaving: matches };
    Ok(match cut {
        Cut::Uplink { way } => {
            let uplink = uplink(&std::fs::read_to_string(ROUTES).map_err(|e| format!("{ROUTES}: {e}"))?)?;
            let one = |on: bool, side: &str| on.then(|| format!("{side} {uplink}")).into_iter().collect();
            Matches { coming: one(*way != Way::Out, "-i"), leaving: one(*way != Way::In, "-o") }
        }
        Cut::Between { one, other, way } => everywhere(between(one, other, *way)),
        Cut::Ports { address, served, asked, way } => everywhere(ports(Some(*address), served, asked, *way)),
        Cut::Brick { process, way } => everywhere(ports(None, &[brick_port(*process)?], &[], *way)),
    })
}

fn between(one: &[Ipv4Addr], other: &[Ipv4Addr], way: Way) -> Vec<String> {
    let others: Vec<Option<&Ipv4Addr>> = if other.is_empty() { vec![None] } else { other.iter().map(Some).collect() };
    let pairs = one.iter().flat_map(|a| others.iter().map(move |b| (a, *b)));
    let side = |flag: &str, b: Option<&Ipv4Addr>| b.map(|b| format!(" {flag} {b}")).unwrap_or_default();
    pairs
        .flat_map(|(a, b)| {
            let out = (way != Way::In).then(|| format!("-s {a}{}", side("-d", b)));
            let come = (way != Way::Out).then(|| format!("-d {a}{}", side("-s", b)));
            out.into_iter().chain(come)
        })
        .collect()
}

/// Packets of a service: to and from the ports that it serves on, and to and from those of others that it asks.
fn ports(address: Option<Ipv4Addr>, served: &[u16], asked: &[u16], way: Way) -> Vec<String> {
    let own = |flag: &str| address.map(|address| format!(" {flag} {address}")).unwrap_or_default();
    let served = served.iter().map(|port| (port, "--dport", "--sport"));
    let asked = asked.iter().map(|port| (port, "--sport", "--dport"));
    served
        .chain(asked)
        .flat_map(|(port, coming, leaving)| {
            let come = (way != Way::Out).then(|| format!("-p tcp{} {coming} {port}", own("-d")));
            let out = (way != Way::In).then(|| format!("-p tcp{} {leaving} {port}", own("-s")));
            come.into_iter().chain(out)
        })
        .collect()
}

/// Removes every rule of a cut. One that isn't there is fine.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn unmake(fault: &str) -> Result<(), String> {
    remove(&chain(fault))
}

/// Removes every cut that there is: what a predecessor that was killed has left behind. Returns their chains.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn unmake_all() -> Result<Vec<String>, String> {
    let found = look()?.into_keys().collect();
    remove(CHAIN)?;
    Ok(found)
}

/// Packets that every cut on this machine has dropped so far, by chain.
///
/// # Errors
/// If the tools are missing or the kernel refuses.
pub fn look() -> Result<BTreeMap<String, u64>, String> {
    Ok(dropped(&save()?))
}

fn remove(chains: &str) -> Result<(), String> {
    let script = removal(&save()?, chains);
    if script.is_empty() { Ok(()) } else { restore(&script) }
}

/// The interface of the default route in the kernel's table.
fn uplink(routes: &str) -> Result<String, String> {
    let mut rows = routes.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find_map(|row| match row.as_slice() {
        [name, "00000000", ..] => Some((*name).to_owned()),
        _ => None,
    })
    .ok_or_else(|| "this machine has no default route, so nothing is its uplink".to_owned())
}

/// The cut as one document for `iptables-restore`.
fn rules(chain: &str, matches: &Matches) -> String {
    let mut script = String::new();
    for ((table, hook), matches) in HOOKS.into_iter().zip([&matches.coming, &matches.leaving]) {
        let _ = writeln!(script, "*{table}\n:{chain} - [0:0]");
        for matched in matches {
            let _ = writeln!(script, "-A {chain} {matched} -j DROP");
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

/// Packets by chain of ours.
fn dropped(saved: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (_, lines) in tables(saved) {
        for line in lines {
            if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next())
                && name.starts_with(CHAIN)
            {
                sums.entry(name.to_owned()).or_insert(0);
            }
            // [12:720] -A STORMBED-… -i eth0 -j DROP
            if let Some((counters, rule)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] -A "))
                && let (Some(name), Some(packets)) = (rule.split(' ').next(), counters.split(':').next())
                && name.starts_with(CHAIN)
            {
                *sums.entry(name.to_owned()).or_insert(0) += packets.parse::<u64>().unwrap_or(0);
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

fn save() -> Result<String, String> {
    // All tables at once: the others cost less than another process.
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
    fn a_cut_between_two_sides_drops_both_ways_in_both_tables() {
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let cut = |way| Cut::Between { one: vec![ip(1)], other: vec![ip(2), ip(3)], way };
        let script = |way| rules("C", &matches(&cut(way)).unwrap());
        assert_eq!(script(Way::In).matches("-j DROP").count(), 4);
        assert!(script(Way::In).contains("-A C -d 10.0.0.1 -s 10.0.0.3 -j DROP"));
        assert!(script(Way::Out).contains("-A C -s 10.0.0.1 -d 10.0.0.3 -j DROP"));
        let script = script(Way::Both);
        assert_eq!(script.matches("-j DROP").count(), 8);
        for rule in ["-A C -s 10.0.0.1 -d 10.0.0.2 -j DROP", "-A C -d 10.0.0.1 -s 10.0.0.3 -j DROP"] {
            assert_eq!(script.matches(rule).count(), 2, "{rule}");
        }
        assert!(script.contains("*raw\n:C - [0:0]\n") && script.contains("-I POSTROUTING -j C\nCOMMIT\n"));
    }

    #[test]
    fn an_uplink_is_cut_where_packets_come_in_and_where_they_leave() {
        let script = rules("C", &Matches { coming: vec!["-i eth0".into()], leaving: vec!["-o eth0".into()] });
        assert!(script.contains("-A C -i eth0 -j DROP\n-I PREROUTING"));
        assert!(script.contains("-A C -o eth0 -j DROP\n-I POSTROUTING"));
        let routes = "Iface\tDestination\tGateway\ncali1\t0A13C6C6\t0\neth0\t00000000\t0112C6C6\n";
        assert_eq!(uplink(routes), Ok("eth0".into()));
        assert!(uplink("Iface\n").is_err());
    }

    #[test]
    fn a_service_is_cut_off_on_the_ports_where_it_serves_and_asks() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let packets = ports(Some(address), &[2380], &[2380], Way::Both);
        let expected = [
            "-p tcp -d 10.0.0.1 --dport 2380",
            "-p tcp -s 10.0.0.1 --sport 2380",
            "-p tcp -d 10.0.0.1 --sport 2380",
            "-p tcp -s 10.0.0.1 --dport 2380",
        ];
        assert_eq!(packets, expected);
        assert_eq!(ports(None, &[49_152], &[], Way::In), ["-p tcp --dport 49152"]);
        assert_eq!(between(&[address], &[], Way::Out), ["-s 10.0.0.1"]);
    }

    #[test]
    fn only_what_is_ours_and_was_asked_for_is_removed() {
        let script = removal(SAVED, "STORMBED-a1");
        assert_eq!(script, "*raw\n-D PREROUTING -j STORMBED-a1\n-F STORMBED-a1\n-X STORMBED-a1\nCOMMIT\n");
        let all = removal(SAVED, CHAIN);
        assert!(all.contains("-X STORMBED-a1") && all.contains("-X STORMBED-b2") && !all.contains("cali"));
        assert_eq!(removal("*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", CHAIN), "");
    }

    #[test]
    fn packets_are_counted_by_chain() {
        let expected = [("STORMBED-a1".to_owned(), 7), ("STORMBED-b2".to_owned(), 0)];
        assert_eq!(dropped(SAVED), expected.into());
    }

    #[test]
    fn names_of_chains_fit_and_differ() {
        let name = chain("etcd-partition-stale-leader/s1");
        assert!(name.len() <= 28 && name.starts_with(CHAIN), "{name}");
        assert_ne!(name, chain("etcd-partition-stale-leader/s2"));
    }
}

//! Cuts: packets that must not pass, and how the kernel's filter matches them.
//!
//! Incoming packets are dropped in `raw PREROUTING`, outgoing ones in `mangle POSTROUTING`: both also see what this machine
//! only passes on, and come before (and after) everything that the engine or the network driver may accept.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::crossing::own_addresses;
use super::neighbours;
use super::netfilter::{self, CHAIN, Fate, Matches};
pub use super::netfilter::{Met, chain};
use super::processes::{ProcessView, brick_port};

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
    /// Nothing passes between the two addresses of each pair.
    Pairs {
        /// The pairs.
        pairs: Vec<(Ipv4Addr, Ipv4Addr)>,
    },
    /// Nothing comes to this machine from others, or by way of them: whatever addresses it bears, a packet says which machine sent it last.
    Beyond {
        /// The others' addresses.
        others: Vec<Ipv4Addr>,
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

/// Makes a cut, all of it at once.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn make(fault: &str, cut: &Cut) -> Result<(), String> {
    netfilter::add(&chain(fault), &matches(cut)?, Fate::Drop)
}

/// Drops so many of a hundred packets of a cut.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn lose(fault: &str, cut: &Cut, percent: u8) -> Result<(), String> {
    netfilter::add(&chain(fault), &once(cut, &uplink_here()?, &own_addresses()?)?, Fate::DropSome(percent))
}

/// Has the packets of a cut wait in a queue.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn queue(fault: &str, cut: &Cut, number: u16) -> Result<(), String> {
    netfilter::add(&chain(fault), &once(cut, &uplink_here()?, &own_addresses()?)?, Fate::Queue(number))
}

fn matches(cut: &Cut) -> Result<Matches, String> {
    Ok(match cut {
        Cut::Uplink { way } => by_uplink(&uplink_here()?, *way),
        Cut::Between { one, other, way } => between(one, other, *way).everywhere(),
        Cut::Pairs { pairs } => {
            let pairs = pairs.iter().map(|(one, other)| between(&[*one], &[*other], Way::Both));
            let (come, out): (Vec<_>, Vec<_>) = pairs.map(|sides| (sides.come, sides.out)).unzip();
            Sides { come: come.concat(), out: out.concat() }.everywhere()
        }
        Cut::Beyond { others } => {
            let senders = neighbours::cards(others)?.into_iter().chain([neighbours::NOBODY.to_owned()]);
            Matches { coming: senders.map(|card| format!("-m mac --mac-source {card}")).collect(), leaving: vec![] }
        }
        Cut::Ports { address, served, asked, way } => ports(Some(*address), served, asked, *way).everywhere(),
        Cut::Brick { process, way } => ports(None, &[brick_port(*process)?], &[], *way).everywhere(),
    })
}

/// The same packets, each of them matched once on its way: what is done to some of them must not be done to one twice.
fn once(cut: &Cut, uplink: &str, own: &[Ipv4Addr]) -> Result<Matches, String> {
    Ok(match cut {
        Cut::Uplink { way } => by_uplink(uplink, *way),
        Cut::Between { one, other, way } => {
            between(one, other, *way).once(uplink, one.iter().all(|one| own.contains(one)))
        }
        Cut::Ports { address, served, asked, way } => {
            ports(Some(*address), served, asked, *way).once(uplink, own.contains(address))
        }
        // Also what comes from this machine itself, past the uplink.
        Cut::Brick { process, way } => {
            let Sides { come, out } = ports(None, &[brick_port(*process)?], &[], *way);
            Matches { coming: come, leaving: out }
        }
        Cut::Pairs { .. } | Cut::Beyond { .. } => {
            return Err("parts that are cut off from each other are cut off wholly".to_owned());
        }
    })
}

fn by_uplink(uplink: &str, way: Way) -> Matches {
    let one = |on: bool, side: &str| on.then(|| format!("{side} {uplink}")).into_iter().collect();
    Matches { coming: one(way != Way::Out, "-i"), leaving: one(way != Way::In, "-o") }
}

/// Packets that come to what is cut off, and those that leave it.
#[derive(Debug, PartialEq, Eq)]
struct Sides {
    come: Vec<String>,
    out: Vec<String>,
}

impl Sides {
    /// Both hooks see what this machine passes on for others: which of them is met first doesn't matter there.
    fn everywhere(self) -> Matches {
        let all = [self.come, self.out].concat();
        Matches { coming: all.clone(), leaving: all }
    }

    /// A machine's own packets are matched at its uplink; those of a node on it where they leave the node, and where they reach it.
    fn once(self, uplink: &str, own: bool) -> Matches {
        let behind =
            |side: &str, matches: Vec<String>| matches.iter().map(|one| format!("{side} {uplink} {one}")).collect();
        match own {
            true => Matches { coming: behind("-i", self.come), leaving: behind("-o", self.out) },
            false => Matches { coming: behind("! -i", self.out), leaving: behind("! -o", self.come) },
        }
    }
}

fn between(one: &[Ipv4Addr], other: &[Ipv4Addr], way: Way) -> Sides {
    let others: Vec<Option<&Ipv4Addr>> = if other.is_empty() { vec![None] } else { other.iter().map(Some).collect() };
    let pairs = || one.iter().flat_map(|a| others.iter().map(move |b| (a, *b)));
    let side = |flag: &str, b: Option<&Ipv4Addr>| b.map(|b| format!(" {flag} {b}")).unwrap_or_default();
    let come = pairs().filter(|_| way != Way::Out).map(|(a, b)| format!("-d {a}{}", side("-s", b)));
    let out = pairs().filter(|_| way != Way::In).map(|(a, b)| format!("-s {a}{}", side("-d", b)));
    Sides { come: come.collect(), out: out.collect() }
}

/// Packets of a service: to and from the ports that it serves on, and to and from those of others that it asks.
fn ports(address: Option<Ipv4Addr>, served: &[u16], asked: &[u16], way: Way) -> Sides {
    let own = |flag: &str| address.map(|address| format!(" {flag} {address}")).unwrap_or_default();
    let all = || {
        let served = served.iter().map(|port| (port, "--dport", "--sport"));
        served.chain(asked.iter().map(|port| (port, "--sport", "--dport")))
    };
    let come = all().filter(|_| way != Way::Out).map(|(port, side, _)| format!("-p tcp{} {side} {port}", own("-d")));
    let out = all().filter(|_| way != Way::In).map(|(port, _, side)| format!("-p tcp{} {side} {port}", own("-s")));
    Sides { come: come.collect(), out: out.collect() }
}

/// Removes every rule of a cut. One that isn't there is fine.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn unmake(fault: &str) -> Result<(), String> {
    netfilter::remove(&chain(fault))
}

/// Removes every cut that there is: what a predecessor that was killed has left behind. Returns their chains.
///
/// # Errors
/// If the kernel or the tools refuse.
pub fn unmake_all() -> Result<Vec<String>, String> {
    let found = look()?.into_keys().collect();
    netfilter::remove(CHAIN)?;
    Ok(found)
}

/// What became of the packets of every cut on this machine so far, by chain.
///
/// # Errors
/// If the tools are missing or the kernel refuses.
pub fn look() -> Result<BTreeMap<String, Met>, String> {
    netfilter::look()
}

fn uplink_here() -> Result<String, String> {
    uplink(&std::fs::read_to_string(ROUTES).map_err(|e| format!("{ROUTES}: {e}"))?)
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

#[cfg(test)]
mod tests {
    use super::super::netfilter::rules;
    use super::*;

    #[test]
    fn a_cut_between_two_sides_drops_both_ways_in_both_tables() {
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let cut = |way| Cut::Between { one: vec![ip(1)], other: vec![ip(2), ip(3)], way };
        let script = |way| rules("C", &matches(&cut(way)).unwrap(), Fate::Drop);
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
    fn pairs_are_cut_both_ways_and_nothing_else_is() {
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let script =
            rules("C", &matches(&Cut::Pairs { pairs: vec![(ip(1), ip(3)), (ip(2), ip(4))] }).unwrap(), Fate::Drop);
        assert_eq!(script.matches("-j DROP").count(), 8, "two pairs, two ways, two hooks");
        assert!(
            script.contains("-A C -s 10.0.0.1 -d 10.0.0.3 -j DROP")
                && script.contains("-A C -d 10.0.0.2 -s 10.0.0.4 -j DROP")
        );
        assert!(!script.contains("-d 10.0.0.4 -s 10.0.0.1") && !script.contains("-s 10.0.0.1 -d 10.0.0.4"));
    }

    #[test]
    fn what_lies_beyond_nobody_is_a_rule_that_meets_no_packet() {
        let script = rules("C", &matches(&Cut::Beyond { others: vec![] }).unwrap(), Fate::Drop);
        assert_eq!(script.matches("-j DROP").count(), 1);
        assert!(script.contains("*raw\n:C - [0:0]\n-A C -m mac --mac-source 00:00:00:00:00:00 -j DROP\n"));
    }

    #[test]
    fn an_uplink_is_cut_where_packets_come_in_and_where_they_leave() {
        let script =
            rules("C", &Matches { coming: vec!["-i eth0".into()], leaving: vec!["-o eth0".into()] }, Fate::Drop);
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
        let come = ["-p tcp -d 10.0.0.1 --dport 2380", "-p tcp -d 10.0.0.1 --sport 2380"].map(str::to_owned).to_vec();
        let out = ["-p tcp -s 10.0.0.1 --sport 2380", "-p tcp -s 10.0.0.1 --dport 2380"].map(str::to_owned).to_vec();
        assert_eq!(packets, Sides { come, out });
        let heard = ports(None, &[49_152], &[], Way::In);
        assert_eq!(heard, Sides { come: vec!["-p tcp --dport 49152".to_owned()], out: vec![] });
        assert_eq!(between(&[address], &[], Way::Out), Sides { come: vec![], out: vec!["-s 10.0.0.1".to_owned()] });
    }

    #[test]
    fn a_packet_that_may_be_dropped_meets_its_rule_once() {
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let own = [ip(1)];
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let cut = |one, other| Cut::Between { one: vec![ip(one)], other, way: Way::Both };
        let machine = once(&cut(1, vec![ip(2)]), "eth0", &own).unwrap();
        assert_eq!(machine.coming, texts(&["-i eth0 -d 10.0.0.1 -s 10.0.0.2"]));
        assert_eq!(machine.leaving, texts(&["-o eth0 -s 10.0.0.1 -d 10.0.0.2"]));
        // Between two nodes on two hosts, the first host sees a packet leave the node, and the second one sees it reach the other.
        let node = once(&cut(9, vec![]), "eth0", &own).unwrap();
        assert_eq!(node.coming, texts(&["! -i eth0 -s 10.0.0.9"]));
        assert_eq!(node.leaving, texts(&["! -o eth0 -d 10.0.0.9"]));
        let etcd = Cut::Ports { address: ip(9), served: vec![2379], asked: vec![], way: Way::In };
        let etcd = once(&etcd, "eth0", &own).unwrap();
        assert_eq!((etcd.coming, etcd.leaving), (vec![], texts(&["! -o eth0 -p tcp -d 10.0.0.9 --dport 2379"])));
        let uplink = once(&Cut::Uplink { way: Way::In }, "eth0", &own).unwrap();
        assert_eq!((uplink.coming, uplink.leaving), (texts(&["-i eth0"]), vec![]));
        assert!(once(&Cut::Pairs { pairs: vec![] }, "eth0", &own).is_err());
    }
}

//! Connections that try to cross a cut right after it was made, so that what it does shows in the kernel's counters at once, and not
//! only when somebody happens to speak. They are real: from this machine, or from within a node on it, towards the other side, whose
//! answer must come back.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use bollard::Docker;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};

use super::containers;
use super::cut::Cut;
use super::processes::brick_port;

/// Longer than an answer takes on the way that isn't cut, shorter than the time after which a kernel tries again.
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// A few are enough.
const CROSSINGS_MAX: usize = 8;
/// Peers of a machine that stand for everybody.
const PEERS: usize = 3;
/// Nobody listens there ("discard"): kernels answer all the same.
const CLOSED: u16 = 9;

/// A connection that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crossing {
    /// The node of this address tries; none: the machine itself.
    from: Option<Ipv4Addr>,
    /// Where to.
    to: SocketAddrV4,
}

impl Crossing {
    fn machine(address: Ipv4Addr, port: u16) -> Self {
        Self { from: None, to: SocketAddrV4::new(address, port) }
    }

    fn node(from: Ipv4Addr, to: Ipv4Addr) -> Self {
        Self { from: Some(from), to: SocketAddrV4::new(to, CLOSED) }
    }
}

/// What is known of the machine that tries.
#[derive(Debug)]
struct Near<'p> {
    /// Its addresses.
    own: &'p [Ipv4Addr],
    /// Services on other machines.
    peers: &'p [SocketAddrV4],
}

impl Near<'_> {
    fn others(&self) -> impl Iterator<Item = &SocketAddrV4> {
        self.peers.iter().filter(|peer| !self.own.contains(peer.ip()))
    }

    /// Connections of which a cut drops something, if it stands.
    fn crossings(&self, cut: &Cut) -> Result<Vec<Crossing>, String> {
        let is_own = |address: &Ipv4Addr| self.own.contains(address);
        Ok(match cut {
            Cut::Uplink { .. } => self.others().take(PEERS).map(|to| Crossing { from: None, to: *to }).collect(),
            // Only what belongs to a node is cut off from everybody by its address.
            Cut::Between { one, other, .. } if other.is_empty() => {
                one.iter().map(|address| Crossing::machine(*address, CLOSED)).collect()
            }
            Cut::Between { one, other, .. } => {
                let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (*one, *other)));
                let both = |(one, other): (Ipv4Addr, Ipv4Addr)| match (is_own(&one), is_own(&other)) {
                    (true, _) => vec![Crossing::machine(other, CLOSED)],
                    (_, true) => vec![Crossing::machine(one, CLOSED)],
                    _ => vec![Crossing::node(one, other), Crossing::node(other, one)],
                };
                pairs.flat_map(both).collect()
            }
            Cut::Pairs { pairs } => pairs
                .iter()
                .flat_map(|(one, other)| [Crossing::node(*one, *other), Crossing::node(*other, *one)])
                .collect(),
            Cut::Beyond { others } => others.iter().map(|other| Crossing::machine(*other, CLOSED)).collect(),
            Cut::Ports { address, served, asked, .. } if is_own(address) => {
                let ports = || served.iter().chain(asked).copied();
                self.others().take(PEERS).flat_map(|to| ports().map(|port| Crossing::machine(*to.ip(), port))).collect()
            }
            Cut::Ports { address, served, .. } => {
                served.iter().map(|port| Crossing::machine(*address, *port)).collect()
            }
            Cut::Brick { process, .. } => {
                let port = brick_port(*process)?;
                self.own.iter().filter(|own| !own.is_loopback()).map(|own| Crossing::machine(*own, port)).collect()
            }
        })
    }
}

/// Tries connections that the cut is about, each so many `times`; what becomes of them shows in the counters alone. `engine` knows the
/// nodes on this machine, `peers` are services on others. Returns before they have ended.
///
/// # Errors
/// If nobody can try.
pub async fn cross(
    cut: &Cut,
    times: u32,
    engine: Option<&Docker>,
    cluster: &str,
    peers: &[SocketAddrV4],
) -> Result<(), String> {
    let own = own_addresses()?;
    let crossings = Near { own: &own, peers }.crossings(cut)?;
    let nodes = match engine {
        Some(engine) if crossings.iter().any(|crossing| crossing.from.is_some()) => {
            containers::look(engine, cluster).await?
        }
        _ => vec![],
    };
    let pid = |address: Ipv4Addr| nodes.iter().find(|node| node.address == Some(address)).and_then(|node| node.pid);
    let tries = crossings.into_iter().filter_map(|Crossing { from, to }| match from {
        None => Some((None, to)),
        // A node of another machine is that machine's to try from.
        Some(from) => Some((Some(pid(from)?), to)),
    });
    for (pid, to) in tries.take(CROSSINGS_MAX) {
        // A thread of its own: it may enter a node's network, and ends there.
        std::thread::spawn(move || {
            if let Err(why) = connect(pid, to, times) {
                tracing::warn!(why, %to, "can't try to cross a cut");
            }
        });
    }
    Ok(())
}

/// Addresses of this machine.
pub(super) fn own_addresses() -> Result<Vec<Ipv4Addr>, String> {
    let all = getifaddrs().map_err(|error| format!("can't list this machine's addresses: {error}"))?;
    Ok(all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect())
}

/// Connects so often, from within the network of this process if one is named. That nobody answers is what the cut is for.
fn connect(pid: Option<i32>, to: SocketAddrV4, times: u32) -> Result<(), String> {
    if let Some(pid) = pid {
        let path = format!("/proc/{pid}/ns/net");
        let network = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        setns(network, CloneFlags::CLONE_NEWNET).map_err(|error| format!("{path}: {error}"))?;
    }
    for _ in 0..times {
        let _ = TcpStream::connect_timeout(&to.into(), ANSWER_MAX / times.min(6));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::cut::Way;
    use super::*;

    const fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn crossings(cut: &Cut) -> Vec<Crossing> {
        let peers = [1, 2, 3, 4, 5].map(|last| SocketAddrV4::new(ip(last), 2181));
        Near { own: &[Ipv4Addr::LOCALHOST, ip(1)], peers: &peers }.crossings(cut).unwrap()
    }

    #[test]
    fn a_machine_tries_to_reach_others_and_never_itself() {
        let tried = crossings(&Cut::Uplink { way: Way::Both });
        assert_eq!(tried, [2, 3, 4].map(|last| Crossing::machine(ip(last), 2181)));
        let tried = crossings(&Cut::Between { one: vec![ip(1)], other: vec![ip(4), ip(5)], way: Way::In });
        assert_eq!(tried, [4, 5].map(|last| Crossing::machine(ip(last), CLOSED)));
        let bird = Cut::Ports { address: ip(1), served: vec![179], asked: vec![], way: Way::Both };
        assert_eq!(crossings(&bird), [2, 3, 4].map(|last| Crossing::machine(ip(last), 179)));
    }

    #[test]
    fn nodes_are_tried_from_their_hosts_and_from_within() {
        let node = Cut::Between { one: vec![ip(9)], other: vec![], way: Way::Both };
        assert_eq!(crossings(&node), [Crossing::machine(ip(9), CLOSED)]);
        let etcd = Cut::Ports { address: ip(9), served: vec![2379, 2380], asked: vec![2380], way: Way::Out };
        assert_eq!(crossings(&etcd), [2379, 2380].map(|port| Crossing::machine(ip(9), port)));
        let apart = Cut::Between { one: vec![ip(8)], other: vec![ip(9)], way: Way::Both };
        let both = [Crossing::node(ip(8), ip(9)), Crossing::node(ip(9), ip(8))];
        assert_eq!(crossings(&apart), both);
        assert_eq!(crossings(&Cut::Pairs { pairs: vec![(ip(8), ip(9))] }), both);
    }

    #[test]
    fn a_connection_is_made_for_real() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
        connect(None, to, 2).unwrap();
        assert!(listener.accept().is_ok() && listener.accept().is_ok());
        assert!(own_addresses().unwrap().contains(&Ipv4Addr::LOCALHOST));
        let gone = connect(Some(i32::MAX), to, 1);
        assert!(gone.unwrap_err().contains("/ns/net"), "a node that is gone can't try");
    }
}

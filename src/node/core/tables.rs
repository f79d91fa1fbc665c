//! From one registry state every node derives the same names and keys. Pure functions to text.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::config::Slot;
use crate::registry::NodeRecord;
use crate::registry::state::RegistryState;

/// A host name, the address it stands for, and the host key found there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `PREFIX-0`, ….
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// `ssh-ed25519 AAAA…`.
    pub host_key: String,
}

/// The names of the cluster: the leader is `PREFIX-0`, the other registered nodes follow in slot order without gaps. None
/// while the holder of the leader record isn't registered: then nobody knows who `PREFIX-0` is.
#[must_use]
pub fn names(prefix: &str, state: &RegistryState) -> Option<Vec<Name>> {
    let leader = state.registered_leader()?;
    let others = state.nodes.values().filter(|node| node.slot != leader.slot);
    let name = |(k, node): (usize, &NodeRecord)| Name {
        name: format!("{prefix}-{k}"),
        address: node.address,
        host_key: node.host_key.clone(),
    };
    Some(std::iter::once(leader).chain(others).enumerate().map(name).collect())
}

/// What a container is called inside: its slot's number, which never changes, unlike `PREFIX-k`.
#[must_use]
pub fn hostname(prefix: &str, slot: Slot) -> String {
    format!("{prefix}-s{slot}")
}

/// /etc/hosts of one node.
#[must_use]
pub fn hosts(own_hostname: &str, own_address: Ipv4Addr, names: &[Name]) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    line(&mut text, format_args!("{own_address}\t{own_hostname}"));
    for name in names {
        line(&mut text, format_args!("{}\t{}", name.address, name.name));
    }
    text
}

/// known_hosts: every name and every address with its key. Given names of two states, both keys of a name are known.
#[must_use]
pub fn known_hosts<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let mut lines: Vec<String> = names
        .into_iter()
        .flat_map(|n| [format!("{} {}", n.name, n.host_key), format!("{} {}", n.address, n.host_key)])
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines.iter().fold(String::new(), |mut text, l| {
        line(&mut text, format_args!("{l}"));
        text
    })
}

/// authorized_keys: the operator's key, then the user key of every registered node.
#[must_use]
pub fn authorized_keys(operator_key: &str, state: &RegistryState) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{}", operator_key.trim()));
    for node in state.nodes.values() {
        line(&mut text, format_args!("{}", node.user_key));
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a String cannot fail");
}

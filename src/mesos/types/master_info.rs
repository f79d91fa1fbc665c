//! Who a master is: in its znode and in SUBSCRIBED.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::lenient::loose;

/// Version that the embedded master and agent report: the one whose recordings they follow.
pub const MESOS_VERSION: &str = "1.12.0";

/// A master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterInfo {
    /// Id of this master process.
    pub id: String,
    /// IPv4 address in network byte order, read as a little-endian number; see [`network_order`].
    #[serde(deserialize_with = "loose")]
    pub ip: u32,
    /// Port.
    #[serde(default = "port_default", deserialize_with = "loose")]
    pub port: u16,
    /// `master@ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// Announced name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Mesos version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where to connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// What the master can do: `{"type": "AGENT_UPDATE"}` and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<MasterCapability>,
}

/// A capability of a master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterCapability {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// IP address as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port.
    #[serde(deserialize_with = "loose")]
    pub port: u16,
}

fn port_default() -> u16 {
    5050
}

/// An address as `MasterInfo.ip` carries it.
#[must_use]
pub fn network_order(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

impl MasterInfo {
    /// The embedded master with this id at this address, complete as Mesos announces itself.
    #[must_use]
    pub fn announce(id: &str, ip: Ipv4Addr, port: u16, hostname: &str) -> Self {
        let capability = |kind: &str| MasterCapability { kind: kind.to_owned() };
        Self {
            id: id.to_owned(),
            ip: network_order(ip),
            port,
            pid: Some(format!("master@{ip}:{port}")),
            hostname: Some(hostname.to_owned()),
            version: Some(MESOS_VERSION.to_owned()),
            address: Some(Address { hostname: Some(hostname.to_owned()), ip: Some(ip.to_string()), port }),
            capabilities: ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"].map(capability).to_vec(),
        }
    }

    /// `host:port` to connect to: `address` first, then `pid`, and the number `ip` as the last resort.
    #[must_use]
    pub fn authority(&self) -> String {
        let announced = self.address.as_ref().and_then(|address| {
            let host = address.ip.as_ref().or(address.hostname.as_ref())?;
            Some(format!("{host}:{}", address.port))
        });
        let from_pid = || Some(self.pid.as_ref()?.split_once('@')?.1.to_owned());
        announced
            .or_else(from_pid)
            .unwrap_or_else(|| format!("{}:{}", Ipv4Addr::from(self.ip.to_le_bytes()), self.port))
    }

    /// `hostname:port` as redirects name the master.
    #[must_use]
    pub fn redirect_authority(&self) -> String {
        match &self.hostname {
            Some(hostname) => format!("{hostname}:{}", self.port),
            None => self.authority(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_address_in_network_order() {
        assert_eq!(network_order(Ipv4Addr::new(10, 0, 0, 11)), 184_549_386);
        assert_eq!(network_order(Ipv4Addr::new(127, 0, 1, 1)), 16_842_879);
        assert_eq!(network_order(Ipv4Addr::LOCALHOST), 16_777_343);
    }

    #[test]
    fn the_authority_falls_back_to_pid_and_number() {
        let mut info = MasterInfo::announce("m", Ipv4Addr::new(10, 0, 0, 11), 5051, "m1");
        assert_eq!(info.authority(), "10.0.0.11:5051");
        assert_eq!(info.redirect_authority(), "m1:5051");
        info.address = None;
        info.pid = Some("master@10.9.9.9:6060".to_owned());
        assert_eq!(info.authority(), "10.9.9.9:6060");
        info.pid = None;
        assert_eq!(info.authority(), "10.0.0.11:5051");
    }
}

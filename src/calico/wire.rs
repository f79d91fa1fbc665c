//! Docker's remote driver protocol, as far as it is used: `POST /<Interface>.<Method>` with JSON, answered 200 with JSON.
//!
//! Refusals carry the reason under both `Err` (read by the network side) and `Error` (read by the IPAM side).

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::{Value, json};

/// Key under which the pool's answer names the gateway, so that Docker asks for none.
pub const GATEWAY_KEY: &str = "com.docker.network.gateway";
/// Calico's way of saying "no gateway of yours".
pub const NO_GATEWAY: &str = "0.0.0.0/0";
/// Option that says what an address is for.
const ADDRESS_TYPE_KEY: &str = "RequestAddressType";
/// Options of a network that Calico accepts; `generic` only when empty.
const ENABLE_IPV6_KEY: &str = "com.docker.network.enable_ipv6";
const GENERIC_KEY: &str = "com.docker.network.generic";

/// Which of the two plugins a socket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `calico.sock`.
    Network,
    /// `calico-ipam.sock`.
    Ipam,
}

impl Role {
    /// The interface's name in the plugin handshake and in paths.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Role::Network => "NetworkDriver",
            Role::Ipam => "IpamDriver",
        }
    }
}

/// What Docker asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The plugin handshake.
    Activate,
    /// What the driver can do.
    Capabilities,
    /// The names of the IPAM driver's address spaces.
    AddressSpaces,
    /// A network wants a pool; none given means Docker leaves the choice to the driver.
    RequestPool {
        /// The CIDR asked for.
        pool: Option<String>,
        /// A part of the pool; refused.
        sub_pool: Option<String>,
    },
    /// A pool is no longer used.
    ReleasePool,
    /// An address for an endpoint, or for a gateway.
    RequestAddress {
        /// The pool, by the id that [`Request::RequestPool`] was answered.
        pool_id: String,
        /// The address asked for.
        address: Option<Ipv4Addr>,
        /// True when it shall be a gateway.
        gateway: bool,
    },
    /// An address is no longer used.
    ReleaseAddress {
        /// The address.
        address: Ipv4Addr,
    },
    /// A network with this driver.
    CreateNetwork {
        /// Docker's network id.
        network: String,
        /// The IPv4 gateways that Docker has for it.
        gateways: Vec<String>,
        /// Options that this driver doesn't know.
        unknown_options: Vec<String>,
    },
    /// The network is removed.
    DeleteNetwork {
        /// Docker's network id.
        network: String,
    },
    /// An endpoint with its address.
    CreateEndpoint {
        /// Docker's network id.
        network: String,
        /// Docker's endpoint id.
        endpoint: String,
        /// The address, as the IPAM side gave it.
        address: Option<Ipv4Addr>,
    },
    /// The endpoint is removed.
    DeleteEndpoint {
        /// Docker's endpoint id.
        endpoint: String,
    },
    /// The endpoint enters a container.
    Join {
        /// Docker's endpoint id.
        endpoint: String,
    },
    /// The endpoint leaves its container.
    Leave {
        /// Docker's endpoint id.
        endpoint: String,
    },
    /// Asked and answered without effect (discovery, external connectivity, operational info).
    Nothing,
}

/// What Docker is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Handshake.
    Implements(Role),
    /// The network driver's capabilities.
    NetworkCapabilities,
    /// The IPAM driver's capabilities.
    IpamCapabilities,
    /// Names of the address spaces.
    AddressSpaces,
    /// A pool; its id is its CIDR.
    Pool(String),
    /// An address in CIDR form.
    Address(String),
    /// The endpoint's interface stays as it was asked for.
    Endpoint,
    /// Which interface to move into the container.
    Joined {
        /// The interface's name on the host.
        source: String,
    },
    /// Nothing to say.
    Empty,
    /// Refused, and why.
    Refused(String),
}

impl Reply {
    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Value {
        match self {
            Reply::Implements(role) => json!({ "Implements": [role.interface()] }),
            Reply::NetworkCapabilities => {
                json!({ "Scope": "local", "ConnectivityScope": "global" })
            }
            Reply::IpamCapabilities => {
                json!({ "RequiresMACAddress": false, "RequiresRequestReplay": false })
            }
            Reply::AddressSpaces => json!({
                "LocalDefaultAddressSpace": "CalicoLocalAddressSpace",
                "GlobalDefaultAddressSpace": "CalicoGlobalAddressSpace",
            }),
            Reply::Pool(pool) => {
                json!({ "PoolID": pool, "Pool": pool, "Data": { GATEWAY_KEY: NO_GATEWAY } })
            }
            Reply::Address(address) => json!({ "Address": address, "Data": {} }),
            Reply::Endpoint => json!({ "Interface": {} }),
            Reply::Joined { source } => json!({
                "InterfaceName": { "SrcName": source, "DstPrefix": "cali" },
                "Gateway": "169.254.1.1",
                "StaticRoutes": [{ "Destination": "169.254.1.1/32", "RouteType": 1, "NextHop": "" }],
            }),
            Reply::Empty => json!({}),
            Reply::Refused(why) => json!({ "Err": why, "Error": why }),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    #[serde(rename = "PoolID")]
    pool_id: String,
    pool: String,
    sub_pool: String,
    address: String,
    options: Option<serde_json::Map<String, Value>>,
    interface: Option<Interface>,
    #[serde(rename = "IPv4Data")]
    ipv4_data: Option<Vec<Ipv4Data>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv4Data {
    gateway: String,
}

/// Reads a call. An empty body counts as `{}`.
///
/// # Errors
/// If the path names no call of the protocol, or the body doesn't fit it; the text is for Docker's log.
pub fn parse(role: Role, path: &str, body: &[u8]) -> Result<Request, String> {
    let body: Body = if body.iter().all(u8::is_ascii_whitespace) {
        Body::default()
    } else {
        serde_json::from_slice(body)
            .map_err(|e| format!("the body of {path} is not what Docker's plugin protocol says: {e}"))?
    };
    let method = path.trim_start_matches('/').strip_prefix(role.interface()).and_then(|rest| rest.strip_prefix('.'));
    match (path, role, method) {
        ("/Plugin.Activate", ..) => Ok(Request::Activate),
        (_, _, Some("GetCapabilities")) => Ok(Request::Capabilities),
        (_, Role::Ipam, Some(method)) => ipam(method, body),
        (_, Role::Network, Some(method)) => network(method, body),
        _ => Err(format!("{path} is no call of {}", role.interface())),
    }
}

fn ipam(method: &str, body: Body) -> Result<Request, String> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    Ok(match method {
        "GetDefaultAddressSpaces" => Request::AddressSpaces,
        "RequestPool" => Request::RequestPool { pool: some(body.pool), sub_pool: some(body.sub_pool) },
        "ReleasePool" => Request::ReleasePool,
        "RequestAddress" => Request::RequestAddress {
            pool_id: body.pool_id,
            address: some(body.address).map(|a| ipv4(&a)).transpose()?,
            gateway: body
                .options
                .and_then(|o| o.get(ADDRESS_TYPE_KEY).cloned())
                .is_some_and(|kind| kind == GATEWAY_KEY),
        },
        "ReleaseAddress" => Request::ReleaseAddress { address: ipv4(&body.address)? },
        other => return Err(format!("IpamDriver.{other} is not known")),
    })
}

fn network(method: &str, body: Body) -> Result<Request, String> {
    let (network, endpoint) = (body.network_id, body.endpoint_id);
    Ok(match method {
        "CreateNetwork" => Request::CreateNetwork {
            network,
            gateways: body.ipv4_data.unwrap_or_default().into_iter().map(|d| d.gateway).collect(),
            unknown_options: body
                .options
                .unwrap_or_default()
                .into_iter()
                .filter(|(key, value)| !known_option(key, value))
                .map(|(key, _)| key)
                .collect(),
        },
        "DeleteNetwork" => Request::DeleteNetwork { network },
        "CreateEndpoint" => Request::CreateEndpoint {
            network,
            endpoint,
            address: body.interface.map(|i| i.address).filter(|a| !a.is_empty()).map(|a| ipv4(&a)).transpose()?,
        },
        "DeleteEndpoint" => Request::DeleteEndpoint { endpoint },
        "Join" => Request::Join { endpoint },
        "Leave" => Request::Leave { endpoint },
        "EndpointOperInfo"
        | "DiscoverNew"
        | "DiscoverDelete"
        | "ProgramExternalConnectivity"
        | "RevokeExternalConnectivity"
        | "AllocateNetwork"
        | "FreeNetwork" => Request::Nothing,
        other => return Err(format!("NetworkDriver.{other} is not known")),
    })
}

fn known_option(key: &str, value: &Value) -> bool {
    match key {
        ENABLE_IPV6_KEY => true,
        GENERIC_KEY => value.as_object().is_none_or(serde_json::Map::is_empty),
        _ => false,
    }
}

/// The address of `a.b.c.d` or `a.b.c.d/n`.
fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.split('/')
        .next()
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("'{text}' is not an IPv4 address; only IPv4 is supported here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_as_docker_sends_them() {
        let request = |role, path: &str, body: &str| parse(role, path, body.as_bytes());
        assert_eq!(request(Role::Network, "/Plugin.Activate", ""), Ok(Request::Activate));
        assert_eq!(
            request(
                Role::Ipam,
                "/IpamDriver.RequestAddress",
                r#"{"PoolID":"p","Address":"198.19.0.10","Options":null}"#
            ),
            Ok(Request::RequestAddress {
                pool_id: "p".into(),
                address: Some(Ipv4Addr::new(198, 19, 0, 10)),
                gateway: false
            })
        );
        assert_eq!(
            request(
                Role::Ipam,
                "/IpamDriver.RequestAddress",
                r#"{"PoolID":"p","Address":"","Options":{"RequestAddressType":"com.docker.network.gateway"}}"#
            ),
            Ok(Request::RequestAddress { pool_id: "p".into(), address: None, gateway: true })
        );
        assert_eq!(
            request(
                Role::Network,
                "/NetworkDriver.CreateEndpoint",
                r#"{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"198.19.0.10/32","AddressIPv6":"","MacAddress":""},"Options":{"x":[]}}"#
            ),
            Ok(Request::CreateEndpoint {
                network: "n".into(),
                endpoint: "e".into(),
                address: Some(Ipv4Addr::new(198, 19, 0, 10))
            })
        );
        let created = request(
            Role::Network,
            "/NetworkDriver.CreateNetwork",
            r#"{"NetworkID":"n","Options":{"com.docker.network.enable_ipv6":false,"com.docker.network.generic":{"mtu":"9"}},"IPv4Data":[{"AddressSpace":"l","Gateway":"0.0.0.0/0","Pool":"198.19.0.0/24"}],"IPv6Data":[]}"#,
        );
        assert_eq!(
            created,
            Ok(Request::CreateNetwork {
                network: "n".into(),
                gateways: vec!["0.0.0.0/0".into()],
                unknown_options: vec!["com.docker.network.generic".into()]
            })
        );
    }

    #[test]
    fn a_socket_answers_only_its_own_interface() {
        assert!(parse(Role::Ipam, "/NetworkDriver.Join", b"{}").is_err());
        assert!(parse(Role::Network, "/IpamDriver.RequestPool", b"{}").is_err());
        assert!(parse(Role::Ipam, "/IpamDriver.RequestAddress", b"{\"Address\":\"::1\"}").is_err());
        assert!(parse(Role::Ipam, "/IpamDriver.RequestPool", b"[1").is_err());
    }
}

//! BIRD 2's configuration: a full BGP mesh that carries the workloads' /32 routes.
//!
//! Every host announces the kernel's routes to its `cali*` interfaces and learns the others'. A machine without workloads (the edge)
//! has the same configuration and announces nothing. Times are short, because a moved workload is reachable only once the routes have followed.

use std::fmt::Write;

use crate::config::BirdConfig;

/// Seconds without a keepalive after which a peer, and its routes, are gone: a host that hangs.
const HOLD_S: u32 = 9;
/// Seconds between keepalives: a third of [`HOLD_S`], as the BGP standard recommends.
const KEEPALIVE_S: u32 = 3;
/// Seconds that peers keep the routes of a BIRD that closed its session and may come back. The supervisor starts it again after 1 s and the
/// session takes another 2 s; a host that really died closes its sessions in the same way, and its workloads may already run elsewhere.
const RESTART_S: u32 = 5;

/// Renders the configuration file.
#[must_use]
pub fn render(config: &BirdConfig) -> String {
    let mut text = format!(
        "log stderr all;
router id {address};

filter learnt {{
  if net ~ [ {pool}{{32,32}} ] && ifname ~ \"cali*\" then accept;
  reject;
}}
filter announced {{
  if net ~ [ {pool}{{32,32}} ] then accept;
  reject;
}}
filter installed {{
  if source = RTS_BGP then accept;
  reject;
}}

protocol device {{
  scan time 2;
}}
protocol kernel {{
  learn;
  persist;
  scan time 2;
  graceful restart;
  ipv4 {{
    import filter learnt;
    export filter installed;
  }};
}}
template bgp mesh {{
  local {address} as {asn};
  direct;
  hold time {HOLD_S};
  keepalive time {KEEPALIVE_S};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  graceful restart;
  graceful restart time {RESTART_S};
  ipv4 {{
    import filter announced;
    export filter announced;
    next hop self;
  }};
}}
",
        address = config.address,
        pool = config.pool,
        asn = config.asn,
    );
    for (name, peer) in &config.peers {
        let protocol: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        writeln!(text, "protocol bgp Mesh_{protocol} from mesh {{\n  neighbor {peer} as {asn};\n}}", asn = config.asn)
            .expect("writing to a string never fails");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_host_with_two_peers() {
        let config = BirdConfig {
            address: Ipv4Addr::new(198, 18, 0, 31),
            peers: BTreeMap::from([
                ("edge".to_owned(), Ipv4Addr::new(198, 18, 0, 50)),
                ("host-2".to_owned(), Ipv4Addr::new(198, 18, 0, 32)),
            ]),
            pool: "198.19.0.0/24".to_owned(),
            asn: 64_512,
        };
        insta::assert_snapshot!(render(&config));
    }
}

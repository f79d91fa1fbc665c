//! Which networks are free: run R takes the R-th /24 of the underlay range and of the pool range, where neither meets a
//! network of the engine or a route of this machine. Pure but for reading the routes.

use std::net::Ipv4Addr;
use std::path::Path;

use stormbed::config::parse_cidr;

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: u32,
    bits: u8,
}

impl Network {
    /// From a CIDR; none if it isn't one.
    #[must_use]
    pub fn parse(cidr: &str) -> Option<Self> {
        let (base, bits) = parse_cidr(cidr).ok()?;
        Some(Self { base: base.into(), bits })
    }

    fn overlaps(self, other: Self) -> bool {
        let bits = self.bits.min(other.bits);
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        self.base & mask == other.base & mask
    }
}

/// The R-th /24 of a range; none if the range has no such.
#[must_use]
pub fn nth(range: &str, number: u8) -> Option<(Ipv4Addr, String)> {
    let (base, bits) = parse_cidr(range).ok()?;
    let count = 1u32.checked_shl(24u32.checked_sub(u32::from(bits))?)?;
    if u32::from(number) >= count {
        return None;
    }
    let base = Ipv4Addr::from(u32::from(base) + (u32::from(number) << 8));
    Some((base, format!("{base}/24")))
}

/// The numbers R that are free, lowest first.
pub fn free<'a>(underlay: &'a str, pool: &'a str, taken: &'a [Network]) -> impl Iterator<Item = u8> + 'a {
    (0..=u8::MAX).filter(move |number| {
        [underlay, pool].iter().all(|range| {
            nth(range, *number)
                .and_then(|(_, cidr)| Network::parse(&cidr))
                .is_some_and(|own| !taken.iter().any(|t| t.overlaps(own)))
        })
    })
}

/// Networks that this machine routes to, from the kernel's table. A machine that isn't Linux has none to tell.
#[must_use]
pub fn routes_of_machine() -> Vec<Network> {
    std::fs::read_to_string(Path::new("/proc/net/route")).map_or_else(|_| Vec::new(), |t| routes(&t))
}

/// Networks in the format of `/proc/net/route` (addresses as little-endian hexadecimal). The default route is none.
fn routes(table: &str) -> Vec<Network> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| u32::from_str_radix(fields.get(i)?, 16).ok().map(u32::swap_bytes);
        let (base, mask) = (number(1)?, number(7)?);
        (mask != 0).then(|| Network { base, bits: u8::try_from(mask.count_ones()).unwrap_or(32) })
    };
    table.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter().filter_map(|c| Network::parse(c)).collect()
    }

    #[test]
    fn the_lowest_number_free_in_both_ranges_is_taken() {
        let (underlay, pool) = ("198.18.0.0/16", "198.19.0.0/16");
        let first = |taken: &[&str]| free(underlay, pool, &networks(taken)).next();
        assert_eq!(first(&["172.17.0.0/16"]), Some(0));
        assert_eq!(first(&["198.18.0.0/24", "198.19.1.0/25"]), Some(2));
        assert_eq!(first(&["198.18.0.0/15"]), None);
    }

    #[test]
    fn a_small_range_has_few_numbers() {
        assert_eq!(nth("198.18.4.0/23", 1).map(|n| n.1), Some("198.18.5.0/24".into()));
        assert_eq!(nth("198.18.4.0/23", 2), None);
        assert_eq!(nth("198.18.4.0/24", 0).map(|n| n.1), Some("198.18.4.0/24".into()));
    }

    #[test]
    fn routes_are_read_from_the_kernels_table() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            br-1\t000112C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(routes(table), networks(&["198.18.1.0/24"]));
    }
}

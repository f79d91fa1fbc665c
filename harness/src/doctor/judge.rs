//! What texts of the kernel and of a probe mean for a topology. Pure.

use super::Check;
use crate::topology::TopologyConfig;
use crate::topology::subnet::{self, Network};

/// One topology with five nodes and the judge take 3 GB (measured); the images' builds about as much.
const MEMORY_MIB_MIN: u64 = 3_072;
/// Less than this leaves no room for the page cache of bricks and engines.
const MEMORY_MIB_GOOD: u64 = 4_096;
/// Images 2 GB, seeds on the cache volume 2 GB, a topology's own data and a run's evidence: 6 GB in all.
const DISK_MIB_MIN: u64 = 6_144;
/// What runs and logs grow by until somebody looks.
const DISK_MIB_GOOD: u64 = 10_240;
/// Two cores carry one topology and its judge.
const CPUS_GOOD: usize = 2;

/// Memory that can be had, from `/proc/meminfo`.
#[must_use]
pub fn memory(meminfo: &str) -> Check {
    let kib = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let (Some(available), Some(total)) = (kib("MemAvailable"), kib("MemTotal")) else {
        return Check::costs(
            "memory",
            "/proc/meminfo doesn't tell",
            "a topology needs 4 GiB: make sure that they are free",
        );
    };
    let mib = available / 1_024;
    let found = format!("{} MiB of {} MiB can be had", mib, total / 1_024);
    match mib {
        _ if mib < MEMORY_MIB_MIN => Check::missing(
            "memory",
            found,
            "a topology needs 3 GiB: nodes would be killed for want of memory; free some",
        ),
        _ if mib < MEMORY_MIB_GOOD => {
            Check::costs("memory", found, "3 GiB suffice for one topology, and leave no room for --parallel or builds")
        }
        _ => Check::ok("memory", found),
    }
}

/// Room where the engine keeps its data, or where runs leave theirs.
#[must_use]
pub fn disk(name: &'static str, place: &str, free_mib: Option<u64>) -> Check {
    let Some(mib) = free_mib else {
        return Check::costs(
            name,
            format!("{place} can't be asked from here"),
            "images and topologies need 6 GiB there",
        );
    };
    let found = format!("{mib} MiB free in {place}");
    match mib {
        _ if mib < DISK_MIB_MIN => Check::missing(
            name,
            found,
            "images, seeds and a topology need 6 GiB; free some (`stormbed clean` removes what Stormbed keeps)",
        ),
        _ if mib < DISK_MIB_GOOD => Check::costs(name, found, "enough for one topology; long runs leave gigabytes"),
        _ => Check::ok(name, found),
    }
}

/// Cores, and whether the kernel tells how long processes wait for them (`/proc/pressure/cpu`).
#[must_use]
pub fn cpus(cores: usize, pressure: Option<&str>) -> Check {
    let found = format!("{cores} cores");
    match pressure {
        _ if cores < CPUS_GOOD => Check::costs(
            "cpu",
            found,
            "the judge may be starved, which makes a missed bound INVALID: use 2 cores or more",
        ),
        None => Check::costs(
            "cpu",
            format!("{found}, no /proc/pressure"),
            "reports don't say how full the machine was; boot with psi=1",
        ),
        Some(_) => Check::ok("cpu", found),
    }
}

/// What a probe in a container of ours said: lines of `<part> <answer>`.
#[must_use]
pub fn probe(said: &str) -> Vec<Check> {
    let answer = |part: &str| said.lines().find_map(|line| line.strip_prefix(part)?.strip_prefix(' '));
    let works = |part: &str| answer(part) == Some("works");
    let told = |part: &str| answer(part).unwrap_or("no answer").to_owned();
    let need = |name, part, advice: &str| match works(part) {
        true => Check::ok(name, "works in a container"),
        false => Check::missing(name, told(part), advice),
    };
    let may = |name, part, advice: &str| match works(part) {
        true => Check::ok(name, "works in a container"),
        false => Check::costs(name, told(part), advice),
    };
    vec![
        need(
            "netfilter",
            "iptables",
            "faults of the network are netfilter rules: load ip_tables or nf_tables (`modprobe ip_tables`)",
        ),
        may("netfilter chance", "statistic", "without it there is no `loss`: `modprobe xt_statistic`"),
        may(
            "netfilter queues",
            "nfqueue",
            "without them there is no `slow-link`: `modprobe -a xt_NFQUEUE nfnetlink_queue`",
        ),
        may("netfilter cards", "mac", "without it hosts can't be partitioned: `modprobe xt_mac`"),
        need("fuse", "fuse", "GlusterFS mounts need /dev/fuse: `modprobe fuse`"),
        need(
            "xattr",
            "xattr",
            "GlusterFS bricks need trusted extended attributes: the engine's data must lie on ext4, xfs or btrfs",
        ),
        match answer("cgroup") {
            Some(version @ ("v1" | "v2")) => Check::ok("cgroup", version),
            other => {
                Check::missing("cgroup", other.unwrap_or("no answer"), "machines need a cgroup hierarchy of their own")
            }
        },
        need(
            "inner engine",
            "overlay",
            "machines run engines of their own on overlay2: their data must not lie on overlay itself",
        ),
    ]
}

/// Networks that neither the engine nor this machine uses.
#[must_use]
pub fn networks(config: &TopologyConfig, taken: &[Network]) -> Check {
    let free = subnet::free(&config.underlay, &config.pool, taken).count();
    let found = format!("{free} of 256 pairs of /24 in {} and {} are free", config.underlay, config.pool);
    match free {
        0 => Check::missing(
            "networks",
            found,
            "remove old networks (`docker network prune`), or set other ranges: `underlay`, `pool` in a configuration",
        ),
        _ => Check::ok("networks", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn meminfo(available_mib: u64) -> String {
        format!("MemTotal:       24559788 kB\nMemFree:  1 kB\nMemAvailable:   {} kB\n", available_mib * 1_024)
    }

    #[test]
    fn memory_and_disk_are_measured_against_what_a_topology_takes() {
        let states = [1_000, 3_500, 20_000].map(|mib| memory(&meminfo(mib)).state);
        assert_eq!(states, [State::Missing, State::Costs, State::Ok]);
        assert_eq!(memory("nonsense").state, State::Costs);
        let states = [Some(1_000), Some(7_000), Some(50_000), None].map(|mib| disk("disk", "/d", mib).state);
        assert_eq!(states, [State::Missing, State::Costs, State::Ok, State::Costs]);
        assert!(memory(&meminfo(20_000)).found.starts_with("20000 MiB of 23984 MiB"));
    }

    #[test]
    fn a_single_core_costs_and_so_does_a_kernel_that_tells_nothing() {
        assert_eq!(cpus(1, Some("some avg10=0.00")).state, State::Costs);
        assert_eq!(cpus(2, None).state, State::Costs);
        assert_eq!(cpus(2, Some("some avg10=0.00")).state, State::Ok);
    }

    #[test]
    fn a_probe_that_says_nothing_proves_nothing() {
        let good = "iptables works\nstatistic works\nnfqueue works\nmac works\nfuse works\nxattr works\ncgroup v1\noverlay works\n";
        assert!(probe(good).iter().all(|check| check.state == State::Ok), "{:?}", probe(good));
        let silent: Vec<State> = probe("").iter().map(|check| check.state).collect();
        assert_eq!(silent.iter().filter(|state| **state == State::Missing).count(), 5);
        let costs = silent.iter().filter(|state| **state == State::Costs).count();
        assert_eq!(costs, 3, "what a few faults need can be done without");
        let lacks = probe(&good.replace("nfqueue works", "nfqueue iptables: No chain/target/match by that name."));
        let queues = lacks.iter().find(|check| check.name == "netfilter queues").expect("it is checked");
        assert!(queues.found.contains("No chain") && queues.advice.contains("slow-link"));
    }

    #[test]
    fn taken_networks_are_counted() {
        let config = TopologyConfig::default();
        let taken = |cidr: &str| Network::parse(cidr).into_iter().collect::<Vec<_>>();
        assert!(networks(&config, &taken("198.18.0.0/24")).found.starts_with("255 of 256"));
        assert_eq!(networks(&config, &taken("198.18.0.0/15")).state, State::Missing);
    }
}

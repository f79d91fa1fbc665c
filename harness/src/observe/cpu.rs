//! Who has the CPUs: how long this process waited for one, and what others than the topology took.
//!
//! Both come from the kernel's own accounts, and neither can be brought about by the system under test alone: what its containers use
//! is taken off. The kernel's CPU pressure (`/proc/pressure/cpu`) is no such evidence. It counts the topology's own waiting, and that
//! of programs that only take what is left: runs that pass with ticks of 100 ms show it at 90 %.
//! I/O pressure isn't either: nothing tells whose writes it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// Since the tick before, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuView {
    /// This process's threads ran.
    pub ran_us: u64,
    /// They wanted a CPU, and waited for one.
    pub waited_us: u64,
    /// How often they wanted one.
    pub turns: u64,
    /// CPU time that the machine had: of all its CPUs.
    pub had_us: u64,
    /// Of that, what neither the topology's containers nor this process used, nor nobody: other programs, and the hypervisor. The
    /// accounts are some milliseconds apart, so that it may be less than nothing for a tick.
    pub others_us: i64,
}

/// Reads the accounts, tick by tick.
#[derive(Debug, Default)]
pub struct Meter {
    before: Option<Reading>,
}

/// The accounts at one moment.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    cpus: u64,
    busy_us: u64,
    threads: BTreeMap<String, Schedule>,
    /// By container: used.
    containers: BTreeMap<String, u64>,
}

/// What the kernel accounts for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Schedule {
    ran_ns: u64,
    waited_ns: u64,
    turns: u64,
}

impl Meter {
    /// What has happened since the last call, with these containers (ids) as the topology. None the first time, without the kernel's
    /// accounts, and where a container's can't be read: engines that run elsewhere.
    pub fn read(&mut self, containers: &[String]) -> Option<CpuView> {
        let now = Reading::now(containers);
        let before = std::mem::replace(&mut self.before, now.clone());
        Some(since(&before?, &now?))
    }
}

impl Reading {
    fn now(containers: &[String]) -> Option<Self> {
        let (cpus, busy_ticks) = machine(&std::fs::read_to_string("/proc/stat").ok()?)?;
        let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
        // A topology without containers is none.
        let used = |id: &String| Some((id.clone(), used_us(Path::new("/sys/fs/cgroup"), id)?));
        let containers: BTreeMap<String, u64> = containers.iter().map(used).collect::<Option<_>>()?;
        (!containers.is_empty()).then_some(())?;
        Some(Self {
            at: Instant::now(),
            cpus,
            busy_us: busy_ticks * 1_000_000 / per_second,
            threads: threads()?,
            containers,
        })
    }
}

fn since(before: &Reading, now: &Reading) -> CpuView {
    let (mut ran_us, mut waited_us, mut turns) = (0, 0, 0);
    for (thread, sum) in &now.threads {
        // A thread that wasn't there has done all of it since.
        let then = before.threads.get(thread).copied().unwrap_or_default();
        ran_us += sum.ran_ns.saturating_sub(then.ran_ns) / 1_000;
        waited_us += sum.waited_ns.saturating_sub(then.waited_ns) / 1_000;
        turns += sum.turns.saturating_sub(then.turns);
    }
    // What a container has used that wasn't looked at before nobody knows; it counts from the next tick on.
    let used = now.containers.iter().filter_map(|(id, used)| Some(used.saturating_sub(*before.containers.get(id)?)));
    let topology: u64 = used.sum();
    let had = now.at.duration_since(before.at) * u32::try_from(now.cpus).unwrap_or(u32::MAX);
    let busy = now.busy_us.saturating_sub(before.busy_us);
    let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
    let others_us = signed(busy) - signed(topology) - signed(ran_us);
    CpuView { ran_us, waited_us, turns, had_us: micros(had), others_us }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Number of CPUs, and the clock ticks in which one of them did something or was somebody else's (`/proc/stat`).
fn machine(stat: &str) -> Option<(u64, u64)> {
    let mut lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    let fields: Vec<u64> = lines.next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is part of the first two.
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields[..] else {
        return None;
    };
    Some((u64::try_from(lines.count()).ok().filter(|cpus| *cpus > 0)?, user + nice + system + irq + softirq + steal))
}

/// What each thread of this process did.
fn threads() -> Option<BTreeMap<String, Schedule>> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    let thread = |task: std::fs::DirEntry| {
        // One that has ended meanwhile is gone.
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((task.file_name().to_string_lossy().into_owned(), schedule(&text)?))
    };
    let all: BTreeMap<_, _> = tasks.filter_map(thread).collect();
    (!all.is_empty()).then_some(all)
}

/// Nanoseconds that a thread ran, nanoseconds that it waited while it could have run, and how often it ran (`schedstat`).
fn schedule(text: &str) -> Option<Schedule> {
    let mut fields = text.split_whitespace().map(str::parse);
    let mut next = || fields.next()?.ok();
    Some(Schedule { ran_ns: next()?, waited_ns: next()?, turns: next()? })
}

/// Microseconds of CPU that a container has used, with everything in it, as its control group accounts for it.
fn used_us(groups: &Path, id: &str) -> Option<u64> {
    let v1 = ["cpuacct/docker", "cpu,cpuacct/docker"].map(|folder| groups.join(folder).join(id).join("cpuacct.usage"));
    if let Some(nanoseconds) = v1.iter().find_map(|path| std::fs::read_to_string(path).ok()) {
        return nanoseconds.trim().parse::<u64>().ok().map(|ns| ns / 1_000);
    }
    let v2: [PathBuf; 2] = [groups.join("docker").join(id), groups.join(format!("system.slice/docker-{id}.scope"))];
    let text = v2.iter().find_map(|folder| std::fs::read_to_string(folder.join("cpu.stat")).ok())?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, busy_us: u64, threads: &[(&str, [u64; 3])], containers: &[(&str, u64)]) -> Reading {
        let schedule = |[ran_ns, waited_ns, turns]: [u64; 3]| Schedule { ran_ns, waited_ns, turns };
        let threads = threads.iter().map(|(name, sums)| ((*name).to_owned(), schedule(*sums))).collect();
        let containers = containers.iter().map(|(id, used)| ((*id).to_owned(), *used)).collect();
        Reading { at, cpus: 2, busy_us, threads, containers }
    }

    #[test]
    fn what_is_left_when_topology_and_runner_are_taken_off_is_others() {
        let at = Instant::now();
        let before = reading(at, 1_000_000, &[("1", [5_000_000, 1_000_000, 10])], &[("a", 100_000), ("gone", 7)]);
        let after = at + Duration::from_millis(250);
        // Thread 2 and container b are new.
        let threads = [("1", [25_000_000, 41_000_000, 30]), ("2", [10_000_000, 0, 5])];
        let now = reading(after, 1_400_000, &threads, &[("a", 250_000), ("b", 900_000)]);
        let view = since(&before, &now);
        let expected = CpuView { ran_us: 30_000, waited_us: 40_000, turns: 25, had_us: 500_000, others_us: 220_000 };
        assert_eq!(view, expected);
    }

    #[test]
    fn the_kernels_formats_are_read() {
        let stat = "cpu  100 1 20 900 50 0 3 4 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        assert_eq!(machine(stat), Some((2, 128)));
        assert_eq!(machine("cpu  1 2\n"), None);
        assert_eq!(schedule("52147 1000 7\n"), Some(Schedule { ran_ns: 52_147, waited_ns: 1_000, turns: 7 }));
        assert_eq!(schedule("52147\n"), None);
        assert!(threads().is_some_and(|all| !all.is_empty()), "this kernel has no schedstat");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        assert_eq!(used_us(folder.path(), "x"), None);
        write("system.slice/docker-x.scope/cpu.stat", "usage_usec 42\nuser_usec 40\n");
        assert_eq!(used_us(folder.path(), "x"), Some(42));
        write("cpuacct/docker/x/cpuacct.usage", "7000\n");
        assert_eq!(used_us(folder.path(), "x"), Some(7));
    }

    #[test]
    fn without_a_topologys_accounts_there_is_no_evidence() {
        let mut meter = Meter::default();
        for _ in 0..2 {
            assert_eq!(meter.read(&["no-such-container".to_owned()]), None);
            assert_eq!(meter.read(&[]), None);
        }
    }
}

//! Little of what a container lives on: processor time, memory, or its disk's bandwidth, by the limits of its own control group.
//!
//! What a limit was before is on the disk before it is changed, so that whoever comes later, knowing nothing but that file, sets it
//! back. Kernels with either version of control groups are meant.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::cut::chain;
use super::faults::Place;
use super::text;
use crate::files::replace;
use crate::mounts::TABLE;

/// What limits were, by fault. A machine that is started again has other control groups, and needs none of it.
const KEPT: &str = "/run/stormbed/squeezed";
/// A busy program meets its limit within this time.
const MEETS_MAX: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What there is little of, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Squeeze {
    /// Processor time.
    Cpu {
        /// Share of one core.
        percent: u8,
    },
    /// Memory.
    Memory {
        /// So much.
        bytes: u64,
    },
}

/// A limit of a control group: its file, and what is written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    file: PathBuf,
    text: String,
}

/// Sets the limits of a container. Returns when it was seen to run into them.
///
/// # Errors
/// If they can't be set, or it lives within them.
pub async fn make(place: &Place, fault: &str, container: &str, squeeze: Squeeze) -> Result<(), String> {
    let pid = super::tamper::process(place, container).await?;
    let group = Group::of(pid, squeeze)?;
    let limits = group.limits(squeeze)?;
    let before = limits.iter().map(|limit| Ok(Limit { file: limit.file.clone(), text: read(&limit.file)? }));
    let before: Vec<Limit> = before.collect::<Result<_, String>>()?;
    let kept = serde_json::to_string(&before).map_err(text)?;
    replace(&kept_at(fault), kept, 0o600).map_err(|error| format!("{KEPT}: {error}"))?;
    let met = group.met(squeeze)?;
    for limit in limits.iter().filter(|_| group.dir.exists()) {
        squeeze_to(&group, limit)?;
    }
    let end = Instant::now() + MEETS_MAX;
    while group.still(squeeze, met)? {
        if Instant::now() >= end {
            return Err(format!(
                "container {container} lives well within that for {} s: squeeze it more",
                MEETS_MAX.as_secs()
            ));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Sets the limits back to what they were. What is gone, or was never changed, is fine.
///
/// # Errors
/// If a limit can't be set back.
pub fn unmake(fault: &str) -> Result<(), String> {
    restore(&kept_at(fault))
}

/// Sets back what an outpost before this one has squeezed. Returns what that was.
///
/// # Errors
/// If a limit can't be set back.
pub fn sweep() -> Result<Vec<String>, String> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(KEPT).into_iter().flatten().flatten() {
        restore(&entry.path())?;
        swept.push(format!("set back the limits of {}", entry.file_name().display()));
    }
    Ok(swept)
}

fn kept_at(fault: &str) -> PathBuf {
    Path::new(KEPT).join(chain(fault))
}

/// In the opposite order: a limit may not be above another one that is set after it.
fn restore(kept: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", kept.display());
    let before = match fs::read_to_string(kept) {
        Ok(before) => before,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    let before: Vec<Limit> = serde_json::from_str(&before).map_err(|error| failed(&error))?;
    for limit in before.iter().rev().filter(|limit| limit.file.exists()) {
        set(limit)?;
    }
    fs::remove_file(kept).map_err(|error| failed(&error))
}

/// A kernel with control groups of version 1 refuses a limit of memory below what it can't free. It has freed what it could by then:
/// what is left in use becomes the limit, so that not a page more is granted. Memory with swap has no limit below memory alone.
fn squeeze_to(group: &Group, limit: &Limit) -> Result<(), String> {
    let least = match fs::write(&limit.file, &limit.text).map_err(|error| error.kind()) {
        Err(ErrorKind::ResourceBusy) => "memory.usage_in_bytes",
        Err(ErrorKind::InvalidInput) => "memory.limit_in_bytes",
        _ => return set(limit),
    };
    set(&Limit { file: limit.file.clone(), text: read(&group.dir.join(least))? })
}

fn set(limit: &Limit) -> Result<(), String> {
    fs::write(&limit.file, &limit.text).map_err(|error| format!("{} to {}: {error}", limit.text, limit.file.display()))
}

fn read(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    dir: PathBuf,
    /// It is of the one tree of version 2.
    unified: bool,
}

impl Group {
    /// The group of a process that holds this limit.
    fn of(pid: i32, squeeze: Squeeze) -> Result<Self, String> {
        let path = format!("/proc/{pid}/cgroup");
        let groups = read(Path::new(&path))?;
        let table = read(Path::new(TABLE))?;
        let controller = squeeze.controller();
        find(&groups, &table, controller)
            .ok_or_else(|| format!("process {pid} has no control group of {controller} that this machine can see"))
    }

    fn limits(&self, squeeze: Squeeze) -> Result<Vec<Limit>, String> {
        let limit = |file: &str, text: String| Limit { file: self.dir.join(file), text };
        Ok(match (squeeze, self.unified) {
            (Squeeze::Cpu { percent }, true) => {
                let period = 100_000;
                vec![limit("cpu.max", format!("{} {period}", period * u64::from(percent) / 100))]
            }
            (Squeeze::Cpu { percent }, false) => {
                let period: u64 = read(&self.dir.join("cpu.cfs_period_us"))?.parse().map_err(text)?;
                vec![limit("cpu.cfs_quota_us", (period * u64::from(percent) / 100).to_string())]
            }
            (Squeeze::Memory { bytes }, true) => {
                vec![limit("memory.max", bytes.to_string()), limit("memory.swap.max", "0".to_owned())]
            }
            (Squeeze::Memory { bytes }, false) => {
                let all = [
                    limit("memory.limit_in_bytes", bytes.to_string()),
                    limit("memory.memsw.limit_in_bytes", bytes.to_string()),
                ];
                // A kernel that doesn't account for swap has no second limit.
                all.into_iter().filter(|limit| limit.file.exists()).collect()
            }
        })
    }

    /// The limit was run into no more often than so. A group that is gone was killed by it, with all that was in it.
    fn still(&self, squeeze: Squeeze, met: u64) -> Result<bool, String> {
        match self.met(squeeze) {
            Err(_) if !self.dir.exists() => Ok(false),
            now => now.map(|now| now == met),
        }
    }

    /// How often the limit was run into so far.
    fn met(&self, squeeze: Squeeze) -> Result<u64, String> {
        let (file, key) = match (squeeze, self.unified) {
            (Squeeze::Cpu { .. }, _) => ("cpu.stat", Some("nr_throttled")),
            (Squeeze::Memory { .. }, true) => ("memory.events", Some("max")),
            (Squeeze::Memory { .. }, false) => ("memory.failcnt", None),
        };
        let text = read(&self.dir.join(file))?;
        count(&text, key).ok_or_else(|| format!("{} says '{text}'", self.dir.join(file).display()))
    }
}

impl Squeeze {
    fn controller(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
        }
    }
}

/// The number behind this key, or the only one.
fn count(text: &str, key: Option<&str>) -> Option<u64> {
    match key {
        None => text.trim().parse().ok(),
        Some(key) => {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(found, _)| *found == key)?.1.trim().parse().ok()
        }
    }
}

/// A process' group of a controller, of `/proc/<pid>/cgroup` and a mount table.
fn find(groups: &str, table: &str, controller: &str) -> Option<Group> {
    let lines = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = lines().find(|(controllers, _)| controllers.split(',').any(|known| known == controller));
    let unified = own.is_none();
    let (_, path) = own.or_else(|| lines().find(|(controllers, _)| controllers.is_empty()))?;
    table.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let (kind, options) = (system.split(' ').next()?, system.split(' ').nth(2)?);
        let fits = match unified {
            true => kind == "cgroup2",
            false => kind == "cgroup" && options.split(',').any(|option| option == controller),
        };
        let below = Path::new(path).strip_prefix(root).ok().filter(|_| fits)?;
        Some(Group { dir: Path::new(point).join(below), unified })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_controller_below_what_is_mounted() {
        let groups =
            "11:memory:/docker/outer/docker/inner\n4:cpu,cpuacct:/docker/outer/docker/inner\n1:name=systemd:/x\n0::/y";
        let table = "30 29 0:26 /docker/outer /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
                     31 29 0:27 /docker/outer /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = find(groups, table, "cpu").unwrap();
        assert_eq!(found, Group { dir: "/sys/fs/cgroup/cpu,cpuacct/docker/inner".into(), unified: false });
        assert_eq!(find(groups, table, "memory").unwrap().dir, Path::new("/sys/fs/cgroup/memory/docker/inner"));
        let elsewhere = "4:cpu,cpuacct:/docker/another/docker/inner";
        assert_eq!(find(elsewhere, table, "cpu"), None, "that is no group of this machine's");
        let table = "25 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n";
        let found = find("0::/docker/inner", table, "cpu").unwrap();
        assert_eq!(found, Group { dir: "/sys/fs/cgroup/docker/inner".into(), unified: true });
    }

    #[test]
    fn limits_are_those_of_the_kernels_version() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.cfs_period_us"), "100000\n").unwrap();
        fs::write(dir.path().join("memory.limit_in_bytes"), "1\n").unwrap();
        let limits = |unified, squeeze| {
            let limits = Group { dir: dir.path().to_owned(), unified }.limits(squeeze).unwrap();
            limits
                .into_iter()
                .map(|l| (l.file.file_name().unwrap().to_str().unwrap().to_owned(), l.text))
                .collect::<Vec<_>>()
        };
        let of =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        let (cpu, memory) = (Squeeze::Cpu { percent: 20 }, Squeeze::Memory { bytes: 64 << 20 });
        assert_eq!(limits(false, cpu), of(&[("cpu.cfs_quota_us", "20000")]));
        assert_eq!(limits(true, cpu), of(&[("cpu.max", "20000 100000")]));
        assert_eq!(limits(false, memory), of(&[("memory.limit_in_bytes", "67108864")]), "there is no limit of swap");
        assert_eq!(limits(true, memory), of(&[("memory.max", "67108864"), ("memory.swap.max", "0")]));
    }

    #[test]
    fn limits_are_set_back_to_what_they_were_and_the_last_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("limit");
        fs::write(&file, "now").unwrap();
        let limit = |text: &str| Limit { file: file.clone(), text: text.to_owned() };
        let gone = Limit { file: dir.path().join("none/limit"), text: "1".to_owned() };
        let kept = dir.path().join("kept");
        fs::write(&kept, serde_json::to_string(&[limit("first"), limit("second"), gone]).unwrap()).unwrap();
        restore(&kept).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        assert!(!kept.exists());
        restore(&kept).unwrap();
    }

    #[test]
    fn a_group_that_meets_its_limit_or_is_gone_is_squeezed() {
        let dir = tempfile::tempdir().unwrap();
        let group = Group { dir: dir.path().join("inner"), unified: false };
        let memory = Squeeze::Memory { bytes: 1 };
        fs::create_dir(&group.dir).unwrap();
        assert!(group.still(memory, 3).is_err(), "nobody can tell");
        fs::write(group.dir.join("memory.failcnt"), "3\n").unwrap();
        assert_eq!(group.still(memory, 3), Ok(true));
        fs::write(group.dir.join("memory.failcnt"), "4\n").unwrap();
        assert_eq!(group.still(memory, 3), Ok(false));
        fs::remove_dir_all(&group.dir).unwrap();
        assert_eq!(group.still(memory, 3), Ok(false), "it was killed");
    }

    #[test]
    fn counters_are_found_by_their_key() {
        assert_eq!(count("nr_periods 7\nnr_throttled 3\n", Some("nr_throttled")), Some(3));
        assert_eq!(count("12\n", None), Some(12));
        assert_eq!(count("nr_periods 7\n", Some("nr_throttled")), None);
    }
}

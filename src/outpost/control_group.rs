//! A container's control group: limits that are set for a while and set back. Kernels with either version of control groups are meant.
//!
//! What a limit was before is on the disk before it is changed, so that whoever comes later, knowing nothing but that file, sets it
//! back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cut::chain;
use super::processes::{self, ProcessView};
use crate::files::replace;
use crate::mounts::TABLE;

/// What limits were, by fault. A machine that is started again has other control groups, and needs none of it.
const KEPT: &str = "/run/stormbed/limits";

/// A limit of a control group, or of a process: its file, and what is written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limit {
    pub file: PathBuf,
    pub text: String,
    /// Whose it is: what is set back later must not meet another one with its id.
    pub of: Option<ProcessView>,
}

/// A control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub dir: PathBuf,
    /// It is of the one tree of version 2.
    pub unified: bool,
}

impl Group {
    /// The group of a process that holds the limits of this controller.
    pub fn of(pid: i32, controller: &str) -> Result<Self, String> {
        let groups = read(Path::new(&format!("/proc/{pid}/cgroup")))?;
        let table = read(Path::new(TABLE))?;
        find(&groups, &table, controller)
            .ok_or_else(|| format!("process {pid} has no control group of {controller} that this machine can see"))
    }

    /// A limit of this group.
    pub fn limit(&self, file: &str, text: impl ToString) -> Limit {
        Limit { file: self.dir.join(file), text: text.to_string(), of: None }
    }

    /// What one of its files says.
    pub fn read(&self, file: &str) -> Result<String, String> {
        read(&self.dir.join(file))
    }

    /// The number that one of its files has behind this key.
    pub fn count(&self, file: &str, key: &str) -> Result<u64, String> {
        let text = self.read(file)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(found, _)| *found == key).and_then(|(_, number)| number.trim().parse().ok());
        found.ok_or_else(|| format!("{} has no number for '{key}': '{text}'", self.dir.join(file).display()))
    }
}

/// Sets limits, one after another, having noted what they were.
pub(super) fn set(fault: &str, limits: &[Limit]) -> Result<(), String> {
    let before = limits.iter().map(|limit| Ok(Limit { text: read(&limit.file)?, ..limit.clone() }));
    let before: Vec<Limit> = before.collect::<Result<_, String>>()?;
    let kept = serde_json::to_string(&before).map_err(super::text)?;
    replace(&kept_at(fault), kept, 0o600).map_err(|error| format!("{KEPT}: {error}"))?;
    limits.iter().try_for_each(write)
}

/// Sets the limits back to what they were. What is gone, or was never changed, is fine.
pub(super) fn set_back(fault: &str) -> Result<(), String> {
    restore(&kept_at(fault))
}

/// Sets back what an outpost before this one has limited. Returns what that was.
pub(super) fn sweep() -> Result<Vec<String>, String> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(KEPT).into_iter().flatten().flatten() {
        // What was being written when its outpost ended comes before any limit that was changed.
        if entry.path().extension().is_some() {
            let _ = fs::remove_file(entry.path());
            continue;
        }
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
    let wrong: Vec<String> = before.iter().rev().filter(|limit| limit.is_there()).filter_map(left).collect();
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    fs::remove_file(kept).map_err(|error| failed(&error))
}

/// Why a limit can't be set back; that its container, or its process, has ended meanwhile is no reason.
fn left(limit: &Limit) -> Option<String> {
    write(limit).err().filter(|_| limit.is_there())
}

fn write(limit: &Limit) -> Result<(), String> {
    fs::write(&limit.file, &limit.text).map_err(|error| format!("{} to {}: {error}", limit.text, limit.file.display()))
}

impl Limit {
    fn is_there(&self) -> bool {
        self.file.exists() && self.of.is_none_or(processes::lives)
    }
}

fn read(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
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
    fn limits_are_set_back_to_what_they_were_and_the_last_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("limit");
        fs::write(&file, "now").unwrap();
        let limit = |text: &str| Limit { file: file.clone(), text: text.to_owned(), of: None };
        let gone = Limit { file: dir.path().join("none/limit"), ..limit("1") };
        let another = ProcessView { pid: std::process::id(), started_ticks: 1 };
        let of_another = Limit { of: Some(another), ..limit("another's") };
        let kept = dir.path().join("kept");
        fs::write(&kept, serde_json::to_string(&[of_another, limit("first"), limit("second"), gone]).unwrap()).unwrap();
        restore(&kept).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        assert!(!kept.exists());
        restore(&kept).unwrap();
    }

    #[test]
    fn counters_are_found_by_their_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.stat"), "nr_periods 7\nnr_throttled 3\n").unwrap();
        let group = Group { dir: dir.path().to_owned(), unified: false };
        assert_eq!(group.count("cpu.stat", "nr_throttled"), Ok(3));
        assert!(group.count("cpu.stat", "throttled").unwrap_err().contains("'throttled'"));
        assert!(group.count("memory.stat", "cache").is_err());
    }
}

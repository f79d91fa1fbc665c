//! What a nested engine needs of its container's mounts: cgroups it can write.
//!
//! * **v1**: Docker mounts every controller read-only; each is made writable (a bind remount, which CAP_SYS_ADMIN suffices for).
//! * **v2**: the one tree is made writable; then every process moves into a leaf, because a group that holds processes can't give
//!   controllers to its children, and the controllers are enabled for the engine's groups.
//!
//! What to do is a pure function of the mount table ([`decide`]); [`prepare`] does it.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// The leaf that takes the container's own processes (cgroup v2).
const LEAF: &str = "stormbed";

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Mount points to make writable.
    pub remount: Vec<PathBuf>,
    /// The cgroup v2 tree whose processes move into a leaf; none on v1.
    pub unified: Option<PathBuf>,
}

/// Reads a mount table (`/proc/<pid>/mountinfo`).
///
/// # Errors
/// If no cgroups are mounted.
pub fn decide(mount_table: &str) -> Result<Preparation, String> {
    let mut remount = Vec::new();
    let (mut v1, mut unified) = (false, None);
    for mount in mount_table.lines().filter_map(Mount::parse) {
        let cgroup = matches!(mount.kind, "cgroup" | "cgroup2");
        if !(cgroup || mount.kind == "sysfs" && mount.point == "/sys") {
            continue;
        }
        if mount.read_only {
            remount.push(PathBuf::from(mount.point));
        }
        v1 |= mount.kind == "cgroup";
        if mount.kind == "cgroup2" {
            unified = Some(PathBuf::from(mount.point));
        }
    }
    if !v1 && unified.is_none() {
        return Err(format!(
            "no cgroups in {MOUNT_TABLE}; expected mounts of type cgroup or cgroup2 below /sys/fs/cgroup, as Docker makes them"
        ));
    }
    // Hybrid: with v1 controllers mounted, the v2 tree has none and the engine leaves it alone.
    Ok(Preparation { remount, unified: unified.filter(|_| !v1) })
}

struct Mount<'a> {
    point: &'a str,
    kind: &'a str,
    read_only: bool,
}

impl<'a> Mount<'a> {
    /// `id parent major:minor root POINT OPTIONS [tags…] - TYPE source superoptions`
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        Some(Self { point, kind: after.split(' ').next()?, read_only: options.split(',').any(|option| option == "ro") })
    }
}

/// Does what [`decide`] says for this process's own mount table. Run before any part is started.
///
/// # Errors
/// Which step failed, and what it needs.
pub fn prepare() -> Result<(), String> {
    let table = std::fs::read_to_string(MOUNT_TABLE).map_err(|e| format!("cannot read {MOUNT_TABLE}: {e}"))?;
    let preparation = decide(&table)?;
    for point in &preparation.remount {
        writable(point)?;
    }
    match preparation.unified {
        Some(tree) => enable_controllers(&tree),
        None => Ok(()),
    }
}

fn writable(point: &Path) -> Result<(), String> {
    // Docker's own flags, without "read-only".
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(None::<&str>, point, None::<&str>, flags, None::<&str>).map_err(|e| {
        format!(
            "cannot make {} writable: {e}; the container needs CAP_SYS_ADMIN and apparmor=unconfined",
            point.display()
        )
    })
}

fn enable_controllers(tree: &Path) -> Result<(), String> {
    let failed = |what: &str, e: std::io::Error| format!("cannot {what} in {}: {e}", tree.display());
    let leaf = tree.join(LEAF);
    std::fs::create_dir_all(&leaf).map_err(|e| failed("make a leaf cgroup", e))?;
    let procs = std::fs::read_to_string(tree.join("cgroup.procs")).map_err(|e| failed("list the processes", e))?;
    for pid in procs.lines() {
        // A process that ended in between is no failure; one that stays behind shows in the next step.
        let _ = std::fs::write(leaf.join("cgroup.procs"), pid);
    }
    let controllers =
        std::fs::read_to_string(tree.join("cgroup.controllers")).map_err(|e| failed("list the controllers", e))?;
    std::fs::write(tree.join("cgroup.subtree_control"), enabled(&controllers))
        .map_err(|e| failed("enable the controllers", e))
}

fn enabled(controllers: &str) -> String {
    let all: Vec<String> = controllers.split_whitespace().map(|c| format!("+{c}")).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v1_table_asks_for_every_controller() {
        let preparation = decide(include_str!("fixtures/mountinfo-v1.txt")).expect("v1");
        assert_eq!(preparation.unified, None);
        let points: Vec<_> = preparation.remount.iter().map(|p| p.to_string_lossy()).collect();
        assert!(points.contains(&"/sys".into()));
        assert!(points.contains(&"/sys/fs/cgroup/memory".into()));
        assert!(points.iter().all(|p| p.starts_with("/sys")), "{points:?}");
    }

    #[test]
    fn a_v2_table_asks_for_the_tree_and_a_leaf() {
        let preparation = decide(include_str!("fixtures/mountinfo-v2.txt")).expect("v2");
        assert_eq!(preparation.unified, Some("/sys/fs/cgroup".into()));
        assert_eq!(preparation.remount, [PathBuf::from("/sys"), PathBuf::from("/sys/fs/cgroup")]);
    }

    #[test]
    fn a_hybrid_table_counts_as_v1_and_none_is_an_error() {
        let hybrid = "30 29 0:26 / /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n\
                      31 29 0:27 / /sys/fs/cgroup/unified ro,nosuid - cgroup2 cgroup2 rw\n";
        let preparation = decide(hybrid).expect("hybrid");
        assert_eq!((preparation.remount.len(), preparation.unified), (2, None));
        assert!(decide("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n").is_err());
    }

    #[test]
    fn all_controllers_are_enabled_at_once() {
        assert_eq!(enabled("cpuset cpu io\n"), "+cpuset +cpu +io");
    }
}

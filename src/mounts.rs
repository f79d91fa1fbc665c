//! What is mounted where, by the kernel's own table. The kind of file system alone tells nothing: a container's root may be FUSE too
//! (an engine with the storage driver `fuse-overlayfs`), and so is a bare mount point on it.

use std::path::Path;

/// The table as this process sees it.
pub const TABLE: &str = "/proc/self/mountinfo";
/// Type of a GlusterFS client's file system.
pub const GLUSTERFS: &str = "fuse.glusterfs";

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The file system's device, `major:minor`.
    pub device: &'a str,
    /// Where it is mounted.
    pub point: &'a Path,
    /// Its type.
    pub kind: &'a str,
}

/// The mounts of a table; a later one at the same point lies above an earlier one. Lines of another form are left out.
pub fn mounts(table: &str) -> impl DoubleEndedIterator<Item = Mount<'_>> {
    table.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (device, point) = (fields.next()?, Path::new(fields.nth(1)?));
        Some(Mount { device, point, kind: system.split(' ').next()? })
    })
}

/// Whether the topmost mount at `point` is of that type.
#[must_use]
pub fn is_mounted(table: &str, point: &Path, kind: &str) -> bool {
    mounts(table).rfind(|mount| mount.point == point).is_some_and(|mount| mount.kind == kind)
}

/// Whether a file system of that type with this device is mounted anywhere.
#[must_use]
pub fn is_device_of(table: &str, device: &str, kind: &str) -> bool {
    mounts(table).any(|mount| mount.device == device && mount.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "177 120 0:70 / / rw,relatime - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0,group_id=0\n";
    const SHARED: &str = "40 177 0:50 / /srv/shared rw,relatime - fuse.glusterfs 198.18.0.31:/shared rw\n";

    #[test]
    fn only_the_topmost_mount_counts() {
        let above = "41 40 0:51 / /srv/shared rw - tmpfs tmpfs rw\n";
        let point = Path::new("/srv/shared");
        assert!(is_mounted(SHARED, point, GLUSTERFS));
        assert!(!is_mounted(&format!("{SHARED}{above}"), point, GLUSTERFS));
        assert!(!is_mounted(SHARED, Path::new("/srv"), GLUSTERFS));
        assert!(!is_mounted("", point, GLUSTERFS));
    }

    #[test]
    fn a_root_that_is_fuse_too_is_another_file_system() {
        let table = format!("{ROOT}{SHARED}");
        assert!(is_device_of(&table, "0:50", GLUSTERFS));
        assert!(!is_device_of(&table, "0:70", GLUSTERFS));
        assert!(!is_device_of(ROOT, "0:50", GLUSTERFS), "it is mounted no more");
    }
}

//! A full disk under this machine's brick, as the brick itself sees it: its reserve of free space becomes the whole disk, and it
//! refuses what needs space with ENOSPC, as it does when the disk is full. Nothing is filled.
//!
//! The reserve is an option in the brick's own volume file, which glusterd hands out; a brick that is told to (SIGHUP) reads it
//! anew. One line more makes the disk full, and the line itself tells a later outpost what to remove.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::files::remove_all;
use super::protocol::Hello;
use super::{processes, text};
use crate::files::replace;

/// Where glusterd keeps its volume files.
const VOLUMES: &str = "/var/lib/glusterd/vols";
/// More than any disk is reserved. Nobody else writes it so, and an option that comes later wins.
const LINE: &str = "    option reserve 1000TB";
/// The part of a volume file that is about the brick's disk.
const POSIX: &str = "    type storage/posix";
const END: &str = "end-volume";
/// A brick looks at its free space every 5 s.
const SHOWS_MAX: Duration = Duration::from_secs(9);
/// Between two tries to write.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// Files that are written to see whether that works begin so.
const PROBE: &str = ".stormbed-full-";

/// What is needed to fill a disk and to see it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Name of the volume.
    pub volume: String,
    /// Directory of this machine's brick.
    pub brick: PathBuf,
    /// Mount of the volume on this machine.
    pub mount: PathBuf,
}

impl Disk {
    /// The disk of the machine that is told this; none if it has no brick.
    #[must_use]
    pub fn of(hello: &Hello) -> Option<Self> {
        let (brick, mount) = (hello.brick.clone()?, hello.shared_mount.clone()?);
        Some(Self { volume: hello.volume.clone(), brick, mount })
    }
}

/// Makes the disk full. Returns when a write was seen to be refused.
///
/// # Errors
/// If the brick can't be told, or writes go on working.
pub async fn make(disk: &Disk) -> Result<(), String> {
    change(disk, full)?;
    until(disk, true).await
}

/// Takes that back. Returns when a write was seen to work again; on a brick that doesn't run, none can.
///
/// # Errors
/// If the brick can't be told, or writes go on failing.
pub async fn unmake(disk: &Disk) -> Result<(), String> {
    change(disk, |file| free(file).unwrap_or_else(|| file.to_owned()))?;
    match processes::brick(&disk.volume) {
        Some(_) => until(disk, false).await,
        None => Ok(()),
    }
}

/// Frees a disk that an outpost before this one has made full. Returns what that was.
///
/// # Errors
/// If it can't be freed.
pub fn sweep(disk: &Disk) -> Result<Vec<String>, String> {
    let mut swept = Vec::new();
    for (path, text) in files(&disk.volume)? {
        if let Some(text) = free(&text) {
            replace(&path, text, 0o600).map_err(|error| format!("{}: {error}", path.display()))?;
            tell(&disk.volume)?;
            swept.push("freed the disk of the brick".to_owned());
        }
    }
    swept.extend(remove_all(&disk.mount, PROBE));
    Ok(swept)
}

/// The volume file with a full disk.
fn full(file: &str) -> String {
    let file = free(file).unwrap_or_else(|| file.to_owned());
    let Some((before, posix)) = file.split_once(POSIX) else {
        return file;
    };
    format!("{before}{POSIX}{}", posix.replacen(END, &format!("{LINE}\n{END}"), 1))
}

/// The volume file without what [`full`] has added; none if that isn't there.
fn free(file: &str) -> Option<String> {
    let line = format!("{LINE}\n");
    file.contains(&line).then(|| file.replace(&line, ""))
}

/// The volume files of bricks that this machine's glusterd hands out. (Only its own brick asks it.)
fn files(volume: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let dir = Path::new(VOLUMES).join(volume);
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "vol") {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            found.extend(text.contains(POSIX).then_some((path, text)));
        }
    }
    Ok(found)
}

fn change(disk: &Disk, edit: impl Fn(&str) -> String) -> Result<(), String> {
    let files = files(&disk.volume)?;
    if files.is_empty() {
        return Err(format!("glusterd has no volume file of a brick of {} in {VOLUMES}", disk.volume));
    }
    for (path, text) in files {
        replace(&path, edit(&text), 0o600).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    tell(&disk.volume)
}

/// Has the brick read its volume file anew. One that doesn't run reads it when it starts.
fn tell(volume: &str) -> Result<(), String> {
    let Some(brick) = processes::brick(volume) else {
        return Ok(());
    };
    let pid = i32::try_from(brick.view.pid).map_err(text)?;
    kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|errno| format!("SIGHUP to the brick's process {pid}: {errno}"))
}

/// Waits until writes are refused, or aren't.
async fn until(disk: &Disk, refused: bool) -> Result<(), String> {
    let end = Instant::now() + SHOWS_MAX;
    loop {
        let look = disk.clone();
        let is = tokio::task::spawn_blocking(move || is_refused(&look)).await.map_err(text)?;
        match is {
            Ok(is) if is == refused => return Ok(()),
            _ if Instant::now() < end => sleep(TRY_EVERY).await,
            Ok(_) if refused => {
                return Err(format!("the brick still takes files {} s after its disk was full", SHOWS_MAX.as_secs()));
            }
            Ok(_) => {
                return Err(format!(
                    "the brick still refuses files {} s after its disk was freed",
                    SHOWS_MAX.as_secs()
                ));
            }
            Err(why) => return Err(why),
        }
    }
}

/// A file that is written through the volume is refused, or this brick doesn't get it. (The self-heal brings it there some seconds
/// later: what it writes isn't refused.)
fn is_refused(disk: &Disk) -> Result<bool, String> {
    let name = format!("{PROBE}{:016x}", rand::random::<u64>());
    let path = disk.mount.join(&name);
    let failed = |error: &std::io::Error| format!("{}: {error}", path.display());
    let written = fs::File::options().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(b"is there room?\n")?;
        file.sync_all()
    });
    let missing = !disk.brick.join(&name).exists();
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&error)),
        _ => Ok(()),
    };
    match written {
        Ok(()) => removed.map(|()| missing),
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(true),
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "volume shared-posix\n    type storage/posix\n    option directory /bricks/shared\nend-volume\n\n\
                        volume shared-trash\n    type features/trash\nend-volume\n";

    #[test]
    fn a_line_of_the_bricks_disk_makes_it_full_and_its_removal_leaves_no_trace() {
        let filled = full(FILE);
        assert!(
            filled.contains("directory /bricks/shared\n    option reserve 1000TB\nend-volume\n\nvolume shared-trash"),
            "{filled}"
        );
        assert_eq!(full(&filled), filled, "twice is once");
        assert_eq!(free(&filled).as_deref(), Some(FILE));
        assert_eq!(free(FILE), None);
        assert_eq!(full("volume x\nend-volume\n"), "volume x\nend-volume\n", "a client's file has no disk");
    }

    #[test]
    fn a_file_that_the_brick_did_not_get_was_refused_and_no_probe_stays() {
        let (mount, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |brick: &Path| Disk { volume: "v".into(), brick: brick.to_owned(), mount: mount.path().to_owned() };
        assert_eq!(is_refused(&of(mount.path())), Ok(false));
        assert_eq!(is_refused(&of(other.path())), Ok(true));
        assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
        let none = Disk { mount: mount.path().join("none"), ..of(mount.path()) };
        assert!(is_refused(&none).is_err(), "nobody can tell");
    }
}

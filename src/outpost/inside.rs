//! Files of another process, by way of `/proc/<pid>/root`.

use std::fs::File;
use std::io::{Read, Write};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Tables and keys of a cluster are some kilobytes; anything longer isn't one of them.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a text file as the process sees it. Links in its file system lead nowhere outside of it.
///
/// # Errors
/// If it can't be read, or is longer than a mebibyte.
pub fn read(pid: i32, path: &str) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| failed(pid, path, error);
    let file = open(pid, path, OFlag::O_RDONLY)?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|e| failed(&e))? as u64 {
        0..=FILE_BYTES_MAX => Ok(text),
        _ => Err(failed(&format!("longer than {FILE_BYTES_MAX} bytes"))),
    }
}

/// Replaces the whole content of a file in place, mounted or not, as the process sees it.
///
/// # Errors
/// If there is no such file, or it can't be written.
pub fn overwrite(pid: i32, path: &str, text: &str) -> Result<(), String> {
    let mut file = open(pid, path, OFlag::O_WRONLY | OFlag::O_TRUNC)?;
    file.write_all(text.as_bytes()).map_err(|error| failed(pid, path, &error))
}

fn open(pid: i32, path: &str, flags: OFlag) -> Result<File, String> {
    let root = File::open(format!("/proc/{pid}/root")).map_err(|error| failed(pid, path, &error))?;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    openat2(&root, path, how).map(File::from).map_err(|error| failed(pid, path, &error))
}

fn failed(pid: i32, path: &str, error: &dyn std::fmt::Display) -> String {
    format!("{path} of process {pid}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_the_root_of_its_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
        assert_eq!(read(own, "etc/hosts"), Ok(hosts.clone()));
        assert_eq!(read(own, "/etc/../../etc/hosts"), Ok(hosts));
        assert!(read(own, "etc/no-such-file").unwrap_err().contains("no-such-file"));
    }
}

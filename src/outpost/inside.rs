//! Files of another process, by way of `/proc/<pid>/root`, and what `/proc/<pid>/net` tells about its network.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Tables and keys of a cluster are some kilobytes; anything longer isn't one of them.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// `TCP_LISTEN` in the `st` column of `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Reads a text file as the process sees it. Links in its file system lead nowhere outside of it.
///
/// # Errors
/// If it can't be read, or is longer than a mebibyte.
pub fn read(pid: i32, path: &str) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{path} of process {pid}: {error}");
    let root = File::open(format!("/proc/{pid}/root")).map_err(|e| failed(&e))?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let file = File::from(openat2(&root, path, how).map_err(|e| failed(&e))?);
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|e| failed(&e))? as u64 {
        0..=FILE_BYTES_MAX => Ok(text),
        _ => Err(failed(&format!("longer than {FILE_BYTES_MAX} bytes"))),
    }
}

/// TCP ports that something listens on in the process's network namespace; none if it is gone.
#[must_use]
pub fn listening(pid: i32) -> Vec<u16> {
    let ports: BTreeSet<u16> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| listening_ports(&table))
        .collect();
    ports.into_iter().collect()
}

fn listening_ports(table: &str) -> Vec<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next()?;
            let state = columns.nth(1)?;
            let (_, port) = local.rsplit_once(':')?;
            (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_told_from_connections() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:8D1F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17022 1 0000000000000000 100 0 0 10 0
   1: 0A0013C6:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17045 1 0000000000000000 100 0 0 10 0
   2: 0A0013C6:B2C0 0B0013C6:094C 01 00000000:00000000 02:000004F2 00000000     0        0 17123 2 0000000000000000 20 4 30 10 -1
   3: 0100007F:0016 0100007F:9C40 06 00000000:00000000 03:00000BB8 00000000     0        0 0 3 0000000000000000
";
        assert_eq!(listening_ports(tcp), [0x8D1F, 2379]);
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17060 1 0000000000000000 100 0 0 10 0
";
        assert_eq!(listening_ports(tcp6), [22]);
    }

    #[test]
    fn a_file_is_read_within_the_root_of_its_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
        assert_eq!(read(own, "etc/hosts"), Ok(hosts.clone()));
        assert_eq!(read(own, "/etc/../../etc/hosts"), Ok(hosts));
        assert!(
            read(own, "etc/no-such-file")
                .unwrap_err()
                .contains("no-such-file")
        );
    }
}

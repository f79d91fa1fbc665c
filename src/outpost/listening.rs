//! TCP ports that something listens on in another process's network namespace, asked of the kernel by `sock_diag(7)`.
//!
//! Not from `/proc/<pid>/net/tcp`: reading that walks the machine's whole table of connections, 15 to 30 ms for each file of
//! each container (measured: 262,144 buckets), and a look at the listeners alone takes well under one. It is the way out
//! where the namespace can't be entered.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `linux/netlink.h`, `linux/sock_diag.h`: one message kind asks and answers.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Lengths of `nlmsghdr` and of the request with its `inet_diag_req_v2`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// `AF_INET`, `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
const IPPROTO_TCP: u8 = 6;
/// `TCP_LISTEN`, as a number, as the bit that asks for nothing else, and as `/proc` writes it.
const LISTEN: u8 = 10;
const LISTEN_ONLY: u32 = 1 << LISTEN;
const LISTEN_TEXT: &str = "0A";

/// The listening ports, sorted; none if the process is gone.
#[must_use]
pub fn ports(pid: i32) -> Vec<u16> {
    // A thread of its own enters the namespace and ends there.
    let asked = std::thread::spawn(move || ask_in_namespace(pid)).join();
    let ports: BTreeSet<u16> = match asked {
        Ok(Ok(ports)) => ports.into_iter().collect(),
        _ => ["tcp", "tcp6"]
            .iter()
            .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
            .flat_map(|table| in_table(&table))
            .collect(),
    };
    ports.into_iter().collect()
}

fn ask_in_namespace(pid: i32) -> std::io::Result<Vec<u16>> {
    setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let mut ports = Vec::new();
    for family in FAMILIES {
        let (kind, flags) = (SockType::Datagram, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkSockDiag)?;
        send(socket.as_raw_fd(), &request(family), MsgFlags::empty())?;
        // The kernel answers in pieces of at most this size; the last one says so.
        let mut piece = vec![0; 32 << 10];
        loop {
            let count = recv(socket.as_raw_fd(), &mut piece, MsgFlags::empty())?;
            if in_piece(&piece[..count], &mut ports)? {
                break;
            }
        }
    }
    Ok(ports)
}

fn request(family: u8) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let length = u32::try_from(REQUEST_BYTES).unwrap_or_default();
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER_BYTES] = family;
    bytes[HEADER_BYTES + 1] = IPPROTO_TCP;
    bytes[HEADER_BYTES + 4..HEADER_BYTES + 8].copy_from_slice(&LISTEN_ONLY.to_ne_bytes());
    bytes
}

/// Takes the ports out of a piece of the answer; true if it was the last.
fn in_piece(mut piece: &[u8], ports: &mut Vec<u16>) -> Result<bool, Errno> {
    while let Some(header) = piece.get(..HEADER_BYTES) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = piece.get(HEADER_BYTES..length) else {
            return Err(Errno::EBADMSG);
        };
        match (kind, body) {
            (NLMSG_DONE, _) => return Ok(true),
            (NLMSG_ERROR, _) => return Err(Errno::EPROTO),
            // Family, state, timer, retransmissions, then the port in network order.
            (SOCK_DIAG_BY_FAMILY, [_, LISTEN, _, _, high, low, ..]) => {
                ports.push(u16::from_be_bytes([*high, *low]));
            }
            _ => {}
        }
        // Messages begin at multiples of four.
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The listening ports in the text of `/proc/<pid>/net/tcp` or `tcp6`.
fn in_table(table: &str) -> Vec<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next()?;
            let state = columns.nth(1)?;
            let (_, port) = local.rsplit_once(':')?;
            (state == LISTEN_TEXT).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listening_sockets_are_told_from_connections() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:8D1F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17022 1 0000000000000000 100 0 0 10 0
   1: 0A0013C6:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17045 1 0000000000000000 100 0 0 10 0
   2: 0A0013C6:B2C0 0B0013C6:094C 01 00000000:00000000 02:000004F2 00000000     0        0 17123 2 0000000000000000 20 4 30 10 -1
   3: 0100007F:0016 0100007F:9C40 06 00000000:00000000 03:00000BB8 00000000     0        0 0 3 0000000000000000
";
        assert_eq!(in_table(tcp), [0x8D1F, 2379]);
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17060 1 0000000000000000 100 0 0 10 0
";
        assert_eq!(in_table(tcp6), [22]);
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = four.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(ports(own).contains(&port));
        drop(four);
        assert!(!ports(own).contains(&port));
        assert!(ports(0).is_empty());
    }

    #[test]
    fn an_answer_is_read_message_by_message() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = u32::try_from(HEADER_BYTES + body.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; HEADER_BYTES - 6]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let mut ports = Vec::new();
        let mut piece = message(SOCK_DIAG_BY_FAMILY, &[2, LISTEN, 0, 0, 0x22, 0xB8, 9]);
        piece.extend(message(SOCK_DIAG_BY_FAMILY, &[2, 1, 0, 0, 0, 22]));
        assert_eq!(in_piece(&piece, &mut ports), Ok(false));
        assert_eq!(in_piece(&message(NLMSG_DONE, &[0; 4]), &mut ports), Ok(true));
        assert!(in_piece(&message(NLMSG_ERROR, &[0; 4]), &mut ports).is_err());
        assert!(in_piece(&[255; 20], &mut ports).is_err());
        assert_eq!(ports, [8888]);
    }
}

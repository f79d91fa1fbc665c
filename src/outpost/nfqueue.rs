//! The kernel's queue of packets that wait for a verdict (`NFQUEUE`), as far as a slow link needs it: how long each packet is, and that it
//! passes or doesn't.
//!
//! Messages are those of `linux/netfilter/nfnetlink_queue.h`. When this end is closed, the kernel drops what waits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
};

use super::text;

/// `NFNL_SUBSYS_QUEUE`, as the upper byte of a message's type.
const QUEUE: u16 = 3 << 8;
const MSG_PACKET: u16 = QUEUE;
const MSG_VERDICT: u16 = QUEUE | 1;
const MSG_CONFIG: u16 = QUEUE | 2;
/// `NLMSG_ERROR`: a refusal, or with 0 an acknowledgement.
const MSG_ERROR: u16 = 2;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;

const CONFIG_COMMAND: u16 = 1;
const CONFIG_COPY: u16 = 2;
const CONFIG_LENGTH_MAX: u16 = 3;
const CONFIG_MASK: u16 = 4;
const CONFIG_FLAGS: u16 = 5;
const COMMAND_BIND: u8 = 1;
/// `AF_INET`.
const INET: u8 = 2;
/// `NFQNL_COPY_PACKET`: only then the kernel says how long a packet is.
const COPY_PACKET: u8 = 2;
/// Bytes of each packet that are copied: none of them is looked at.
const COPIED: u32 = 1;
/// `NFQA_CFG_F_GSO`: packets that a network card would cut up later stay whole.
const FLAG_WHOLE: u32 = 4;

const PACKET_HEADER: u16 = 1;
const PACKET_PAYLOAD: u16 = 10;
const PACKET_LENGTH: u16 = 13;
const VERDICT: u16 = 2;
/// Lengths of a message's two headers, and of an attribute's.
const HEADERS: usize = 20;
const ATTRIBUTE: usize = 4;

/// Packets that may wait for their verdict; what comes beyond is dropped.
const WAITING_MAX: u32 = 8_192;
/// Messages that wait to be read.
const BUFFER_BYTES: usize = 4 << 20;
/// The longest datagram of the kernel.
const DATAGRAM_BYTES: usize = 64 << 10;

/// A packet that waits for its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub id: u32,
    pub bytes: usize,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop = 0,
    Pass = 1,
}

/// A queue of this process.
#[derive(Debug)]
pub(super) struct Queue {
    socket: OwnedFd,
    number: u16,
    buffer: Vec<u8>,
    /// Read, and not taken yet.
    taken: VecDeque<Packet>,
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Queue {
    /// Opens the queue of this number.
    ///
    /// # Errors
    /// If the kernel has no queues, doesn't allow it, or the number is somebody else's.
    pub fn open(number: u16) -> Result<Self, String> {
        let fail = |what: &'static str| move |error: Errno| format!("{what}: {}", text(error));
        let kind = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, kind);
        let socket = socket.map_err(fail("no netlink socket for netfilter"))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(fail("can't bind to netlink"))?;
        // A smaller buffer loses packets sooner; the kernel counts it as room, and takes what it allows.
        let _ = setsockopt(&socket, RcvBuf, &BUFFER_BYTES);
        let mut queue = Self { socket, number, buffer: vec![0; DATAGRAM_BYTES], taken: VecDeque::new() };
        queue.configure(&attribute(CONFIG_COMMAND, &[COMMAND_BIND, 0, 0, INET]))?;
        let [a, b, c, d] = COPIED.to_be_bytes();
        queue.configure(&attribute(CONFIG_COPY, &[a, b, c, d, COPY_PACKET]))?;
        queue.configure(&attribute(CONFIG_LENGTH_MAX, &WAITING_MAX.to_be_bytes()))?;
        let whole = FLAG_WHOLE.to_be_bytes();
        queue.configure(&[attribute(CONFIG_FLAGS, &whole), attribute(CONFIG_MASK, &whole)].concat())?;
        Ok(queue)
    }

    fn configure(&mut self, attributes: &[u8]) -> Result<(), String> {
        let refused = |why: String| format!("the kernel's queue of packets (NFQUEUE) can't be used: {why}");
        let asked = message(MSG_CONFIG, FLAG_REQUEST | FLAG_ACK, self.number, attributes);
        send(self.socket.as_raw_fd(), &asked, MsgFlags::empty()).map_err(|error| refused(text(error)))?;
        let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty());
        let length = length.map_err(|error| refused(text(error)))?;
        match outcome(&self.buffer[..length]) {
            Some(0) => Ok(()),
            Some(code) => Err(refused(text(io::Error::from_raw_os_error(code.wrapping_neg())))),
            None => Err(refused("it answered something else".to_owned())),
        }
    }

    /// The next packet, without waiting for one.
    ///
    /// # Errors
    /// If the kernel doesn't say.
    pub fn take(&mut self) -> Result<Option<Packet>, String> {
        while self.taken.is_empty() {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => self.taken.extend(packets(&self.buffer[..length])),
                Err(Errno::EAGAIN) => break,
                // For want of room it has dropped some, and goes on.
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(error) => return Err(text(error)),
            }
        }
        Ok(self.taken.pop_front())
    }

    /// Says what becomes of a packet.
    ///
    /// # Errors
    /// If the kernel doesn't take it.
    pub fn tell(&self, packet: u32, verdict: Verdict) -> Result<(), String> {
        let said = [(verdict as u32).to_be_bytes(), packet.to_be_bytes()].concat();
        let message = message(MSG_VERDICT, FLAG_REQUEST, self.number, &attribute(VERDICT, &said));
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty()).map(drop).map_err(text)
    }
}

/// A message about a queue.
fn message(kind: u16, flags: u16, queue: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).expect("messages of ours are short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and sender: nobody looks at them. Then the family, a version, and the queue.
    bytes.extend([0; 8]);
    bytes.extend([0, 0]);
    bytes.extend(queue.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("attributes of ours are short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The messages of a datagram: kind, and all of the message.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let Some(one) = usize::try_from(length).ok().filter(|length| *length >= 16).and_then(|l| bytes.get(..l)) else {
            break;
        };
        all.push((kind, one));
        bytes = bytes.get(one.len().next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// What the kernel says of a request: 0, or minus an error's number.
fn outcome(datagram: &[u8]) -> Option<i32> {
    let (_, message) = messages(datagram).into_iter().find(|(kind, _)| *kind == MSG_ERROR)?;
    u32_at(message, 16).map(u32::cast_signed)
}

fn packets(datagram: &[u8]) -> Vec<Packet> {
    let all = messages(datagram).into_iter().filter(|(kind, _)| *kind == MSG_PACKET);
    all.filter_map(|(_, message)| packet(message.get(HEADERS..)?)).collect()
}

fn packet(mut attributes: &[u8]) -> Option<Packet> {
    let (mut id, mut bytes) = (None, 0);
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(ATTRIBUTE..length) else {
            break;
        };
        let number = || u32_at(value, 0).map(u32::from_be);
        match kind {
            PACKET_HEADER => id = number(),
            // The whole length is told apart when less is copied.
            PACKET_PAYLOAD => bytes = bytes.max(value.len()),
            PACKET_LENGTH => bytes = usize::try_from(number()?).ok()?,
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Packet { id: id?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_its_queue_and_its_packet() {
        let said = attribute(VERDICT, &[1u32.to_be_bytes(), 7u32.to_be_bytes()].concat());
        let bytes = message(MSG_VERDICT, FLAG_REQUEST, 0x0102, &said);
        let expected = [0, 0, 1, 2, 12, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 7];
        assert_eq!(bytes.len(), 32);
        assert_eq!(u32_at(&bytes, 0), Some(32));
        if cfg!(target_endian = "little") {
            assert_eq!(bytes[16..], expected);
        }
    }

    #[test]
    fn packets_are_read_with_their_lengths_whatever_else_stands_there() {
        let header = |id: u32| attribute(PACKET_HEADER, &[&id.to_be_bytes()[..], &[8, 0, 4]].concat());
        let first = [header(7), attribute(3, &[0; 4]), attribute(PACKET_LENGTH, &1_500u32.to_be_bytes())].concat();
        let second = [header(8), attribute(PACKET_PAYLOAD, &[69])].concat();
        let datagram = [message(MSG_PACKET, 0, 1, &first), message(MSG_PACKET, 0, 1, &second)].concat();
        assert_eq!(packets(&datagram), [Packet { id: 7, bytes: 1_500 }, Packet { id: 8, bytes: 1 }]);
        assert_eq!(outcome(&datagram), None);
    }

    #[test]
    fn a_refusal_is_told_from_an_acknowledgement() {
        let answer = |code: i32| {
            let mut bytes = message(MSG_ERROR, 0, 0, &[0; 16]);
            bytes.splice(16..20, code.to_ne_bytes());
            outcome(&bytes)
        };
        assert_eq!((answer(0), answer(-1)), (Some(0), Some(-1)));
    }

    #[test]
    fn nonsense_is_no_packet_and_no_panic() {
        assert_eq!(packets(&[0; 64]), []);
        assert_eq!(packets(&[255; 64]), []);
        let cut_off = &message(MSG_PACKET, 0, 1, &attribute(PACKET_HEADER, &[0, 0, 0, 1, 8, 0, 4]))[..24];
        assert_eq!(packets(cut_off), []);
        assert_eq!(packet(&[2, 0, 1, 0]), None);
    }
}

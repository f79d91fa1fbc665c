//! The machines next to this one, and their network cards: a packet bears the card of the machine that sent it last, whoever it is from.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// The kernel's table of neighbours.
const TABLE: &str = "/proc/net/arp";
/// A neighbour that lives answers within a millisecond.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the table.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Any packet makes the kernel ask whose address it is; nobody listens there ("discard").
const DISCARD: u16 = 9;
/// No card has this address. A rule about it shows that the kernel can match cards at all.
pub(super) const NOBODY: &str = "00:00:00:00:00:00";

/// The cards of these neighbours, in order.
///
/// # Errors
/// If one of them doesn't answer in time, or is no neighbour.
pub(super) fn cards(of: &[Ipv4Addr]) -> Result<Vec<String>, String> {
    let end = Instant::now() + ANSWER_MAX;
    for address in of {
        ask(*address)?;
    }
    loop {
        let table = std::fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
        let found: Vec<Option<String>> = of.iter().map(|address| card(&table, *address)).collect();
        let Some(missing) = found.iter().position(Option::is_none) else {
            return Ok(found.into_iter().flatten().collect());
        };
        if Instant::now() >= end {
            let (address, waited) = (of[missing], ANSWER_MAX.as_secs());
            return Err(format!(
                "{address} didn't tell its network card within {waited} s: is it up, and on this machine's network?"
            ));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn ask(address: Ipv4Addr) -> Result<(), String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| format!("no socket: {error}"))?;
    // One that is refused, or dropped on its way out, has made the kernel ask as well; whether it did shows in the table.
    let _ = socket.send_to(&[0], (address, DISCARD));
    Ok(())
}

/// The card of an address in the kernel's table; none if it is asked for and hasn't answered yet.
fn card(table: &str, of: Ipv4Addr) -> Option<String> {
    let mut rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find_map(|row| match row.as_slice() {
        [address, _, _, card, ..] if *address == of.to_string() && *card != NOBODY => Some((*card).to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_those_that_have_answered() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
198.18.0.22      0x1         0x2         02:42:c6:12:00:16     *        eth0
198.18.0.23      0x1         0x0         00:00:00:00:00:00     *        eth0
";
        let of = |last| card(table, Ipv4Addr::new(198, 18, 0, last));
        assert_eq!(of(22).as_deref(), Some("02:42:c6:12:00:16"));
        assert_eq!(of(23), None, "it has been asked for and didn't answer");
        assert_eq!(of(2), None);
        assert_eq!(cards(&[]), Ok(vec![]));
    }
}

//! `stop`: SIGTERM, and time to end in order: leadership is handed over, sessions are closed, leases are given back. From then on
//! as after a `kill`.

use stormbed::outpost::protocol::Act;
use stormbed::supervisor::core::Signal;

use super::place::Place;
use super::work::{Deed, Work};
use super::{Victim, kill};

/// What stops one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Result<Work, String> {
    match victim.class.place() {
        Place::Container => Ok(Work::outside(victim, Deed::Stop)),
        Place::Node => Ok(Work::at_victim(fault, victim, Act::StopContainer { container: victim.container.clone() })),
        _ => kill::process(fault, victim, Signal::Term),
    }
}

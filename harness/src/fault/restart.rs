//! `restart`: SIGKILL, and an immediate start with the same data. Nothing is held: there is no undo.
//!
//! Not for nodes and their programs: they are started again by the system itself, and `kill` is the fault.

use stormbed::outpost::protocol::Act;

use super::Victim;
use super::place::Place;
use super::work::{Deed, Work};

/// What restarts one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Result<Work, String> {
    match victim.class.place() {
        // Only another process 1 shows that it was started again.
        Place::Container => victim.process().map(|_| Work::outside(victim, Deed::Restart)),
        Place::Part(part) => Ok(Work::at_victim(fault, victim, Act::RestartPart { part: part.to_owned() })),
        Place::Brick => Ok(Work::at_victim(fault, victim, Act::RestartBrick { process: victim.process()? })),
        Place::Node | Place::InNode(_) => Err(format!("{} is started again by the system: kill it", victim.name)),
    }
}

//! `pause`: every process of a container, or one process, freezes where it is; its connections stay open and silent. Undone by
//! letting it go on.

use stormbed::outpost::protocol::Act;

use super::Victim;
use super::place::Place;
use super::work::{Deed, Work};

/// What freezes one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Result<Work, String> {
    let act = match victim.class.place() {
        Place::Container => return Ok(Work::outside(victim, Deed::Pause)),
        Place::Node => Act::PauseContainer { container: victim.container.clone() },
        Place::Part(_) | Place::Brick | Place::InNode(_) => Act::FreezeProcess { process: victim.process()? },
    };
    Ok(Work::at_victim(fault, victim, act))
}

//! `kill`: SIGKILL, at once. What the system promises to heal it brings back itself; everything else stays down while the fault is
//! held and is started again, with its data, at undo.

use stormbed::outpost::protocol::Act;
use stormbed::supervisor::core::Signal;

use super::Victim;
use super::place::Place;
use super::work::{Deed, Work};

/// What kills one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Result<Work, String> {
    match victim.class.place() {
        Place::Container => Ok(Work::outside(victim, Deed::Kill)),
        Place::Node => Ok(Work::at_victim(fault, victim, Act::KillContainer { container: victim.container.clone() })),
        _ => process(fault, victim, Signal::Kill),
    }
}

/// What ends one victim that is a process.
pub(super) fn process(fault: &str, victim: &Victim, signal: Signal) -> Result<Work, String> {
    let act = match victim.class.place() {
        Place::Part(part) => Act::DownPart { part: part.to_owned(), signal },
        Place::Brick => Act::DownBrick { process: victim.process()?, signal },
        Place::InNode(_) => Act::EndProcess { process: victim.process()?, signal },
        Place::Container | Place::Node => return Err(format!("{} is no process of its own", victim.name)),
    };
    Ok(Work::at_victim(fault, victim, act))
}

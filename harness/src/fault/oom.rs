//! `oom`: the kernel ends the processes for want of memory. What becomes of them then is as after a kill.
//!
//! The outpost takes what is left of the memory of the node's control group, and has the kernel choose the victim.

use stormbed::outpost::protocol::Act;

use super::Victim;
use super::place::Place;
use super::work::Work;

/// What ends one victim.
pub(super) fn work(fault: &str, victim: &Victim) -> Result<Work, String> {
    let process = match victim.class.place() {
        Place::Node => None,
        Place::InNode(_) => Some(victim.process()?),
        _ => return Err(format!("the memory of {} is not limited", victim.name)),
    };
    Ok(Work::at_victim(fault, victim, Act::OutOfMemory { container: victim.container.clone(), process }))
}

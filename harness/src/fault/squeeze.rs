//! `squeeze`: a node gets little of what it lives on: processor time or memory. Undone by setting its limits back to what they were.
//!
//! The outpost sets the limits of the node's control group, and sees that the node runs into them: its processes wait for the
//! processor, or are refused memory (and, where nothing can be freed, one of them is killed).

use stormbed::outpost::protocol::Act;
use stormbed::outpost::squeeze::Squeeze;

use super::work::Work;
use super::{Amount, Means, Victim};

/// What squeezes one node.
pub(super) fn work(fault: &str, victim: &Victim, what: Means, to: Amount) -> Result<Work, String> {
    let squeeze = match (what, to) {
        (Means::Cpu, Amount::Percent(percent)) => Squeeze::Cpu { percent },
        (Means::Memory, Amount::Mebibytes(mebibytes)) => Squeeze::Memory { bytes: u64::from(mebibytes) << 20 },
        (Means::Cpu | Means::Memory, _) => return Err(format!("{to} is no amount of {what:?}")),
    };
    Ok(Work::at_victim(fault, victim, Act::Squeeze { container: victim.container.clone(), squeeze }))
}

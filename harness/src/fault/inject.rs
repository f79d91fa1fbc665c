//! Making faults and undoing them: nodes through the outpost of their host, everything else through the outer engine.

use std::time::Duration;

use stormbed::outpost::protocol::{Act, Call, Reply};

use super::{Fault, FaultKind, TargetClass, Victim};
use crate::observe::fast::bounded;
use crate::observe::machines::Verb;
use crate::observe::world::World;

/// An engine takes 0.1 s for any of these on an idle machine, and seconds when the machine is full.
const ACT_MAX: Duration = Duration::from_secs(10);

/// Whether somebody must end this fault, or the system itself heals it.
#[must_use]
pub fn is_undone_by_us(fault: &Fault) -> bool {
    !matches!((fault.target.class, fault.kind), (TargetClass::Node, FaultKind::Kill))
}

/// Makes the fault. `name` is unique in the run. Returns once engine or kernel have acknowledged it.
///
/// # Errors
/// If it isn't acknowledged. It may have taken place all the same: undo is owed.
pub async fn inject(world: &World, name: &str, fault: &Fault) -> Result<(), String> {
    let victim = fault.victim.as_ref().ok_or("the fault has no victim")?;
    match &victim.host {
        Some(host) => {
            let call = Call::Inject { fault: name.to_owned(), act: act(fault.kind, victim) };
            at_host(world, host, call).await
        }
        None => {
            let verb = match fault.kind {
                FaultKind::Kill => Verb::Kill,
                FaultKind::Pause => Verb::Pause,
            };
            outside(world, victim, verb).await
        }
    }
}

/// Undoes the fault.
///
/// # Errors
/// If that isn't acknowledged.
pub async fn undo(world: &World, name: &str, fault: &Fault) -> Result<(), String> {
    let victim = fault.victim.as_ref().ok_or("the fault has no victim")?;
    match (&victim.host, fault.kind) {
        (Some(_), FaultKind::Kill) => Ok(()),
        (Some(host), FaultKind::Pause) => {
            let call = Call::Undo { fault: name.to_owned(), act: act(fault.kind, victim) };
            at_host(world, host, call).await
        }
        (None, FaultKind::Kill) => outside(world, victim, Verb::Start).await,
        (None, FaultKind::Pause) => outside(world, victim, Verb::Unpause).await,
    }
}

/// What the victim's outpost does.
fn act(kind: FaultKind, victim: &Victim) -> Act {
    let container = victim.container.clone();
    match kind {
        FaultKind::Kill => Act::KillContainer { container },
        FaultKind::Pause => Act::PauseContainer { container },
    }
}

async fn at_host(world: &World, host: &str, call: Call) -> Result<(), String> {
    let outpost = world.outposts.get(host);
    let probe = world.call(outpost, call, ACT_MAX, |reply| (reply == Reply::Done).then_some(()));
    probe.await.result
}

async fn outside(world: &World, victim: &Victim, verb: Verb) -> Result<(), String> {
    let act = world.machines.act(&victim.container, verb);
    bounded(world.clock, ACT_MAX, act).await.result
}

//! Making faults and undoing them: nodes through the outpost of their host, everything else through the outer engine.

use std::time::Duration;

use stormbed::outpost::protocol::{Act, Call, ContainerState, Reply};
use tokio::time::timeout;

use super::{Fault, FaultKind, TargetClass, Victim};
use crate::observe::fast::bounded;
use crate::observe::machines::{Machines, Verb};
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
        (None, kind) => end_outside(&*world.machines, &victim.container, kind).await,
    }
}

/// Ends what a fault did to one of the topology's own containers. What is over already, by whomever, is no error.
///
/// # Errors
/// If the engine doesn't do it, and doesn't say either that it is over.
pub(super) async fn end_outside(machines: &dyn Machines, container: &str, kind: FaultKind) -> Result<(), String> {
    let verb = match kind {
        FaultKind::Kill => Verb::Start,
        FaultKind::Pause => Verb::Unpause,
    };
    let late = |_| Err(format!("the engine did not do it within {} s", ACT_MAX.as_secs()));
    let Err(why) = timeout(ACT_MAX, machines.act(container, verb)).await.unwrap_or_else(late) else {
        return Ok(());
    };
    let Ok(Ok(parts)) = timeout(ACT_MAX, machines.parts()).await else {
        return Err(why);
    };
    let state = parts.values().find(|part| part.id == container).map(|part| part.state);
    if is_over(kind, state) { Ok(()) } else { Err(why) }
}

/// A container in this state (none: it is gone) shows nothing of the fault any more.
fn is_over(kind: FaultKind, state: Option<ContainerState>) -> bool {
    match (kind, state) {
        (_, None) => true,
        (FaultKind::Kill, Some(state)) => state == ContainerState::Running,
        (FaultKind::Pause, Some(state)) => state != ContainerState::Paused,
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

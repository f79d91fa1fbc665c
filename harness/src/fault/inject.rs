//! Making faults and undoing them: which fault it is, over all its victims.

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use stormbed::outpost::protocol::{Act, Call, ContainerState, Reply};
use tokio::time::timeout;

use super::journal::Owed;
use super::{Fault, FaultKind, Victim, isolate, kill, partition, pause};
use crate::observe::fast::bounded;
use crate::observe::machines::{Machines, Verb};
use crate::observe::world::World;
use crate::scenario::physics::is_held;

/// An engine takes 0.1 s for any of these on an idle machine, and seconds when the machine is full.
const ACT_MAX: Duration = Duration::from_secs(10);
/// Starting a host ends when its secrets lie in its memory: its engine must have started the container's first process.
const START_MAX: Duration = Duration::from_secs(30);

/// Whether somebody must end this fault, or the system itself heals it.
#[must_use]
pub fn is_undone_by_us(fault: &Fault) -> bool {
    is_held(fault.kind, fault.target.class)
}

/// Asks the machines whether they can do such a fault at all.
///
/// # Errors
/// What is missing.
pub async fn available(world: &World, kind: FaultKind) -> Result<(), String> {
    match kind {
        // Every engine can.
        FaultKind::Kill | FaultKind::Pause => Ok(()),
        FaultKind::Isolate { .. } | FaultKind::Partition => isolate::available(world).await,
    }
}

/// Makes the fault. Returns once engines, supervisors or kernels have acknowledged all of it.
///
/// # Errors
/// If it isn't acknowledged. It may have taken place all the same: undo is owed.
pub async fn inject(world: &World, fault: &Fault) -> Result<(), String> {
    match fault.kind {
        FaultKind::Kill => each(fault, |victim| kill::inject(world, &fault.name, victim)).await,
        FaultKind::Pause => each(fault, |victim| pause::inject(world, &fault.name, victim)).await,
        FaultKind::Isolate { from } => each(fault, |victim| isolate::inject(world, &fault.name, victim, from)).await,
        FaultKind::Partition => partition::inject(world, fault).await,
    }
}

/// Undoes the fault.
///
/// # Errors
/// If that isn't acknowledged.
pub async fn undo(world: &World, fault: &Fault) -> Result<(), String> {
    match fault.kind {
        FaultKind::Kill => each(fault, |victim| kill::undo(world, &fault.name, victim)).await,
        FaultKind::Pause => each(fault, |victim| pause::undo(world, &fault.name, victim)).await,
        FaultKind::Isolate { from } => each(fault, |victim| isolate::undo(world, &fault.name, victim, from)).await,
        FaultKind::Partition => partition::undo(world, fault).await,
    }
}

/// The same to every victim, at the same time; all of it is tried, whatever fails.
async fn each<'a>(
    fault: &'a Fault,
    act: impl Fn(&'a Victim) -> BoxFuture<'a, Result<(), String>>,
) -> Result<(), String> {
    if fault.victims.is_empty() {
        return Err("the fault has no victim".to_owned());
    }
    all(join_all(fault.victims.iter().map(act)).await)
}

/// Everything was done, or what wasn't.
pub(super) fn all(done: Vec<Result<(), String>>) -> Result<(), String> {
    let failed: Vec<String> = done.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Lets a machine's outpost do an act and hold it.
pub(super) async fn hold_at(world: &World, machine: &str, name: String, act: Act) -> Result<(), String> {
    at(world, machine, Call::Inject { fault: name, act }).await
}

/// Lets a machine's outpost undo an act, whether it or one before it made that.
pub(super) async fn let_go_at(world: &World, machine: &str, name: String, act: Act) -> Result<(), String> {
    at(world, machine, Call::Undo { fault: name, act }).await
}

async fn at(world: &World, machine: &str, call: Call) -> Result<(), String> {
    let outpost = world.outposts.get(machine);
    let probe = world.call(outpost, call, ACT_MAX, |reply| (reply == Reply::Done).then_some(()));
    probe.await.result.map_err(|why| format!("{machine}: {why}"))
}

/// Does something to one of the topology's own containers.
pub(super) async fn outside(world: &World, victim: &Victim, verb: Verb) -> Result<(), String> {
    let act = world.machines.act(&victim.container, verb);
    bounded(world.clock, ACT_MAX, act).await.result.map_err(|why| format!("{}: {why}", victim.name))
}

/// Ends what was done to one of the topology's own containers. What is over already, by whomever, is no error.
///
/// # Errors
/// If the engine doesn't do it, and doesn't say either that it is over.
pub(super) async fn end_outside(machines: &dyn Machines, container: &str, owed: Owed) -> Result<(), String> {
    let (verb, bound) = match owed {
        Owed::Kill => (Verb::Start, START_MAX),
        Owed::Pause => (Verb::Unpause, ACT_MAX),
    };
    let late = |_| Err(format!("the engine did not do it within {} s", bound.as_secs()));
    let Err(why) = timeout(bound, machines.act(container, verb)).await.unwrap_or_else(late) else {
        return Ok(());
    };
    let Ok(Ok(parts)) = timeout(ACT_MAX, machines.parts()).await else {
        return Err(why);
    };
    let state = parts.values().find(|part| part.id == container).map(|part| part.state);
    if is_over(owed, state) { Ok(()) } else { Err(why) }
}

/// A container in this state (none: it is gone) shows nothing of the fault any more.
fn is_over(owed: Owed, state: Option<ContainerState>) -> bool {
    match (owed, state) {
        (_, None) => true,
        (Owed::Kill, Some(state)) => state == ContainerState::Running,
        (Owed::Pause, Some(state)) => state != ContainerState::Paused,
    }
}

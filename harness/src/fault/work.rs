//! What a fault comes to on one machine: something that the outer engine does to a container, or an act that an outpost makes and
//! holds. A fault's own file says which, as data; here it is carried out and undone.

use std::time::Duration;

use stormbed::outpost::protocol::{Act, Call, ContainerState, Reply};
use tokio::time::timeout;

use super::Victim;
use crate::observe::fast::bounded;
use crate::observe::machines::{Machines, Verb};
use crate::observe::world::World;

/// An engine takes 0.1 s for any of these on an idle machine, and seconds when the machine is full. What is told to stop has 8 s.
const ACT_MAX: Duration = Duration::from_secs(12);
/// Starting a host ends when its secrets lie in its memory: its engine must have started the container's first process.
const START_MAX: Duration = Duration::from_secs(30);

/// One act, and all that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Something that the outer engine does to one of the topology's own containers.
    Outside {
        /// The part's name, for messages.
        name: String,
        /// Its container's id.
        container: String,
        /// What is done.
        deed: Deed,
    },
    /// Something that a machine's outpost does, and holds until it is told otherwise, or its lease or its stream ends.
    At {
        /// The machine.
        machine: String,
        /// The outpost's name for it: two victims of one fault may be on one machine.
        held: String,
        /// What is done.
        act: Act,
    },
}

/// What the outer engine does to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL to its process 1; it stays down.
    Kill,
    /// SIGTERM to its process 1, and time to end; it stays down.
    Stop,
    /// SIGKILL to its process 1, and it is started again.
    Restart,
    /// Freezes all its processes.
    Pause,
}

/// What undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owed {
    /// The container must be started again.
    Start,
    /// It must be thawed.
    Thaw,
}

impl Deed {
    /// What the engine owes for it.
    #[must_use]
    pub fn owes(self) -> Owed {
        match self {
            Self::Kill | Self::Stop | Self::Restart => Owed::Start,
            Self::Pause => Owed::Thaw,
        }
    }
}

impl Work {
    /// The outer engine does this to the victim's own container.
    pub(super) fn outside(victim: &Victim, deed: Deed) -> Self {
        Self::Outside { name: victim.name.clone(), container: victim.container.clone(), deed }
    }

    /// The outpost that sees the victim does this to it.
    pub(super) fn at_victim(fault: &str, victim: &Victim, act: Act) -> Self {
        Self::at(victim.machine(), fault, victim, act)
    }

    /// It has an undo, or may have been done by half.
    pub(super) fn has_undo(&self) -> bool {
        match self {
            Self::Outside { .. } => true,
            Self::At { act, .. } => act.has_undo(),
        }
    }

    /// This machine's outpost does this because of the victim.
    pub(super) fn at(machine: &str, fault: &str, victim: &Victim, act: Act) -> Self {
        Self::At { machine: machine.to_owned(), held: held(fault, victim), act }
    }

    /// Does it; an outpost holds it for as long as its lease lasts.
    pub(super) async fn make(&self, world: &World, lease: Duration) -> Result<(), String> {
        match self {
            Self::Outside { name, container, deed } => {
                let verb = match deed {
                    Deed::Kill | Deed::Restart => Verb::Kill,
                    Deed::Stop => Verb::Stop,
                    Deed::Pause => Verb::Pause,
                };
                let act = world.machines.act(container, verb);
                let done = bounded(world.clock, ACT_MAX, act).await.result;
                done.map_err(|why| format!("{name}: {why}"))?;
                match deed {
                    Deed::Restart => self.unmake(world).await,
                    Deed::Kill | Deed::Stop | Deed::Pause => Ok(()),
                }
            }
            Self::At { machine, held, act } => {
                let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
                at(world, machine, Call::Inject { fault: held.clone(), act: act.clone(), lease_ms }).await
            }
        }
    }

    /// Undoes it, whoever has made it. What is over already is no error.
    pub(super) async fn unmake(&self, world: &World) -> Result<(), String> {
        match self {
            Self::Outside { name, container, deed } => {
                let paid = pay(&*world.machines, container, deed.owes()).await;
                paid.map_err(|why| format!("{name}: {why}"))
            }
            Self::At { machine, held, act } => {
                at(world, machine, Call::Undo { fault: held.clone(), act: act.clone() }).await
            }
        }
    }
}

/// An outpost's name for what a fault does to one victim.
pub(super) fn held(fault: &str, victim: &Victim) -> String {
    format!("{fault} {}", victim.name)
}

async fn at(world: &World, machine: &str, call: Call) -> Result<(), String> {
    let outpost = world.outposts.get(machine);
    let probe = world.call(outpost, call, ACT_MAX, |reply| (reply == Reply::Done).then_some(()));
    probe.await.result.map_err(|why| format!("{machine}: {why}"))
}

/// Ends what was done to one of the topology's own containers. What is over already, by whomever, is no error.
///
/// # Errors
/// If the engine doesn't do it, and doesn't say either that it is over.
pub async fn pay(machines: &dyn Machines, container: &str, owed: Owed) -> Result<(), String> {
    let (verb, bound) = match owed {
        Owed::Start => (Verb::Start, START_MAX),
        Owed::Thaw => (Verb::Unpause, ACT_MAX),
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
        (Owed::Start, Some(state)) => state == ContainerState::Running,
        (Owed::Thaw, Some(state)) => state != ContainerState::Paused,
    }
}

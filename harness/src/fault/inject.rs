//! Making faults and undoing them: which fault it is, over all its victims.

use std::time::Duration;

use futures_util::future::join_all;

use super::work::Work;
use super::{
    Fault, FaultKind, TargetClass, blackout, disk_full, isolate, kill, loss, oom, partition, pause, restart, slow_link,
    squeeze, stop, tamper,
};
use crate::observe::observation::Shape;
use crate::observe::world::World;
use crate::scenario::physics::is_held;

/// Whether somebody must end this fault, or the system itself heals it.
#[must_use]
pub fn is_undone_by_us(fault: &Fault) -> bool {
    is_held(fault.kind, fault.target.class)
}

/// Asks the machines whether they can do such a fault to parts of this kind at all.
///
/// # Errors
/// What is missing.
pub async fn available(world: &World, kind: FaultKind, class: TargetClass) -> Result<(), String> {
    match kind {
        // Every engine and every kernel can.
        FaultKind::Kill
        | FaultKind::Stop
        | FaultKind::Restart
        | FaultKind::Pause
        | FaultKind::Tamper { .. }
        | FaultKind::DiskFull
        | FaultKind::Oom
        | FaultKind::Blackout => Ok(()),
        FaultKind::Isolate { .. } => isolate::available(world).await,
        FaultKind::Partition { .. } => partition::available(world, class).await,
        FaultKind::Loss { .. } => loss::available(world).await,
        FaultKind::SlowLink { .. } => slow_link::available(world).await,
        FaultKind::Squeeze { what } => squeeze::available(world, what, class).await,
    }
}

/// All that is done to make the fault.
///
/// # Errors
/// If its victims don't fit it.
pub fn works(shape: &Shape, fault: &Fault) -> Result<Vec<Work>, String> {
    if fault.victims.is_empty() {
        return Err("the fault has no victim".to_owned());
    }
    let name = &fault.name;
    let victims = fault.victims.iter();
    match fault.kind {
        FaultKind::Kill => victims.map(|victim| kill::work(name, victim)).collect(),
        FaultKind::Stop => victims.map(|victim| stop::work(name, victim)).collect(),
        FaultKind::Restart => victims.map(|victim| restart::work(name, victim)).collect(),
        FaultKind::Pause => victims.map(|victim| pause::work(name, victim)).collect(),
        FaultKind::Isolate { from, way } => {
            let works = victims.map(|victim| isolate::works(shape, name, victim, from, way));
            Ok(works.collect::<Result<Vec<_>, _>>()?.concat())
        }
        FaultKind::Loss { from, way, percent } => {
            let works = victims.map(|victim| loss::works(shape, name, victim, (from, way), percent));
            Ok(works.collect::<Result<Vec<_>, _>>()?.concat())
        }
        FaultKind::SlowLink { from, link } => {
            let works = victims.map(|victim| slow_link::works(shape, name, victim, from, link));
            Ok(works.collect::<Result<Vec<_>, _>>()?.concat())
        }
        FaultKind::Partition { shape: split } => partition::works(shape, fault, split),
        FaultKind::Tamper { what } => victims.map(|victim| tamper::work(shape, name, victim, what)).collect(),
        FaultKind::Squeeze { what } => victims.map(|victim| squeeze::work(name, victim, what)).collect(),
        FaultKind::Oom => victims.map(|victim| oom::work(name, victim)).collect(),
        FaultKind::DiskFull => Ok(victims.map(|victim| disk_full::work(name, victim)).collect()),
        FaultKind::Blackout => Ok(victims.map(blackout::work).collect()),
    }
}

/// Makes the fault. Returns once engines, supervisors or kernels have acknowledged all of it. What an outpost does it undoes by
/// itself when the lease is over.
///
/// # Errors
/// If it isn't acknowledged. It may have taken place all the same: undo is owed.
pub async fn inject(world: &World, fault: &Fault, lease: Duration) -> Result<(), String> {
    let works = works(&world.shape, fault)?;
    all(join_all(works.iter().map(|work| work.make(world, lease))).await)
}

/// Undoes the fault.
///
/// # Errors
/// If that isn't acknowledged.
pub async fn undo(world: &World, fault: &Fault) -> Result<(), String> {
    let works = works(&world.shape, fault)?;
    all(join_all(works.iter().filter(|work| work.has_undo()).map(|work| work.unmake(world))).await)
}

/// Everything was done, or what wasn't.
pub(super) fn all(done: Vec<Result<(), String>>) -> Result<(), String> {
    let failed: Vec<String> = done.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

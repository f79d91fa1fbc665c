//! `squeeze`: there is little of what a part lives on, or it is bad: processor time, or a disk that keeps what it is told to keep.
//!
//! The outpost limits the node's control group, and sees that the node runs into that; or it has the program's syncs wait or fail,
//! and sees one of them do so.

use std::time::Duration;

use futures_util::future::join_all;
use stormbed::outpost::protocol::{Act, Call, Reply};
use stormbed::outpost::syncs::{Program, Syncs};

use super::inject::all;
use super::place::Place;
use super::work::Work;
use super::{Means, TargetClass, Victim};
use crate::observe::world::World;

/// Traces process 1 of a machine for a moment, and does nothing to it.
const TRIAL: [&str; 8] = ["timeout", "0.3", "strace", "-qq", "-e", "trace=none", "-p", "1"];
/// `timeout`'s exit code for what didn't end by itself.
const TIMED_OUT: i32 = 124;
/// Far longer than the trial.
const TRIAL_MAX: Duration = Duration::from_secs(8);

/// A bad disk needs a tracer, and the right to trace.
pub(super) async fn available(world: &World, what: Means, class: TargetClass) -> Result<(), String> {
    let machines = match (what, class) {
        // Every kernel with control groups can, and there are no containers without those.
        (Means::Cpu { .. }, _) => return Ok(()),
        (_, TargetClass::ZooKeeper) => &world.shape.zookeepers,
        _ => &world.shape.hosts,
    };
    let trials = machines.iter().map(|machine| async move {
        let words = TRIAL.map(str::to_owned).to_vec();
        let within_ms = u64::try_from(TRIAL_MAX.as_millis()).unwrap_or(u64::MAX);
        let call = Call::Run { container: None, words, within_ms };
        let ran = |reply| if let Reply::Ran(ran) = reply { Some(ran) } else { None };
        let ran = world.call(world.outposts.get(machine), call, TRIAL_MAX, ran).await.result;
        match ran {
            Ok(ran) if ran.code == TIMED_OUT => Ok(()),
            Ok(ran) => Err(ran.errors.trim().to_owned()),
            Err(why) => Err(why),
        }
        .map_err(|why| format!("{machine} can't trace a process (strace, ptrace): {why}"))
    });
    all(join_all(trials).await)
}

/// What squeezes one victim.
pub(super) fn work(fault: &str, victim: &Victim, what: Means) -> Result<Work, String> {
    let container = victim.container.clone();
    let act = match what {
        Means::Cpu { percent } => Act::SlowCpu { container, percent },
        Means::Disk { delay_ms } => Act::BadDisk { program: program(victim)?, syncs: Syncs::Late { delay_ms } },
        Means::Fsync => Act::BadDisk { program: program(victim)?, syncs: Syncs::Failing },
    };
    Ok(Work::at_victim(fault, victim, act))
}

/// The program whose disk it is.
fn program(victim: &Victim) -> Result<Program, String> {
    match victim.class.place() {
        Place::Container => Ok(Program::Init),
        Place::Brick => Ok(Program::Brick),
        Place::InNode(program) => {
            Ok(Program::InNode { container: victim.container.clone(), program: program.to_owned() })
        }
        Place::Node | Place::Part(_) => Err(format!("{} has no disk of its own", victim.name)),
    }
}

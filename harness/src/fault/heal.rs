//! Mending what a run that died has broken: its journal is replayed, and outposts sweep their machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use stormbed::outpost::protocol::{Call, Reply};

use super::journal::{Debt, JOURNAL, Journal, JournalError, unsettled};
use super::work::{Owed, pay};
use crate::observe::machines::Machines;
use crate::observe::outpost::Outpost;

/// Paying takes seconds; whoever else is at it is done by then.
const LOCKED_MAX: Duration = Duration::from_secs(90);
/// Between two looks whether the other one is done.
const LOCKED_AGAIN: Duration = Duration::from_millis(50);
/// Sweeping a machine is a handful of short commands.
const SWEEP_MAX: Duration = Duration::from_secs(20);

/// A topology that still shows the faults of a run that died.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Debts that could not be paid.
    #[error(
        "what a run before has broken can't be mended: {0}; try again (`stormbed heal`), or remove the topology with `stormbed down`"
    )]
    Owed(String),
}

/// Pays the debts in a topology's journal that `due` picks. Returns what it did, one sentence each. One process pays at a time.
///
/// # Errors
/// If the journal exists and can't be read or written, or a debt can't be paid: that one is still owed then.
pub async fn heal(
    folder: &Path,
    machines: &dyn Machines,
    due: impl Fn(&Debt) -> bool,
) -> Result<Vec<String>, HealError> {
    let path = folder.join(JOURNAL);
    if !owes(folder, &due)? {
        return Ok(Vec::new());
    }
    let _lock = locked(&path).await?;
    let text = std::fs::read_to_string(&path).map_err(JournalError::file(&path))?;
    let mut journal = Journal::open(folder, "", None)?;
    let (mut told, mut owed) = (Vec::new(), Vec::new());
    let (mut paid, mut unpaid) = (BTreeSet::new(), BTreeSet::new());
    let debts: Vec<Debt> = unsettled(&text).into_iter().filter(due).collect();
    let payments = debts.iter().map(|debt| pay(machines, &debt.container, debt.owed));
    for (debt, payment) in debts.iter().zip(join_all(payments).await) {
        let did = match debt.owed {
            Owed::Start => "started",
            Owed::Thaw => "thawed",
        };
        let fault = (debt.run.clone(), debt.fault.clone());
        match payment {
            Ok(()) => {
                told.push(format!("{did} {} (fault {} of run {})", debt.name, debt.fault, debt.run));
                paid.insert(fault);
            }
            Err(why) => {
                owed.push(format!("{} is not {did} (fault {} of run {}): {why}", debt.name, debt.fault, debt.run));
                unpaid.insert(fault);
            }
        }
    }
    // A fault with several victims is settled when the last of them is mended.
    for (run, fault) in paid.difference(&unpaid) {
        journal.settle_of(run, fault)?;
    }
    if owed.is_empty() { Ok(told) } else { Err(HealError::Owed(owed.join("; "))) }
}

/// Whether the journal in a folder has such debts.
///
/// # Errors
/// If it exists and can't be read.
pub fn owes(folder: &Path, due: impl Fn(&Debt) -> bool) -> Result<bool, JournalError> {
    let path = folder.join(JOURNAL);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(unsettled(&text).iter().any(due)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(JournalError::file(&path)(error)),
    }
}

/// Lets every outpost undo what one before it has left. Returns what that was, one sentence each.
///
/// # Errors
/// What can't be undone, or where nobody could look.
pub async fn sweep(outposts: &BTreeMap<String, Outpost>) -> Result<Vec<String>, HealError> {
    let swept = outposts.iter().map(|(machine, outpost)| async move {
        let probe = outpost.call(Call::Sweep, SWEEP_MAX).await;
        match probe.result {
            Ok(Reply::Swept(found)) => Ok(found.into_iter().map(|what| format!("{machine}: {what}")).collect()),
            Ok(other) => Err(format!("{machine}: expected what it swept, found {other:?}")),
            Err(why) => Err(format!("{machine}: {why}")),
        }
    });
    let (mut told, mut failed) = (Vec::new(), Vec::new());
    for result in join_all(swept).await {
        match result {
            Ok::<Vec<String>, String>(found) => told.extend(found),
            Err(why) => failed.push(why),
        }
    }
    if failed.is_empty() { Ok(told) } else { Err(HealError::Owed(failed.join("; "))) }
}

/// Keeps other processes from paying the same debts at the same time.
async fn locked(path: &Path) -> Result<Flock<std::fs::File>, JournalError> {
    let begin = tokio::time::Instant::now();
    let mut file = OpenOptions::new().append(true).open(path).map_err(JournalError::file(path))?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) if begin.elapsed() < LOCKED_MAX => file = back,
            Err((_, errno)) => return Err(JournalError::file(path)(errno.into())),
        }
        tokio::time::sleep(LOCKED_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::protocol::ContainerState;

    use super::super::inject::works;
    use super::super::{Fault, FaultKind, Role, Target, TargetClass, fixture};
    use super::*;
    use crate::observe::fake::FakeMachines;
    use crate::runner::playing::nowhere;

    /// An engine that brings nothing back, with one container in this state.
    fn stubborn(state: Option<ContainerState>) -> FakeMachines {
        let parts: Vec<_> = state.map(|state| ("zk-1", state)).into_iter().collect();
        FakeMachines::of(&parts).refusing(usize::MAX)
    }

    /// A folder whose journal owes the undo of this fault of `zk-1`.
    fn owing(kind: FaultKind) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(folder.path(), "r", None).expect("it can be created");
        let class = TargetClass::ZooKeeper;
        let mut fault = Fault::planned("a", "s1", kind, Target::new(class, Role::Any));
        fault.victims = vec![fixture::part(class, "zk-1", "id-zk-1")];
        let works = works(&nowhere(), &fault).expect("it has a victim");
        journal.owe(&fault, &works, Duration::from_secs(9)).expect("written");
        folder
    }

    /// What healing a debt of this kind says, and whether the debt is still owed then.
    async fn healed(kind: FaultKind, state: Option<ContainerState>) -> (Result<Vec<String>, String>, bool) {
        let folder = owing(kind);
        let healed = heal(folder.path(), &stubborn(state), |_| true).await.map_err(|error| error.to_string());
        let owed = owes(folder.path(), |_| true).expect("it can be read");
        (healed, owed)
    }

    #[tokio::test]
    async fn a_debt_is_settled_only_when_it_is_paid_or_nothing_is_owed_any_more() {
        use ContainerState::{Exited, Paused, Running};
        for (kind, state) in [(FaultKind::Kill, Exited), (FaultKind::Pause, Paused)] {
            let (told, owed) = healed(kind, Some(state)).await;
            let why = told.expect_err("it can't be mended");
            assert!(
                owed && why.contains("zk-1") && why.contains("engine says no") && why.contains("stormbed down"),
                "{why}"
            );
        }
        for (kind, state) in
            [(FaultKind::Kill, Some(Running)), (FaultKind::Pause, Some(Running)), (FaultKind::Kill, None)]
        {
            let (told, owed) = healed(kind, state).await;
            assert!(told.is_ok() && !owed, "{kind} {state:?}: {told:?}");
        }
    }

    #[tokio::test]
    async fn only_debts_that_are_due_are_paid_and_one_process_pays_at_a_time() {
        let folder = owing(FaultKind::Kill);
        let running = stubborn(Some(ContainerState::Running));
        let others = heal(folder.path(), &running, |debt| debt.run != "r").await;
        assert_eq!(others.expect("nothing to do"), Vec::<String>::new());
        assert_eq!(owes(folder.path(), |_| true).ok(), Some(true));
        let lock = locked(&folder.path().join(JOURNAL)).await.expect("nobody has it");
        let healing = heal(folder.path(), &running, |_| true);
        let early = tokio::time::timeout(LOCKED_AGAIN * 4, healing).await;
        assert!(early.is_err(), "somebody else is paying");
        drop(lock);
        assert_eq!(heal(folder.path(), &running, |_| true).await.expect("it is over").len(), 1);
        assert_eq!(owes(folder.path(), |_| true).ok(), Some(false));
    }
}

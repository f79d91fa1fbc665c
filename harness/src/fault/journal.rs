//! The undo journal: what is owed to the topology if this process dies. A debt is on disk before the act takes place.
//!
//! Only what the outer engine did is written here. What an outpost did it undoes by itself when its stream ends.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inject::end_outside;
use super::{Fault, FaultKind, TargetClass};
use crate::observe::machines::Machines;

/// Name of the journal in a run's folder.
pub const JOURNAL: &str = "undo.jsonl";

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum Line {
    /// An act is about to take place.
    Owed(Debt),
    /// Its undo is acknowledged.
    Settled {
        /// The fault.
        fault: String,
    },
}

/// What must be done to one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The fault.
    pub fault: String,
    /// The part's name, for messages.
    pub name: String,
    /// Its container's id.
    pub container: String,
    /// What was done to it.
    pub kind: Owed,
}

/// What the outer engine did, and owes the undo of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owed {
    /// Killed a container.
    Kill,
    /// Froze one.
    Pause,
}

impl Owed {
    /// What the outer engine will do for this fault; none if outposts do all of it, who undo it by themselves.
    fn by(fault: &Fault) -> Option<Self> {
        match (fault.kind, fault.target.class) {
            (_, TargetClass::Node | TargetClass::MesosAgent) => None,
            (FaultKind::Kill, _) => Some(Self::Kill),
            (FaultKind::Pause, _) => Some(Self::Pause),
            (FaultKind::Isolate { .. } | FaultKind::Partition, _) => None,
        }
    }
}

/// A journal that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the undo journal {path}: {source}; faults are only made when their undo is safe on disk")]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// A topology that still shows the faults of a run that died.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Debts that could not be paid.
    #[error(
        "what a run before has broken can't be mended: {0}; try again, or remove the topology with `stormbed down`"
    )]
    Owed(String),
}

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or creates the journal in a run's folder.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(JournalError { path, source }),
        }
    }

    /// Notes what the fault will owe. Returns once it is on disk.
    ///
    /// # Errors
    /// If it can't be written: then the act must not take place.
    pub fn owe(&mut self, fault: &Fault) -> Result<(), JournalError> {
        let Some(kind) = Owed::by(fault) else {
            return Ok(());
        };
        for victim in &fault.victims {
            self.write(&Line::Owed(Debt {
                fault: fault.name.clone(),
                name: victim.name.clone(),
                container: victim.container.clone(),
                kind,
            }))?;
        }
        Ok(())
    }

    /// Notes that nothing is owed any more.
    ///
    /// # Errors
    /// If it can't be written; the debt is then paid twice, which does no harm.
    pub fn settle(&mut self, fault: &str) -> Result<(), JournalError> {
        self.write(&Line::Settled { fault: fault.to_owned() })
    }

    fn write(&mut self, line: &Line) -> Result<(), JournalError> {
        let mut text = serde_json::to_string(line).map_err(|e| self.failed(e.into()))?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: std::io::Error) -> JournalError {
        JournalError { path: self.path.clone(), source }
    }
}

/// Debts that nobody has settled, newest first. A last line that was cut off in the middle preceded no act.
#[must_use]
pub fn unsettled(text: &str) -> Vec<Debt> {
    let mut debts: Vec<Debt> = Vec::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Owed(debt) => debts.push(debt),
            Line::Settled { fault } => debts.retain(|debt| debt.fault != fault),
        }
    }
    debts.reverse();
    debts
}

/// Pays every debt in a run's journal. Returns what it did, one sentence each.
///
/// # Errors
/// If the journal exists and can't be read or written, or a debt can't be paid: that one is still owed then.
pub async fn heal(folder: &Path, machines: &dyn Machines) -> Result<Vec<String>, HealError> {
    let path = folder.join(JOURNAL);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(JournalError { path, source }.into()),
    };
    let debts = unsettled(&text);
    let mut journal = Journal::open(folder)?;
    let mut told = Vec::new();
    let mut owed = Vec::new();
    let (mut paid, mut unpaid) = (BTreeSet::new(), BTreeSet::new());
    for debt in debts {
        let did = match debt.kind {
            Owed::Kill => "started",
            Owed::Pause => "thawed",
        };
        match end_outside(machines, &debt.container, debt.kind).await {
            Ok(()) => {
                told.push(format!("{did} {} (fault {})", debt.name, debt.fault));
                paid.insert(debt.fault);
            }
            Err(why) => {
                owed.push(format!("{} is not {did} (fault {}): {why}", debt.name, debt.fault));
                unpaid.insert(debt.fault);
            }
        }
    }
    // A fault with several victims is settled when the last of them is mended.
    for fault in paid.difference(&unpaid) {
        journal.settle(fault)?;
    }
    if owed.is_empty() { Ok(told) } else { Err(HealError::Owed(owed.join("; "))) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use stormbed::outpost::protocol::{ContainerState, Hello};

    use super::super::{Peers, Role, Target, fixture};
    use super::*;
    use crate::observe::machines::{OutpostStream, Verb};
    use crate::observe::observation::PartView;

    fn fault(id: &str, kind: FaultKind, class: TargetClass, victims: &[&str]) -> Fault {
        let mut fault = Fault::planned("a", id, kind, Target::new(class, Role::Any));
        fault.victims = victims.iter().map(|name| fixture::part(class, name, &format!("id-{name}"))).collect();
        fault
    }

    #[test]
    fn what_was_owed_and_not_settled_is_still_owed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(folder.path()).expect("it can be created");
        let zookeeper = TargetClass::ZooKeeper;
        let isolate = FaultKind::Isolate { from: Peers::Everyone };
        for owed in [
            fault("s1", FaultKind::Kill, zookeeper, &["zk-1"]),
            fault("s2", FaultKind::Pause, TargetClass::Host, &["host-1"]),
            fault("s3", FaultKind::Pause, TargetClass::Node, &["storm-s1"]),
            fault("s4", FaultKind::Kill, zookeeper, &["zk-1", "zk-3"]),
            fault("s5", FaultKind::Kill, TargetClass::MesosAgent, &["host-2"]),
            fault("s6", isolate, TargetClass::Host, &["host-3"]),
        ] {
            journal.owe(&owed).expect("written");
        }
        journal.settle("a/s1").expect("written");
        let text = std::fs::read_to_string(folder.path().join(JOURNAL)).expect("it is there");
        let owed: Vec<_> = unsettled(&text).into_iter().map(|d| (d.fault, d.name, d.kind)).collect();
        let owes = |fault: &str, name: &str, kind| (fault.to_owned(), name.to_owned(), kind);
        let both = ["zk-3", "zk-1"].map(|name| owes("a/s4", name, Owed::Kill));
        assert_eq!(owed[..2], both, "every victim is owed for");
        assert_eq!(owed[2..], [owes("a/s2", "host-1", Owed::Pause)], "what outposts hold is not owed");
    }

    /// An engine that does nothing it is told, with one container in this state.
    struct Stubborn(Option<ContainerState>);

    impl Machines for Stubborn {
        fn outposts(&self) -> Vec<String> {
            Vec::new()
        }
        fn hello(&self, _: &str) -> Option<Hello> {
            None
        }
        fn open_outpost<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>> {
            async { Err("there is none".to_owned()) }.boxed()
        }
        fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>> {
            let part = self.0.map(|state| PartView { id: "id-zk-1".into(), state });
            async { Ok(part.map(|part| ("zk-1".to_owned(), part)).into_iter().collect()) }.boxed()
        }
        fn act<'a>(&'a self, _: &'a str, _: Verb) -> BoxFuture<'a, Result<(), String>> {
            async { Err("the engine says no".to_owned()) }.boxed()
        }
    }

    /// What healing a debt of this kind says, and whether the debt is still owed then.
    async fn healed(kind: FaultKind, state: Option<ContainerState>) -> (Result<Vec<String>, String>, bool) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(folder.path()).expect("it can be created");
        journal.owe(&fault("s1", kind, TargetClass::ZooKeeper, &["zk-1"])).expect("written");
        let healed = heal(folder.path(), &Stubborn(state)).await.map_err(|error| error.to_string());
        let text = std::fs::read_to_string(folder.path().join(JOURNAL)).expect("it is there");
        (healed, !unsettled(&text).is_empty())
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

    #[test]
    fn a_line_that_was_cut_off_is_no_debt() {
        let whole = serde_json::to_string(&Line::Owed(Debt {
            fault: "f".into(),
            name: "n".into(),
            container: "c".into(),
            kind: Owed::Pause,
        }))
        .expect("plain data");
        let cut = format!("{whole}\n{}", &whole[..20]);
        assert_eq!(unsettled(&cut).len(), 1);
    }
}

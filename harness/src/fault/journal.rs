//! The undo journal: what is owed to the topology if this process dies. A debt is on disk before the act takes place.
//!
//! Only what the outer engine did is written here. What an outpost did it undoes by itself when its stream or its lease ends.
//! [`super::guard`] pays what a runner that died still owes, [`super::heal`] what nobody has paid.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fault;
use super::guard::Guard;
use super::lease::monotonic_ms;
use super::work::{Owed, Work};

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
        /// The run that made the fault.
        run: String,
        /// The fault.
        fault: String,
    },
}

/// What must be done to one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The run that made the fault.
    pub run: String,
    /// The fault.
    pub fault: String,
    /// The part's name, for messages.
    pub name: String,
    /// Its container's id: one that was made anew owes nothing.
    pub container: String,
    /// What undoes the fault.
    pub owed: Owed,
    /// End of the lease, in milliseconds of this machine's monotonic clock.
    pub until_ms: u64,
}

/// A journal that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file.
    #[error("cannot use the undo journal {path}: {source}; faults are only made when their undo is safe on disk")]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody would undo the fault if this process died.
    #[error("the guard that undoes what a killed run leaves has ended ({0}); no fault is made without it: run again")]
    Unguarded(String),
}

impl JournalError {
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    run: String,
    guard: Option<Arc<Guard>>,
}

impl Journal {
    /// Opens or creates the journal in a topology's folder, for a run, with the guard that replays it if this process dies. (A
    /// topology that is no process's but this one's needs none.)
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn open(folder: &Path, run: &str, guard: Option<Arc<Guard>>) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(JournalError::file(&path))?;
        Ok(Self { path, file, run: run.to_owned(), guard })
    }

    /// Notes what the fault will owe until its lease ends. Returns once it is on disk.
    ///
    /// # Errors
    /// If it can't be written, or nobody guards it: then the act must not take place.
    pub fn owe(&mut self, fault: &Fault, works: &[Work], lease: Duration) -> Result<(), JournalError> {
        let until_ms = monotonic_ms() + u64::try_from(lease.as_millis()).unwrap_or(0);
        let outside = works.iter().filter_map(|work| match work {
            Work::Outside { name, container, deed } => Some((name, container, deed)),
            Work::At { .. } => None,
        });
        for (name, container, deed) in outside {
            if let Some(why) = self.guard.as_ref().and_then(|guard| guard.ended()) {
                return Err(JournalError::Unguarded(why));
            }
            self.write(&Line::Owed(Debt {
                run: self.run.clone(),
                fault: fault.name.clone(),
                name: name.clone(),
                container: container.clone(),
                owed: deed.owes(),
                until_ms,
            }))?;
        }
        Ok(())
    }

    /// Notes that nothing is owed any more.
    ///
    /// # Errors
    /// If it can't be written; the debt is then paid twice, which does no harm.
    pub fn settle(&mut self, fault: &str) -> Result<(), JournalError> {
        self.settle_of(&self.run.clone(), fault)
    }

    /// The same for a fault of another run.
    pub(super) fn settle_of(&mut self, run: &str, fault: &str) -> Result<(), JournalError> {
        self.write(&Line::Settled { run: run.to_owned(), fault: fault.to_owned() })
    }

    fn write(&mut self, line: &Line) -> Result<(), JournalError> {
        let mut text = serde_json::to_string(line).map_err(|e| JournalError::file(&self.path)(e.into()))?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(JournalError::file(&self.path))
    }
}

/// Debts that nobody has settled, newest first. A last line that was cut off in the middle preceded no act.
#[must_use]
pub fn unsettled(text: &str) -> Vec<Debt> {
    let mut debts: Vec<Debt> = Vec::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Owed(debt) => debts.push(debt),
            Line::Settled { run, fault } => debts.retain(|debt| debt.fault != fault || debt.run != run),
        }
    }
    debts.reverse();
    debts
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::processes::ProcessView;

    use super::super::inject::works;
    use super::super::{FaultKind, Peers, Role, Target, TargetClass, fixture};
    use super::*;
    use crate::runner::playing::nowhere;

    const LEASE: Duration = Duration::from_secs(60);

    fn fault(id: &str, kind: FaultKind, class: TargetClass, victims: &[&str]) -> Fault {
        let mut fault = Fault::planned("a", id, kind, Target::new(class, Role::Any));
        fault.victims = victims.iter().map(|name| fixture::part(class, name, &format!("id-{name}"))).collect();
        fault
    }

    #[test]
    fn what_was_owed_and_not_settled_is_still_owed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(folder.path(), "r", None).expect("it can be created");
        let zookeeper = TargetClass::ZooKeeper;
        let isolate = FaultKind::isolate(Peers::Everyone);
        let mut node = fault("s3", FaultKind::Pause, TargetClass::Node, &["storm-s1"]);
        node.victims[0].host = Some("host-1".into());
        let mut restart = fault("s7", FaultKind::Restart, zookeeper, &["zk-2"]);
        restart.victims[0].process = Some(ProcessView { pid: 1, started_ticks: 1 });
        let before = monotonic_ms();
        for owed in [
            fault("s1", FaultKind::Kill, zookeeper, &["zk-1"]),
            fault("s2", FaultKind::Pause, TargetClass::Host, &["host-1"]),
            node,
            fault("s4", FaultKind::Kill, zookeeper, &["zk-1", "zk-3"]),
            fault("s5", FaultKind::Kill, TargetClass::MesosAgent, &["host-2"]),
            fault("s6", isolate, TargetClass::Host, &["host-3"]),
            restart,
        ] {
            let works = works(&nowhere(), &owed).expect("it has victims");
            journal.owe(&owed, &works, LEASE).expect("written");
        }
        journal.settle("a/s1").expect("written");
        journal.settle_of("another run", "a/s2").expect("written");
        let text = std::fs::read_to_string(folder.path().join(JOURNAL)).expect("it is there");
        let debts = unsettled(&text);
        assert!(debts.iter().all(|debt| debt.run == "r" && debt.until_ms >= before + 60_000));
        let owed: Vec<_> = debts.into_iter().map(|d| (d.fault, d.name, d.owed)).collect();
        let owes = |fault: &str, name: &str, kind| (fault.to_owned(), name.to_owned(), kind);
        let both = ["zk-3", "zk-1"].map(|name| owes("a/s4", name, Owed::Start));
        assert_eq!(owed[0], owes("a/s7", "zk-2", Owed::Start), "who dies between kill and start leaves it down");
        assert_eq!(owed[1..3], both, "every victim is owed for");
        assert_eq!(owed[3..], [owes("a/s2", "host-1", Owed::Thaw)], "what outposts hold is not owed");
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_debt() {
        let whole = serde_json::to_string(&Line::Owed(Debt {
            run: "r".into(),
            fault: "f".into(),
            name: "n".into(),
            container: "c".into(),
            owed: Owed::Thaw,
            until_ms: 1,
        }))
        .expect("plain data");
        let cut = format!("{whole}\n{}", &whole[..20]);
        assert_eq!(unsettled(&cut).len(), 1);
    }
}

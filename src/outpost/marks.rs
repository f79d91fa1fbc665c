//! What is seen of faults that show in no process, container or rule: each was seen to work when it was made.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::etcd::Endpoints;
use super::tamper::Damaged;

/// How a fault shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// This is damaged, or was.
    Damaged(Damaged),
    /// What whoever made or undid it saw then.
    Shows(bool),
}

/// Marks, by the runner's names of the faults. They stay for as long as the outpost: that a fault is over shows too.
#[derive(Debug, Default)]
pub struct Marks {
    all: Mutex<BTreeMap<String, Mark>>,
}

impl Marks {
    /// Notes how a fault shows.
    pub fn put(&self, fault: &str, mark: Mark) {
        self.lock().insert(fault.to_owned(), mark);
    }

    /// Whether each fault still shows. What was seen healed isn't looked at again.
    pub async fn look(&self, etcd: &Endpoints) -> BTreeMap<String, bool> {
        let all: Vec<(String, Mark)> = self.lock().iter().map(|(name, mark)| (name.clone(), mark.clone())).collect();
        let mut shows = BTreeMap::new();
        for (fault, mark) in all {
            let still = match &mark {
                Mark::Damaged(damaged) => damaged.is_still(etcd).await,
                Mark::Shows(shows) => *shows,
            };
            if !still {
                self.put(&fault, Mark::Shows(false));
            }
            shows.insert(fault, still);
        }
        shows
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mark>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_seen_healed_stays_healed() {
        let dir = tempfile::tempdir().unwrap();
        let (marks, etcd) = (Marks::default(), Endpoints::default());
        marks.put("s1", Mark::Shows(true));
        marks.put("s2", Mark::Damaged(Damaged::EtcdData { dir: dir.path().to_owned() }));
        let both = |one, two| BTreeMap::from([("s1".to_owned(), one), ("s2".to_owned(), two)]);
        assert_eq!(marks.look(&etcd).await, both(true, true));
        let log = dir.path().join("member/wal");
        std::fs::create_dir_all(&log).unwrap();
        assert_eq!(marks.look(&etcd).await, both(true, false));
        std::fs::remove_dir(&log).unwrap();
        marks.put("s1", Mark::Shows(false));
        assert_eq!(marks.look(&etcd).await, both(false, false));
    }
}

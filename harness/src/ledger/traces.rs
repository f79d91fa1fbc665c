//! Evidence about files that are missing: every host is asked for what it knows of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use stormbed::clock::Millis;
use stormbed::outpost::protocol::{Call, Reply};

use super::{Entry, Ledger, READ_MAX};
use crate::history::ledger::KindOutcome;
use crate::report::missing::Trace;

/// More than this tell nothing that the first don't.
const TRACED_MAX: usize = 20;

impl Ledger {
    /// What each host knows of the files in `dir` that are missing, by item and host.
    pub(super) async fn traces(
        &self,
        dir: &Path,
        account: &KindOutcome,
        written: &[Entry],
    ) -> BTreeMap<String, BTreeMap<String, Result<Trace, String>>> {
        let lost: Vec<String> = account.lost().take(TRACED_MAX).map(|op| op.item.clone()).collect();
        if lost.is_empty() {
            return BTreeMap::new();
        }
        let files: BTreeMap<PathBuf, String> = written
            .iter()
            .filter(|entry| lost.contains(&entry.op.item))
            .map(|entry| (dir.join(&entry.op.item), entry.content.clone()))
            .collect();
        let asked =
            self.world.shape.hosts.iter().map(|host| async { (host.clone(), self.known_at(host, &files).await) });
        let known = join_all(asked).await;
        let of = |item: &String| {
            let traces = known.iter().map(|(host, known)| {
                let missing = || format!("{host} said nothing of it");
                let trace = known.clone().and_then(|files| files.get(&dir.join(item)).cloned().ok_or_else(missing));
                (host.clone(), trace)
            });
            (item.clone(), traces.collect())
        };
        lost.iter().map(of).collect()
    }

    async fn known_at(
        &self,
        host: &str,
        files: &BTreeMap<PathBuf, String>,
    ) -> Result<BTreeMap<PathBuf, Trace>, String> {
        let call = Call::FileTraces { files: files.clone() };
        let probe = self.world.call(self.world.outposts.get(host), call, READ_MAX, |reply| match reply {
            Reply::FileTraces { files, mount_age_ms } => Some((files, mount_age_ms)),
            _ => None,
        });
        let probe = probe.await;
        let (files, mount_age_ms) = probe.result?;
        let mount_began = mount_age_ms.and_then(|age| probe.begin.0.checked_sub(age)).map(Millis);
        Ok(files.into_iter().map(|(path, file)| (path, Trace { mount_began, file })).collect())
    }
}

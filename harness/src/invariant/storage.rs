//! `storage`: what one node writes under /shared every node reads; what was saved through Jupyter is there after a move; never
//! a split-brain entry; all bricks online.
//!
//! That nothing acknowledged is lost over a whole scenario is the ledger's account, judged by [`crate::history`].

use std::time::Duration;

use super::evidence::Evidence;
use super::{Breach, Invariant, Judged, Look};

/// A volume that was well is taken for well this long: one of its looks (every 10 s) may fail, and one may take its time.
pub const WELL_AGE_MAX_MS: u64 = 25_000;
/// One bad look stands for less than deep evidence may be broken without a fault (8 s): it takes two in a row.
pub const ILL_AGE_MAX_MS: u64 = 7_000;

/// The invariant.
#[derive(Debug)]
pub struct Storage;

impl Invariant for Storage {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        cross_read(look, &mut evidence);
        let lost = notebook(look, &mut evidence);
        let split = volume(look, &mut evidence);
        Judged { deep: Some(evidence.part()), breach: lost.or(split), ..Judged::default() }
    }
}

fn cross_read(look: &Look<'_>, evidence: &mut Evidence) {
    let Some(probe) = &look.seen.deep.cross_read else {
        evidence.unknown("no node has written for the others yet");
        return;
    };
    evidence.uses(probe);
    if probe.begin < look.truth.since {
        evidence.unknown("the newest cross-read began before the members were what they are");
        return;
    }
    let view = match &probe.result {
        Ok(Ok(view)) => view,
        Ok(Err(why)) => {
            evidence.broken(format!("a node's file under /shared was not written: {why}"));
            return;
        }
        Err(why) => {
            evidence.unknown(format!("no node could be asked to write under /shared: {why}"));
            return;
        }
    };
    for slot in look.truth.core() {
        match view.readers.get(&slot) {
            Some(Ok(Ok(true))) => {}
            Some(Ok(Ok(false))) => evidence
                .broken(format!("slot {slot} reads something else than slot {} wrote under /shared", view.writer)),
            Some(Ok(Err(why))) => {
                evidence.broken(format!("slot {slot} can't read what slot {} wrote under /shared: {why}", view.writer));
            }
            Some(Err(why)) => evidence
                .unknown(format!("slot {slot} could not be asked to read what slot {} wrote: {why}", view.writer)),
            None => evidence.unknown(format!("slot {slot} was not asked to read what slot {} wrote", view.writer)),
        }
    }
}

fn notebook(look: &Look<'_>, evidence: &mut Evidence) -> Option<Breach> {
    let Some(probe) = &look.seen.deep.notebook else {
        evidence.unknown("no notebook has been read back yet");
        return None;
    };
    evidence.uses(probe);
    match &probe.result {
        Err(why) if probe.begin < look.truth.since => {
            evidence.unknown(format!("the newest notebook was asked for before the members were what they are: {why}"));
            None
        }
        Err(why) => {
            evidence.broken(format!("a saved notebook could not be read back through the proxy: {why}"));
            None
        }
        Ok(view) if view.intact => None,
        Ok(view) => {
            let saved_by = view.saved_by.map_or("a former leader".to_owned(), |slot| format!("slot {slot}"));
            let why =
                format!("the notebook {}, whose saving {saved_by} acknowledged, is not what was saved", view.name);
            evidence.broken(why.clone());
            Some(Breach { why, tolerated_ms: 0 })
        }
    }
}

/// The volume has an age of its own: a look at it takes seconds where others take milliseconds, and one that fails now and then
/// leaves the last one standing. What stands too long tells nothing.
fn volume(look: &Look<'_>, evidence: &mut Evidence) -> Option<Breach> {
    let Some(probe) = &look.seen.deep.gluster else {
        evidence.unknown("the volume has not been looked at yet");
        return None;
    };
    let view = match &probe.result {
        Ok(view) => view,
        Err(why) => {
            evidence.unknown(format!("the volume could not be looked at: {why}"));
            return None;
        }
    };
    // Each host has one brick.
    let held = u32::try_from(look.held.bricks()).unwrap_or(u32::MAX);
    let expected = view.bricks.saturating_sub(held);
    let well = view.bricks_online >= expected && view.split_brain == 0;
    let age = look.seen.end.since(probe.end);
    if age > Duration::from_millis(if well { WELL_AGE_MAX_MS } else { ILL_AGE_MAX_MS }) {
        evidence.unknown(format!("the newest look at the volume is {:.1} s old", age.as_secs_f64()));
        return None;
    }
    if view.bricks_online < expected {
        evidence.broken(format!("bricks online: expected {expected}, found {}", view.bricks_online));
    }
    (view.split_brain > 0).then(|| {
        let why = format!("entries in split brain: expected 0, found {}", view.split_brain);
        evidence.broken(why.clone());
        Breach { why, tolerated_ms: 0 }
    })
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;
    use stormbed::config::Slot;

    use super::*;
    use crate::invariant::fixture::{BEGIN, Cluster, END, probe};
    use crate::observe::observation::{Asked, CrossReadView, NotebookView};

    fn reader(slot: Slot, read: Result<bool, String>) -> Cluster {
        asked(slot, Ok(read))
    }

    fn asked(slot: Slot, read: Asked<bool>) -> Cluster {
        let mut cluster = Cluster::steady();
        let mut readers: std::collections::BTreeMap<_, _> = (0..5).map(|s| (s, Ok(Ok(true)))).collect();
        readers.insert(slot, read);
        cluster.seen.deep.cross_read = Some(probe(Ok(CrossReadView { writer: 1, readers })));
        cluster
    }

    #[test]
    fn a_right_volume_holds() {
        Cluster::steady().accepted(&Storage);
    }

    #[test]
    fn every_node_reads_what_one_wrote() {
        reader(3, Ok(false)).rejected(&Storage, &["slot 3", "something else", "slot 1"]);
        reader(3, Err("Transport endpoint is not connected".into())).rejected(&Storage, &["slot 3", "Transport"]);
        let mut cluster = Cluster::steady();
        if let Some(probe) = &mut cluster.seen.deep.cross_read {
            probe.result = Ok(Err("read-only file system".into()));
        }
        cluster.rejected(&Storage, &["read-only"]);
    }

    #[test]
    fn who_could_not_be_asked_has_broken_nothing() {
        asked(3, Err("the stream to host-1 ended".into()))
            .unknown(&Storage, &["slot 3", "could not be asked", "ended"]);
        let mut cluster = Cluster::steady();
        if let Some(probe) = &mut cluster.seen.deep.cross_read {
            probe.result = Err("no outpost on host-1".into());
        }
        cluster.unknown(&Storage, &["no outpost on host-1"]);
    }

    #[test]
    fn a_lost_notebook_is_a_breach() {
        let mut cluster = Cluster::steady();
        cluster.seen.deep.notebook = Some(probe(NotebookView { name: "n7".into(), saved_by: Some(4), intact: false }));
        cluster.rejected(&Storage, &["n7", "slot 4"]);
        assert_eq!(cluster.judged(&Storage).breach.map(|b| b.tolerated_ms), Some(0));
        if let Some(probe) = &mut cluster.seen.deep.notebook {
            probe.result = Err("502".into());
        }
        cluster.rejected(&Storage, &["502"]);
        assert_eq!(cluster.judged(&Storage).breach, None);
    }

    #[test]
    fn split_brain_and_missing_bricks_are_rejected() {
        let mut cluster = Cluster::steady();
        if let Some(Ok(view)) = cluster.seen.deep.gluster.as_mut().map(|p| p.result.as_mut()) {
            view.split_brain = 2;
        }
        cluster.rejected(&Storage, &["split brain", "found 2"]);
        assert!(cluster.judged(&Storage).breach.is_some());
        let mut cluster = Cluster::steady();
        if let Some(Ok(view)) = cluster.seen.deep.gluster.as_mut().map(|p| p.result.as_mut()) {
            view.bricks_online = 2;
        }
        cluster.rejected(&Storage, &["bricks online: expected 3, found 2"]);
    }

    #[test]
    fn a_look_at_the_volume_grows_old() {
        let aged = |age: u64, bricks_online: u32| {
            let mut cluster = Cluster::steady();
            let look = cluster.seen.deep.gluster.as_mut().expect("a look");
            look.end = Millis(END - age);
            look.result.as_mut().expect("a view").bricks_online = bricks_online;
            cluster
        };
        aged(WELL_AGE_MAX_MS, 3).accepted(&Storage);
        aged(WELL_AGE_MAX_MS + 1, 3).unknown(&Storage, &["the volume", "25.0 s old"]);
        aged(ILL_AGE_MAX_MS, 2).rejected(&Storage, &["bricks online"]);
        aged(ILL_AGE_MAX_MS + 1, 2).unknown(&Storage, &["the volume", "7.0 s old"]);
        let mut cluster = Cluster::steady();
        cluster.seen.deep.gluster = None;
        cluster.unknown(&Storage, &["the volume has not been looked at"]);
        cluster = Cluster::steady();
        cluster.seen.deep.gluster.as_mut().expect("a look").result = Err("glusterd is away".into());
        cluster.unknown(&Storage, &["the volume could not be looked at", "glusterd is away"]);
    }

    #[test]
    fn missing_or_old_evidence_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.seen.deep.cross_read = None;
        cluster.unknown(&Storage, &["no node has written"]);
        let mut cluster = Cluster::steady();
        cluster.seen.deep.notebook = None;
        cluster.unknown(&Storage, &["no notebook"]);
        let mut cluster = reader(3, Err("gone".into()));
        if let Some(probe) = &mut cluster.seen.deep.cross_read {
            probe.begin = Millis(BEGIN - 90_000);
        }
        cluster.unknown(&Storage, &["before the members"]);
    }
}

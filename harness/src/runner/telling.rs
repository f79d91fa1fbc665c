//! What a session tells: the timeline, the user's screen, and those who look on.

use std::collections::BTreeMap;

use super::session::Session;
use crate::history::raft;
use crate::observe::observer::Seen;
use crate::status::View;

impl Session<'_> {
    /// Whatever changes in etcd's Raft, for the timeline.
    pub(super) fn tell_raft(&mut self, before: Option<&Seen>, seen: &Seen) {
        let none = BTreeMap::new();
        if let Some(text) = raft::change(before.map_or(&none, |seen| &seen.truth.raft), &seen.truth.raft) {
            let (at, scenario) = (seen.observation.end, &self.plan.scenario);
            self.shared.folder.moment(at, scenario, "raft", None, &text);
        }
    }

    /// A new phase, for timeline and progress.
    pub(super) fn enter(&mut self, phase: &str) {
        phase.clone_into(&mut self.phase);
        let (now, scenario) = (self.now(), &self.plan.scenario);
        self.shared.folder.moment(now, scenario, "phase", None, phase);
    }

    /// A line for timeline and user.
    pub(super) fn say(&mut self, text: &str) {
        let (now, scenario) = (self.now(), &self.plan.scenario);
        self.shared.folder.moment(now, scenario, "note", None, text);
        self.shared.progress.line(&format!("  {text}"));
    }

    pub(super) fn tell_fault(&mut self, index: usize, text: &str) {
        let fault = &self.faults[index];
        let victims = fault.victims_named();
        let kind = self.shared.progress.fault(fault.kind);
        let line = format!("  {:<6} {kind} {} {victims}: {text}", fault.id, fault.target);
        let (now, scenario) = (self.shared.world.clock.now(), &self.plan.scenario);
        let what = format!("{victims}: {text}");
        self.shared.folder.moment(now, scenario, "fault", Some(&fault.id), &what);
        self.shared.progress.line(&line);
    }

    pub(super) fn show(&mut self, seen: &Seen) {
        let lacking = self.history.lacking();
        let state = if lacking.is_empty() {
            format!("all held for {:.0} s", self.history.all_held_ms() as f64 / 1e3)
        } else {
            let names: Vec<&str> = lacking.iter().map(|(name, _)| name.as_str()).collect();
            format!("not holding: {}", names.join(" "))
        };
        let judged = self.history.judgements();
        let (shape, faults) = (&self.shared.world.shape, &self.faults);
        let view = || View::of(shape, &seen.observation, &seen.truth, &judged, faults);
        self.shared.teller.tell(&self.plan.scenario, &self.phase, view);
        let text = format!("{} · {} · {state}", self.plan.scenario, self.phase);
        self.shared.progress.status(&text);
    }
}

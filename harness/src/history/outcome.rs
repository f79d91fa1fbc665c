//! The verdict: everything that speaks against PASS, by precedence FAIL > BROKEN > INVALID.

use std::collections::BTreeMap;
use std::time::Duration;

use stormbed::clock::Millis;

use super::recovery::{Window, in_window, recovery};
use super::starved::{Shares, judged_while};
use super::tick::{Key, Tick, keys};
use super::{Ending, FINAL_HOLD_MS, History, breaks, coverage, event, ledger, meanwhile, role, volume, witness};
use crate::fault::Fault;
use crate::fault::life::Stage;
use crate::invariant::Tier;
use crate::report::{
    ExpectedSeen, FaultReport, Finding, JudgeReport, Outcome, Recovery, ScenarioReport, StormCount, Verdict,
};
use crate::scenario::duration::format_ms;
use crate::scenario::plan::PlannedAct;
use crate::scenario::{Bound, RecoveryClock};

/// Fewer effective draws than this share (percent) are no storm.
pub const EFFECTIVE_PERCENT_MIN: u32 = 70;

impl History {
    /// The scenario's report and verdict.
    #[must_use]
    pub fn outcome(&self, ending: &Ending<'_>) -> ScenarioReport {
        let ticks = &self.ticks;
        let faults = ending.faults;
        let recoveries = recoveries(ticks, faults);
        let fault_reports: Vec<FaultReport> = faults.iter().map(|fault| self.fault_report(fault, ending)).collect();
        let coverage = coverage::coverage(ticks, faults);
        let storm = self.storm_count(ending);
        let mut why = self.earlier.clone();
        why.extend(breaks::breaches(ticks));
        why.extend(breaks::unexcused(ticks, faults));
        why.extend(ledger::audit(ending.ledger));
        why.extend(ending.witnesses.iter().flat_map(witness::audit));
        for fault in faults {
            let step = ending.plan.step_of(&fault.id);
            why.extend(step.map(|step| meanwhile::findings(ticks, fault, step)).unwrap_or_default());
        }
        let complete = !ending.interrupted && ending.harness_errors.is_empty();
        // What ended before its time can't have been judged.
        let bounds = faults.iter().flat_map(|fault| missed_bounds(ticks, fault, ending));
        let volume = volume::audit(ending.volume);
        why.extend(bounds.chain(volume).filter(|finding| complete || finding.verdict == Verdict::Fail));
        why.extend(ending.harness_errors.iter().map(|error| finding(Verdict::Broken, error.clone())));
        if ending.interrupted {
            why.push(finding(Verdict::Interrupted, "ended by the user".to_owned()));
        }
        if let Some(aborted) = ending.aborted {
            why.push(invalid(format!("ended early: {aborted}"), None));
        }
        if complete {
            why.extend(self.final_judgement());
            why.extend(coverage::findings(&coverage));
            why.extend(self.proof(ending, &fault_reports, storm.as_ref()));
        }
        // A breach that stays is told once, and the worst comes first.
        why.sort();
        why.dedup();
        ScenarioReport {
            name: ending.plan.scenario.clone(),
            about: ending.plan.about.clone(),
            verdict: why.first().map_or(Verdict::Pass, |finding| finding.verdict),
            why,
            seed: ending.plan.seed,
            began: self.began,
            took_ms: ms(ending.ended.since(self.began)),
            faults: fault_reports,
            recoveries,
            broken: breaks::intervals(ticks, faults),
            coverage,
            unprovoked_leader_changes: u32::try_from(breaks::unprovoked_moves(ticks, faults).len()).unwrap_or(u32::MAX),
            missing: ending.ledger.iter().flat_map(|(kind, outcome)| ledger::missing(kind, outcome)).collect(),
            storm,
            judge: judge_report(ticks),
        }
    }

    fn fault_report(&self, fault: &Fault, ending: &Ending<'_>) -> FaultReport {
        let expected = ending.plan.step_of(&fault.id).map(|step| step.expect.as_slice()).unwrap_or_default();
        let until = next_group(fault, ending);
        let ops_ok = fault.began().map_or_else(BTreeMap::new, |began| {
            let kinds = ending.ledger.iter();
            kinds.map(|(kind, outcome)| (kind.clone(), ledger::ops_ok(outcome, began))).collect()
        });
        FaultReport {
            id: fault.id.clone(),
            kind: fault.kind,
            target: fault.target,
            victims: fault.victims.clone(),
            stage: fault.life.stage,
            began: fault.life.inject_begin,
            undo_began: fault.life.undo_begin,
            effect_seen: fault.life.seen.is_some(),
            expected: expected
                .iter()
                .map(|event| ExpectedSeen { event: *event, seen_at: event::seen(&self.ticks, fault, *event, until) })
                .collect(),
            ops_ok,
        }
    }

    /// All slots are members, no stale member, held for 10 s; nothing is excused.
    fn final_judgement(&self) -> Option<Finding> {
        let held_ms = self.all_held_ms();
        if held_ms >= FINAL_HOLD_MS {
            return None;
        }
        let Some(last) = self.ticks.last() else {
            return Some(finding(Verdict::Invalid, "there is no observation at all".to_owned()));
        };
        let broken: Vec<String> = keys(&self.ticks)
            .into_iter()
            .filter_map(|key| last.broken(key).map(|why| format!("{}: {why}", key.0)))
            .collect();
        let at = Some(last.end);
        let all = self.shape.addresses.len();
        let members = last.truth.members.len();
        if !broken.is_empty() || members != all {
            let from = Millis(last.end.0.saturating_sub(FINAL_HOLD_MS));
            let (verdict, starved) = judged_while(&self.ticks, from, last.end);
            let why = format!(
                "at the end not everything holds{starved}: {members} of {all} slots are members; {}",
                broken.join("; ")
            );
            return Some(Finding { verdict, at, why });
        }
        let lacking: Vec<String> = last.lacking().into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Some(Finding {
            verdict: Verdict::Invalid,
            at,
            why: format!(
                "at the end everything held for {} only; expected {}; {}",
                format_ms(held_ms),
                format_ms(FINAL_HOLD_MS),
                lacking.join("; ")
            ),
        })
    }

    /// A PASS means that something happened: effects, expected events, roles, operations.
    fn proof(&self, ending: &Ending<'_>, reports: &[FaultReport], storm: Option<&StormCount>) -> Vec<Finding> {
        let mut why = vec![];
        for (fault, report) in ending.faults.iter().zip(reports) {
            if in_storm(fault) {
                continue;
            }
            let named = format!("fault {} ({} {})", fault.id, fault.kind, fault.target);
            match fault.life.stage {
                Stage::Planned if ending.aborted.is_some() => continue,
                Stage::Planned => {
                    why.push(invalid(format!("{named} was not reached"), None));
                    continue;
                }
                Stage::Skipped => {
                    let pinned = ending.plan.pins.get(&fault.id);
                    let whom = pinned.map_or(String::new(), |names| format!(" (it was to hit {})", names.join(" + ")));
                    why.push(invalid(format!("{named} found no target in time{whom}"), None));
                    continue;
                }
                _ if !report.effect_seen => {
                    let text = format!("{named} was injected, but its effect was never seen");
                    why.push(invalid(text, report.began));
                }
                _ => {}
            }
            let missed = report.expected.iter().filter(|expected| expected.seen_at.is_none());
            why.extend(missed.map(|expected| {
                invalid(format!("{named} should cause '{}', which never came", expected.event), report.began)
            }));
            why.extend(
                role::missed_role(&self.ticks, fault)
                    .map(|text| invalid(format!("{named}, missed-role: {text}"), report.began)),
            );
        }
        let seen = ending.faults.iter().filter(|fault| fault.life.seen.is_some());
        why.extend(seen.filter(|fault| fault.life.stage != Stage::UndoneSeen).map(|fault| {
            let text = format!("fault {} ({} {}): that it is over was never seen", fault.id, fault.kind, fault.target);
            invalid(text, fault.life.undone.or(fault.life.inject_begin))
        }));
        for (report, (kind, ops)) in
            reports.iter().flat_map(|report| report.ops_ok.iter().map(move |ops| (report, ops)))
        {
            if ops.before == 0 || ops.after == 0 {
                let text = format!(
                    "fault {}: the ledger's '{kind}' succeeded {} times before and {} times after it; expected at least once each",
                    report.id, ops.before, ops.after
                );
                why.push(invalid(text, report.began));
            }
        }
        if storm.is_some_and(|storm| storm.draws == 0) {
            why.push(invalid("the storm drew no fault at all".to_owned(), None));
        }
        if let Some(storm) = storm
            && storm.effective * 100 < storm.draws * EFFECTIVE_PERCENT_MIN
        {
            let text = format!(
                "the storm had an effect in {} of {} draws ({} skipped, {} missed their role); expected at least {EFFECTIVE_PERCENT_MIN} %",
                storm.effective, storm.draws, storm.skipped, storm.missed_role
            );
            why.push(invalid(text, None));
        }
        why
    }

    fn storm_count(&self, ending: &Ending<'_>) -> Option<StormCount> {
        let stormy = ending.plan.steps.iter().any(|step| matches!(step.act, PlannedAct::Storm { .. }));
        let mut count = StormCount::default();
        for fault in ending.faults.iter().filter(|fault| in_storm(fault)) {
            count.draws += 1;
            if fault.life.stage == Stage::Skipped {
                count.skipped += 1;
            } else if role::missed_role(&self.ticks, fault).is_some() {
                count.missed_role += 1;
            } else if fault.life.seen.is_some() {
                count.effective += 1;
            }
        }
        stormy.then_some(count)
    }
}

fn in_storm(fault: &Fault) -> bool {
    fault.id.contains('.')
}

fn recoveries(ticks: &[Tick], faults: &[Fault]) -> Vec<Recovery> {
    let mut all = vec![];
    for fault in faults {
        for clock in [RecoveryClock::Failover, RecoveryClock::Rejoin] {
            if let Some(window) = Window::of(fault, clock, faults) {
                all.extend(keys(ticks).into_iter().map(|key| recovery(ticks, fault, clock, window, key)));
            }
        }
    }
    all
}

/// Bounds of the fault's step that were missed, with the evidence for it. Faults of the same group are part of what the bound
/// is about: they don't cut it.
fn missed_bounds(ticks: &[Tick], fault: &Fault, ending: &Ending<'_>) -> Vec<Finding> {
    let Some(step) = ending.plan.step_of(&fault.id) else {
        return vec![];
    };
    let mut findings = vec![];
    for bound in &step.recovered {
        let Some(window) = Window::of(fault, bound.clock, strangers(fault, ending)) else {
            continue;
        };
        for key in bound_keys(ticks, bound) {
            findings.extend(missed_bound(ticks, fault, bound, window, key));
        }
    }
    findings
}

/// Faults of other groups.
fn strangers<'a>(fault: &Fault, ending: &Ending<'a>) -> impl Iterator<Item = &'a Fault> {
    let group = ending.plan.group_of(&fault.id);
    let plan = ending.plan;
    ending.faults.iter().filter(move |other| {
        let step = plan.step_of(&other.id);
        !step.is_some_and(|step| group.iter().any(|partner| partner.id == step.id))
    })
}

/// When the first fault of a later group began.
fn next_group(fault: &Fault, ending: &Ending<'_>) -> Option<Millis> {
    let began = fault.began()?;
    strangers(fault, ending).filter_map(Fault::began).filter(|other| *other > began).min()
}

/// A bound on one invariant binds its fast evidence, if it has any; `all` binds everything.
fn bound_keys(ticks: &[Tick], bound: &Bound) -> Vec<Key> {
    let keys = keys(ticks);
    match bound.invariant {
        None => keys,
        Some(name) => {
            let tier = if keys.contains(&(name, Tier::Fast)) { Tier::Fast } else { Tier::Deep };
            keys.into_iter().filter(|key| *key == (name, tier)).collect()
        }
    }
}

fn missed_bound(ticks: &[Tick], fault: &Fault, bound: &Bound, window: Window, key: Key) -> Option<Finding> {
    let due = window.start + Duration::from_millis(bound.within_ms);
    let recovered = recovery(ticks, fault, bound.clock, window, key);
    let back = match recovered.outcome {
        Outcome::NeverBroken => return None,
        Outcome::Recovered => recovered.seconds.map(|seconds| window.start + Duration::from_secs_f64(seconds)),
        Outcome::CutShort | Outcome::NotRecovered => window.cut,
    };
    // What lies past the bound and before it came back (or the clock was cut).
    let late: Vec<&Tick> = ticks
        .iter()
        .filter(|tick| tick.begin >= due && back.is_none_or(|back| tick.end < back))
        .filter(|tick| !tick.holds(key))
        .collect();
    let took = match recovered.seconds {
        Some(seconds) => format!("it took {seconds:.1} s"),
        None => "it did not hold again while the clock ran".to_owned(),
    };
    let promise = format!(
        "{} ({:?}) must hold {} after fault {} ({} clock)",
        key.0,
        key.1,
        format_ms(bound.within_ms),
        fault.id,
        bound.clock
    );
    let what = format!("{promise}, but {took}");
    if let Some(why) = late.iter().find_map(|tick| tick.broken(key)) {
        let (verdict, starved) = judged_while(ticks, window.start, back.or(ticks.last().map(|t| t.end))?);
        return Some(Finding { verdict, at: Some(due), why: format!("{what}{starved}: {why}") });
    }
    if !late.is_empty() {
        return Some(invalid(format!("{what}; past the bound there is no evidence that tells"), Some(due)));
    }
    let within = in_window(ticks, window);
    // It came back in time, and the clock was cut before it had held for long enough.
    let in_time = within.iter().any(|tick| !tick.holds(key)) && within.iter().any(|tick| tick.begin >= due);
    let judged = recovered.outcome == Outcome::Recovered || in_time;
    (!judged).then(|| {
        let text = "but the clock ended before that could be judged; hold the fault longer, or give a smaller bound";
        invalid(format!("{promise}, {text}"), Some(window.start))
    })
}

fn judge_report(ticks: &[Tick]) -> JudgeReport {
    let mut spans: Vec<u64> = ticks.iter().map(|tick| ms(tick.end.since(tick.begin))).collect();
    spans.sort_unstable();
    let shares = Shares::of(ticks.iter().filter_map(|tick| tick.cpu.as_ref()));
    JudgeReport {
        ticks: u64::try_from(ticks.len()).unwrap_or(u64::MAX),
        late_ms_max: ticks.iter().map(|tick| tick.late_ms).max().unwrap_or(0),
        tick_ms_median: spans.get(spans.len() / 2).copied().unwrap_or(0),
        cpu_pressure_max: ticks.iter().filter_map(|tick| tick.cpu_pressure).max_by(f64::total_cmp),
        cpu_wait_ms_mean: shares.map(|shares| shares.wait_us / 1e3),
        cpu_others_percent: shares.map(|shares| shares.others_percent),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn finding(verdict: Verdict, why: String) -> Finding {
    Finding { verdict, at: None, why }
}

fn invalid(why: String, at: Option<Millis>) -> Finding {
    Finding { verdict: Verdict::Invalid, at, why }
}

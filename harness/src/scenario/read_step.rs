//! The meaning of one step: what its fault can do to its target, cause, and be judged by.

use std::collections::BTreeMap;

use super::duration::format_ms;
use super::event::Event;
use super::file::{FaultStep, Items, MeanwhileKeys, Previous, RecoveredKeys, StepKeys, TogetherFault, TogetherStep};
use super::physics::{Limits, floor_ms, is_held, possible, recovery_floor_ms};
use super::plan::{HOLD_MAX_MS, RESOLVE_WITHIN_MS};
use super::read_fault::Named;
use super::read_target::{read_target, takes};
use super::values::Time;
use super::{AbortIf, Act, Bound, Condition, FaultAct, Meanwhile, RecoveryClock, Step};
use crate::document::diagnose::Diagnosis;
use crate::document::place::Place;
use crate::fault::{FaultKind, Role};
use crate::invariant::Name;
use crate::invariant::own::Own;

/// Reads steps one after another.
#[derive(Debug)]
pub(super) struct Reader<'r, 't> {
    pub limits: &'r Limits,
    /// Invariants of the user's own.
    pub own: &'r [Own],
    /// The step before, if there is one; inside: none if it was wrong.
    pub previous: Option<Option<Step>>,
    pub d: &'r mut Diagnosis<'t>,
}

impl Reader<'_, '_> {
    /// The step that these keys mean.
    pub fn step(&mut self, keys: &StepKeys, at: &Place) -> Option<Step> {
        match keys {
            StepKeys::Fault(keys) => self.fault_step(keys, at),
            StepKeys::Together(keys) => self.together_step(keys, at),
            StepKeys::Storm(keys) => {
                let storm = self.storm(&keys.storm, &at.key("storm"))?;
                Some(step_of(Act::Storm(storm), keys.wait.as_ref()))
            }
            StepKeys::Watch(keys) => Some(step_of(Act::Watch { for_ms: keys.watch.0 }, keys.wait.as_ref())),
        }
    }

    fn fault_step(&mut self, keys: &FaultStep, at: &Place) -> Option<Step> {
        self.with_previous(keys.with, &at.key("with"));
        self.rounds(keys.repeat, keys.every.as_ref(), keys.with, at);
        let asked = Asked {
            named: Named::from(keys),
            held_for: keys.r#for.as_ref(),
            expect: &keys.expect,
            meanwhile: keys.meanwhile.as_ref(),
            recovered: keys.recovered.as_ref(),
        };
        Some(Step {
            with_previous: keys.with.is_some(),
            wait_ms: keys.wait.as_ref().map_or(0, |time| time.0),
            resolve_within_ms: keys.resolve_within.as_ref().map_or(RESOLVE_WITHIN_MS, |time| time.0),
            when: keys.when,
            repeat: keys.repeat.unwrap_or(1),
            every_ms: keys.every.as_ref().map(|time| time.0),
            ..self.asked(&asked, at)?
        })
    }

    fn together_step(&mut self, keys: &TogetherStep, at: &Place) -> Option<Step> {
        self.with_previous(keys.with, &at.key("with"));
        self.rounds(keys.repeat, keys.every.as_ref(), keys.with, at);
        let mut faults = vec![];
        for (index, keys) in keys.together.iter().enumerate() {
            let at = at.key("together").item(index);
            let asked = |keys| self.asked(&asked_of(keys), &at);
            faults.extend(keys.as_ref().and_then(asked));
        }
        Some(Step {
            with_previous: keys.with.is_some(),
            resolve_within_ms: keys.resolve_within.as_ref().map_or(RESOLVE_WITHIN_MS, |time| time.0),
            repeat: keys.repeat.unwrap_or(1),
            every_ms: keys.every.as_ref().map(|time| time.0),
            ..step_of(Act::Together(faults), keys.wait.as_ref())
        })
    }

    /// A fault with all that is asked of it.
    fn asked(&mut self, asked: &Asked<'_>, at: &Place) -> Option<Step> {
        let act = self.fault(asked.named, asked.held_for, at)?;
        let expect = self.expect(asked.expect, &act, &at.key("expect"));
        let meanwhile = asked.meanwhile.map(|keys| self.meanwhile(keys, &act, &at.key("meanwhile")));
        let recovered = asked.recovered.map(|keys| self.recovered(keys, &act, &at.key("recovered")));
        Some(Step {
            expect,
            meanwhile: meanwhile.unwrap_or_default(),
            recovered: recovered.unwrap_or_default(),
            ..step_of(Act::Fault(act), None)
        })
    }

    fn rounds(&mut self, repeat: Option<u32>, every: Option<&Time>, with: Option<Previous>, at: &Place) {
        if every.is_some() && repeat.unwrap_or(1) < 2 {
            let help = "add repeat = 3, or leave 'every' out; 'wait' lets time pass before a step";
            self.d.at(&at.key("every"), "'every' is the time between rounds, and this step has only one", help);
        }
        if repeat.unwrap_or(1) > 1 && with.is_some() {
            let help = "repeat the step before, or leave 'with' out";
            self.d.at(&at.key("repeat"), "only the first round could overlap with the previous step", help);
        }
    }

    fn with_previous(&mut self, with: Option<Previous>, at: &Place) {
        let fault = match &self.previous {
            None => false,
            // What is wrong with it has been told.
            Some(None) => true,
            Some(Some(step)) => matches!(step.act, Act::Fault(_) | Act::Together(_)),
        };
        if with.is_some() && !fault {
            self.d.at(
                at,
                "there is no previous fault here",
                "leave 'with' out; or let the step before make a fault, which this one then overlaps",
            );
        }
    }

    /// What a majority loses nothing brings back.
    fn leaves_data(&mut self, act: &FaultAct, at: &Place) {
        let (all, taken) = (self.limits.number_of(act.target.class), takes(&act.target, self.limits));
        if act.kind.loses_data() && taken > all.saturating_sub(1) / 2 {
            let message =
                format!("{} of {taken} of {all} nodes: what a majority has lost, nothing brings back", act.kind);
            self.d.at(at, message, "aim at a minority of them");
        }
    }

    /// A fault, its target and `for`, of a step or of a storm.
    pub fn fault(&mut self, named: Named<'_>, held_for: Option<&Time>, at: &Place) -> Option<FaultAct> {
        let kind = self.kind(&named, at)?;
        let has_previous = self.previous.is_some();
        let target = read_target(named.target, &at.key("target"), self.limits, has_previous, self.d)?;
        if !kind.targets().contains(&target.class) {
            let targets = kind.targets();
            let names: Vec<&str> = targets.iter().map(|class| class.row().word).collect();
            let names = if names.is_empty() { vec!["nothing: no part speaks with all of them"] } else { names };
            let message = format!("{kind} can't be done to a {}", target.class);
            let help = format!("{}; allowed: {}", kind.why_not(target.class), names.join(", "));
            self.d.at(&at.key("target"), message, help);
        }
        if let FaultKind::Partition { shape } = kind {
            self.splits(shape, &target, &at.key("target"));
        }
        if held_for.is_some() && !is_held(kind, target.class) {
            let help = match kind {
                FaultKind::Tamper { .. } => "the system itself heals what was damaged; leave 'for' out",
                _ => "the system itself brings a killed node back; leave 'for' out, or use fault = \"pause\"",
            };
            let message = format!("{kind} of a {} can't have 'for': nothing is held", target.class);
            self.d.at(&at.key("for"), message, help);
        }
        let act = FaultAct { kind, target, for_ms: held_for.map(|time| time.0) };
        self.leaves_data(&act, &at.key("target"));
        Some(act)
    }

    fn expect(&mut self, events: &Items<Event>, act: &FaultAct, at: &Place) -> Vec<Event> {
        let FaultAct { kind, target, for_ms } = *act;
        let possible = possible(kind, target);
        for (index, event) in events.iter().enumerate() {
            let Some(event) = *event else {
                continue;
            };
            let at = at.item(index);
            if !possible.contains(&event) {
                let names: Vec<&str> = possible.iter().map(|event| event.as_str()).collect();
                let causes =
                    if names.is_empty() { "no event: leave 'expect' out".to_owned() } else { names.join(", ") };
                let by_number = matches!(target.role, Role::Slot(_) | Role::Number(_));
                let hint = if by_number { "; whether a number leads isn't known: aim at the role instead" } else { "" };
                let message = format!("{kind} of {target} doesn't cause '{event}' for certain");
                self.d.at(&at, message, format!("it causes {causes}{hint}"));
            } else if let (Some(for_ms), Some((floor, why))) = (for_ms, floor_ms(kind, event, self.limits))
                && for_ms < floor
            {
                let message = format!("'{event}' can't come within 'for' = {}: {why}", format_ms(for_ms));
                let help = format!(
                    "hold it longer than {}, or leave 'for' out to hold it until the failover has converged",
                    format_ms(floor)
                );
                self.d.at(&at, message, help);
            }
        }
        events.iter().flatten().copied().collect()
    }

    /// How long invariants may be broken before the scenario ends.
    pub fn abort_if(&mut self, keys: &BTreeMap<String, Time>, at: &Place) -> Vec<AbortIf> {
        let limit = |(key, time): (&String, &Time)| {
            Some(AbortIf { invariant: self.named(key, &at.key(key))?, longer_than_ms: time.0 })
        };
        keys.iter().filter_map(limit).collect()
    }

    /// The invariant of this name.
    fn named(&mut self, name: &str, at: &Place) -> Option<Name> {
        let own = self.own.iter().map(|own| own.name);
        let known: Vec<Name> = Name::ALL.into_iter().chain(own).collect();
        let found = known.iter().find(|known| known.as_str() == name).copied();
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|known| known.as_str()).collect();
            self.d.unknown_at(at, "invariant", name, &names);
        }
        found
    }

    /// The invariant that a bound is about; inside: none for `all`.
    fn bounded(&mut self, name: &str, at: &Place) -> Option<Option<Name>> {
        if name == "all" { Some(None) } else { self.named(name, at).map(Some) }
    }

    fn meanwhile(&mut self, keys: &MeanwhileKeys, act: &FaultAct, at: &Place) -> Vec<Meanwhile> {
        if !is_held(act.kind, act.target.class) {
            let help = "bound what it may break with 'recovered'";
            self.d.at(at, "this fault isn't held, so there is no 'meanwhile'", help);
        }
        let wanted = |(key, state): (&String, &Condition)| {
            Some(Meanwhile { invariant: self.named(key, &at.key(key))?, state: *state })
        };
        keys.0.iter().filter_map(wanted).collect()
    }

    fn recovered(&mut self, keys: &RecoveredKeys, act: &FaultAct, at: &Place) -> Vec<Bound> {
        let mut bounds = vec![];
        for (key, time) in &keys.failover {
            let Some(invariant) = self.bounded(key, &at.key(key)) else {
                continue;
            };
            let bound = Bound { invariant, clock: RecoveryClock::Failover, within_ms: time.0 };
            self.within_hold(&bound, act, &at.key(key));
            self.above_floor(&bound, act, &at.key(key));
            bounds.push(bound);
        }
        if keys.rejoin.is_some() && !is_held(act.kind, act.target.class) {
            let help = "bounds outside of 'rejoin' count from the injection";
            self.d.at(&at.key("rejoin"), "this fault has no undo, so nothing rejoins", help);
        }
        for (key, time) in keys.rejoin.iter().flatten() {
            let invariant = self.bounded(key, &at.key("rejoin").key(key));
            let bound = |invariant| Bound { invariant, clock: RecoveryClock::Rejoin, within_ms: time.0 };
            bounds.extend(invariant.map(bound));
        }
        bounds
    }

    /// The undo ends the failover's clock: a bound that lies beyond it would never be judged.
    fn within_hold(&mut self, bound: &Bound, act: &FaultAct, at: &Place) {
        if !is_held(act.kind, act.target.class) {
            return;
        }
        let hold_ms = act.for_ms.unwrap_or(HOLD_MAX_MS);
        if bound.within_ms >= hold_ms {
            let message = format!(
                "{} can't be judged: the fault is undone after {}, which ends this clock",
                format_ms(bound.within_ms),
                format_ms(hold_ms)
            );
            let help =
                "give a smaller bound, hold the fault longer with 'for', or bound 'rejoin', which counts from the undo";
            self.d.at(at, message, help);
        }
    }

    /// A bound that physics won't meet is allowed, and probably not meant.
    fn above_floor(&mut self, bound: &Bound, act: &FaultAct, at: &Place) {
        let floor = |name| recovery_floor_ms(act.kind, act.target, name, self.limits);
        let floors = match bound.invariant {
            Some(name) => floor(name),
            None => Name::ALL.into_iter().filter_map(floor).max_by_key(|(ms, _)| *ms),
        };
        if let Some((ms, why)) = floors
            && bound.within_ms <= ms
        {
            let message = format!("{} is hardly possible: {why}", format_ms(bound.within_ms));
            self.d.warn(at, message, format!("expect more than {}", format_ms(ms)));
        }
    }
}

/// A fault as files name it, with all that is asked of it.
#[derive(Debug, Clone, Copy)]
struct Asked<'k> {
    named: Named<'k>,
    held_for: Option<&'k Time>,
    expect: &'k Items<Event>,
    meanwhile: Option<&'k MeanwhileKeys>,
    recovered: Option<&'k RecoveredKeys>,
}

fn asked_of(keys: &TogetherFault) -> Asked<'_> {
    Asked {
        named: Named::from(keys),
        held_for: keys.r#for.as_ref(),
        expect: &keys.expect,
        meanwhile: keys.meanwhile.as_ref(),
        recovered: keys.recovered.as_ref(),
    }
}

fn step_of(act: Act, wait: Option<&Time>) -> Step {
    Step {
        with_previous: false,
        wait_ms: wait.map_or(0, |time| time.0),
        resolve_within_ms: RESOLVE_WITHIN_MS,
        when: None,
        repeat: 1,
        every_ms: None,
        act,
        expect: vec![],
        meanwhile: vec![],
        recovered: vec![],
    }
}

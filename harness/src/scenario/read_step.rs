//! Reading one step of a scenario file.

use toml::Spanned;
use toml::de::DeValue;

use super::diagnose::Diagnosis;
use super::duration::format_ms;
use super::event::Event;
use super::fields::{Fields, Value, choice, kind, list, ms, number, text};
use super::physics::{floor_ms, is_held, possible};
use super::plan::HOLD_MAX_MS;
use super::read_target::read_target;
use super::{Act, Bound, Cluster, Condition, FaultAct, Meanwhile, RecoveryClock, Step, Storm, StormFault, duration};
use crate::fault::{FaultKind, Peers, words};
use crate::invariant::Name;

const CONDITIONS: [(&str, Condition); 2] = [("holds", Condition::Holds), ("degraded", Condition::Degraded)];
const FAULT_KEYS: [&str; 9] = ["fault", "target", "from", "for", "with", "wait", "expect", "meanwhile", "recovered"];
const ALL_KEYS: [&str; 11] =
    ["fault", "target", "from", "for", "with", "wait", "expect", "meanwhile", "recovered", "storm", "watch"];

/// Reads a `[[step]]`.
pub(super) fn read_step(
    item: &Value<'_>,
    cluster: &Cluster,
    previous: Option<&Step>,
    d: &mut Diagnosis<'_>,
) -> Option<Step> {
    let DeValue::Table(table) = item.get_ref() else {
        d.mistake(item.span(), format!("a step must be a table, found {}", kind(item.get_ref())), None);
        return None;
    };
    let has = |key: &str| table.contains_key(key);
    let (allowed, what): (&[&str], &str) = match (has("fault"), has("storm"), has("watch")) {
        (true, false, false) => (&FAULT_KEYS, "a fault's step"),
        (false, true, false) => (&["storm", "wait"], "a storm's step"),
        (false, false, true) => (&["watch", "wait"], "a watching step"),
        _ => (&ALL_KEYS, "a step"),
    };
    let fields = Fields::of(table, item.span(), what, allowed, d);
    let wait_ms = fields.ms("wait", d).unwrap_or(0);
    let step = |act| Step { with_previous: false, wait_ms, act, expect: vec![], meanwhile: vec![], recovered: vec![] };
    match what {
        "a fault's step" => read_fault_step(&fields, cluster, previous, step, d),
        "a storm's step" => read_storm(fields.get("storm")?, cluster, d).map(|storm| step(Act::Storm(storm))),
        "a watching step" => fields.ms("watch", d).map(|for_ms| step(Act::Watch { for_ms })),
        _ => {
            let at = item.span().start;
            d.mistake(
                at..at + 1,
                "a step does exactly one thing",
                "one of: fault = \"kill\" with a target, storm = { … }, watch = \"60s\"".to_owned(),
            );
            None
        }
    }
}

fn read_fault_step(
    fields: &Fields<'_, '_>,
    cluster: &Cluster,
    previous: Option<&Step>,
    step: impl Fn(Act) -> Step,
    d: &mut Diagnosis<'_>,
) -> Option<Step> {
    let with_previous = fields.get("with").is_some_and(|value| read_with(value, previous, d));
    let act = read_fault(fields, cluster, d);
    let expect = fields.get("expect").map(|value| read_expect(value, act.as_ref(), d)).unwrap_or_default();
    let recovered = fields.get("recovered").map(|value| read_recovered(value, act.as_ref(), d)).unwrap_or_default();
    let meanwhile = fields.get("meanwhile").map(|value| read_meanwhile(value, act.as_ref(), d)).unwrap_or_default();
    Some(Step { with_previous, expect, meanwhile, recovered, ..step(Act::Fault(act?)) })
}

fn read_with(value: &Value<'_>, previous: Option<&Step>, d: &mut Diagnosis<'_>) -> bool {
    let with = choice(value, "value of 'with'", &[("previous", true)], d).unwrap_or(false);
    let held = matches!(previous, Some(Step { act: Act::Fault(act), .. }) if is_held(act.kind, act.target.class));
    if with && !held {
        d.mistake(
            value.span(),
            "there is no previous fault that is still held here",
            "the step before must be a fault that the testbed holds and undoes: any but kill of a node".to_owned(),
        );
    }
    with && held
}

/// `fault`, `target`, `from` and `for`, of a step or of a storm.
fn read_fault(fields: &Fields<'_, '_>, cluster: &Cluster, d: &mut Diagnosis<'_>) -> Option<FaultAct> {
    let kind = fields
        .need(
            "fault",
            &format!("fault = \"{}\"", words::FAULTS.iter().map(|row| row.word).collect::<Vec<_>>().join("\", \"")),
            d,
        )
        .and_then(|value| {
            choice(value, "fault", &words::FAULTS.iter().map(|row| (row.word, row.kind)).collect::<Vec<_>>(), d)
        });
    let kind = kind.and_then(|kind| read_from(fields, kind, d));
    let target =
        fields.need("target", "target = { node = \"leader\" }", d).and_then(|value| read_target(value, cluster, d));
    let for_ms = fields.ms("for", d);
    let (kind, target) = (kind?, target?);
    if !kind.targets().contains(&target.class) {
        let names: Vec<String> = kind.targets().iter().map(ToString::to_string).collect();
        let at = fields.get("target").map_or(fields.at.clone(), Spanned::span);
        let allowed = format!("{}; allowed: {}", kind.why_not(target.class), names.join(", "));
        d.mistake(at, format!("{kind} can't be done to a {}", target.class), allowed);
    }
    if let Some(value) = fields.get("for")
        && !is_held(kind, target.class)
    {
        d.mistake(
            value.span(),
            format!("{kind} of a {} can't have 'for': nothing is held", target.class),
            "the system itself brings a killed node back; leave 'for' out, or use fault = \"pause\"".to_owned(),
        );
    }
    Some(FaultAct { kind, target, for_ms })
}

/// `from`: whom an isolated machine can't reach; everyone when absent.
fn read_from(fields: &Fields<'_, '_>, kind: FaultKind, d: &mut Diagnosis<'_>) -> Option<FaultKind> {
    let Some(value) = fields.get("from") else {
        return Some(kind);
    };
    if !matches!(kind, FaultKind::Isolate { .. }) {
        d.mistake(value.span(), format!("{kind} has no 'from'"), "only fault = \"isolate\" says from whom".to_owned());
        return None;
    }
    let peers: Vec<(&str, Peers)> = words::PEERS.iter().map(|row| (row.word, row.peers)).collect();
    choice(value, "value of 'from'", &peers, d).map(FaultKind::isolate)
}

fn read_meanwhile(value: &Value<'_>, act: Option<&FaultAct>, d: &mut Diagnosis<'_>) -> Vec<Meanwhile> {
    let names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    if act.is_some_and(|act| !is_held(act.kind, act.target.class)) {
        d.mistake(
            value.span(),
            "this fault isn't held, so there is no 'meanwhile'",
            "bound what it may break with 'recovered'".to_owned(),
        );
    }
    let Some(fields) = Fields::in_value(value, "meanwhile", &names, d) else {
        return vec![];
    };
    let mut all = vec![];
    for (key, _, value) in fields.entries() {
        let invariant = Name::ALL.into_iter().find(|name| name.as_str() == key);
        if let (Some(invariant), Some(state)) = (invariant, choice(value, &format!("value of '{key}'"), &CONDITIONS, d))
        {
            all.push(Meanwhile { invariant, state });
        }
    }
    all
}

fn read_expect(value: &Value<'_>, act: Option<&FaultAct>, d: &mut Diagnosis<'_>) -> Vec<Event> {
    let known = Event::ALL.map(|event| (event.as_str(), event));
    let mut events = vec![];
    for item in list(value, "expect", d).unwrap_or_default() {
        let Some(event) = choice(item, "event", &known, d) else {
            continue;
        };
        events.push(event);
        let Some(FaultAct { kind, target, for_ms }) = act else {
            continue;
        };
        let possible = possible(*kind, *target);
        let (floor, why) = floor_ms(*kind, event);
        if !possible.contains(&event) {
            let names: Vec<&str> = possible.iter().map(|event| event.as_str()).collect();
            let allowed = if names.is_empty() { "no event: leave 'expect' out".to_owned() } else { names.join(", ") };
            d.mistake(
                item.span(),
                format!("{kind} of {target} doesn't cause '{event}' for certain"),
                format!("it causes {allowed}"),
            );
        } else if for_ms.is_some_and(|ms| ms < floor) {
            d.mistake(
                item.span(),
                format!("'{event}' can't come within 'for' = {}: {why}", format_ms(for_ms.unwrap_or(0))),
                format!(
                    "hold it longer than {}, or leave 'for' out to hold it until the failover has converged",
                    format_ms(floor)
                ),
            );
        }
    }
    events
}

fn read_recovered(value: &Value<'_>, act: Option<&FaultAct>, d: &mut Diagnosis<'_>) -> Vec<Bound> {
    let names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).chain(["all"]).collect();
    let with_rejoin: Vec<&str> = names.iter().copied().chain(["rejoin"]).collect();
    let mut bounds = vec![];
    let Some(fields) = Fields::in_value(value, "recovered", &with_rejoin, d) else {
        return bounds;
    };
    for (key, _, value) in fields.entries() {
        if key == "rejoin" {
            if act.is_some_and(|act| !is_held(act.kind, act.target.class)) {
                d.mistake(
                    value.span(),
                    "this fault has no undo, so nothing rejoins",
                    "bounds outside of 'rejoin' count from the injection".to_owned(),
                );
            }
            if let Some(inner) = Fields::in_value(value, "rejoin", &names, d) {
                for (key, _, value) in inner.entries() {
                    bounds.extend(read_bound(key, RecoveryClock::Rejoin, value, d));
                }
            }
        } else if let Some(bound) = read_bound(key, RecoveryClock::Failover, value, d) {
            refuse_beyond_hold(&bound, act, value, d);
            bounds.push(bound);
        }
    }
    bounds
}

/// The undo ends the failover's clock: a bound that lies beyond it would never be judged.
fn refuse_beyond_hold(bound: &Bound, act: Option<&FaultAct>, value: &Value<'_>, d: &mut Diagnosis<'_>) {
    let Some(act) = act.filter(|act| is_held(act.kind, act.target.class)) else {
        return;
    };
    let hold_ms = act.for_ms.unwrap_or(HOLD_MAX_MS);
    if bound.within_ms >= hold_ms {
        d.mistake(
            value.span(),
            format!(
                "{} can't be judged: the fault is undone after {}, which ends this clock",
                format_ms(bound.within_ms),
                format_ms(hold_ms)
            ),
            "give a smaller bound, hold the fault longer with 'for', or bound 'rejoin', which counts from the undo"
                .to_owned(),
        );
    }
}

fn read_bound(key: &str, clock: RecoveryClock, value: &Value<'_>, d: &mut Diagnosis<'_>) -> Option<Bound> {
    let invariant = Name::ALL.into_iter().find(|name| name.as_str() == key);
    if invariant.is_none() && key != "all" {
        return None;
    }
    Some(Bound { invariant, clock, within_ms: ms(value, key, d)? })
}

fn read_storm(value: &Value<'_>, cluster: &Cluster, d: &mut Diagnosis<'_>) -> Option<Storm> {
    let fields = Fields::in_value(value, "a storm", &["for", "every", "seed", "faults"], d)?;
    let for_ms = fields.need("for", "for = \"60s\"", d).and_then(|value| ms(value, "for", d));
    let every = fields.need("every", "every = \"2s..8s\"", d).and_then(|value| read_every(value, d));
    let seed = fields.get("seed").and_then(|value| number(value, "seed", 0, u64::MAX, d));
    let mut faults = vec![];
    let items = fields
        .need("faults", "faults = [ { fault = \"kill\", target = { node = \"any\" } } ]", d)
        .and_then(|value| list(value, "faults", d).map(|items| (value, items)));
    if let Some((value, items)) = items {
        if items.is_empty() {
            d.mistake(value.span(), "a storm without faults is no storm", "list at least one fault".to_owned());
        }
        for item in items {
            let keys = ["fault", "target", "from", "for", "weight"];
            if let Some(fields) = Fields::in_value(item, "a storm's fault", &keys, d) {
                let weight = fields.get("weight").map_or(Some(1), |value| number(value, "weight", 1, 1_000, d));
                let act = read_fault(&fields, cluster, d);
                if let (Some(act), Some(weight)) = (act, weight) {
                    let weight = u32::try_from(weight).unwrap_or(1);
                    faults.push(StormFault { act, weight });
                }
            }
        }
    }
    let (every_min_ms, every_max_ms) = every?;
    if let Some(for_ms) = for_ms
        && for_ms < every_max_ms
    {
        d.mistake(
            fields.get("for")?.span(),
            format!("a storm of {} may end before its first fault", format_ms(for_ms)),
            format!("the first fault comes up to {} after its begin: let it last longer", format_ms(every_max_ms)),
        );
    }
    Some(Storm { for_ms: for_ms?, every_min_ms, every_max_ms, seed, faults })
}

fn read_every(value: &Value<'_>, d: &mut Diagnosis<'_>) -> Option<(u64, u64)> {
    let every = text(value, "every", d)?;
    let range = duration::parse_range_ms(every)
        .and_then(|range| if range.0 == 0 { Err("faults need some time between them".to_owned()) } else { Ok(range) });
    match range {
        Ok(range) => Some(range),
        Err(why) => {
            d.mistake(
                value.span(),
                format!("every: {why}"),
                "a range of times such as \"2s..8s\", or one time".to_owned(),
            );
            None
        }
    }
}

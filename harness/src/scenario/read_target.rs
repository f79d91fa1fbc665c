//! The meaning of a target: one kind of part, and whom of it.

use serde_json::Value;

use super::file::TargetKeys;
use super::physics::Limits;
use super::values::Share;
use crate::document::diagnose::Diagnosis;
use crate::document::place::Place;
use crate::fault::words::{CLASSES, Numbers};
use crate::fault::{Pick, Role, Target, TargetClass};

/// The target that these keys mean. `has_previous`: some step before this one makes a fault.
pub(super) fn read_target(
    keys: &TargetKeys,
    at: &Place,
    limits: &Limits,
    has_previous: bool,
    d: &mut Diagnosis<'_>,
) -> Option<Target> {
    let keys = &keys.0;
    let beside = keys.contains_key("same-host-as");
    if beside && !has_previous {
        d.at(
            &at.key("same-host-as"),
            "there is no previous step whose victim could be on a host",
            "the step before must make a fault; or name a host: { host = \"of-leader\" }",
        );
    }
    let Some(row) = CLASSES.iter().find(|row| keys.contains_key(row.word)) else {
        return Some(Target { beside, ..Target::new(TargetClass::Host, Role::Any) });
    };
    let number = |value: &Value| value.as_u64();
    let role = match (row.numbers, &keys[row.word]) {
        (Numbers::Slots, value) if value.is_u64() => {
            let slot = number(value)?;
            if slot >= u64::from(limits.nodes) {
                let last = limits.nodes.saturating_sub(1);
                let message = format!("there is no slot {slot}: the cluster has {} nodes", limits.nodes);
                d.at(&at.key(row.word), message, format!("slots from 0 to {last}; or change 'nodes' in [cluster]"));
            }
            Role::Slot(u32::try_from(slot).ok()?)
        }
        (Numbers::Hosts, value) if value.is_u64() => {
            let host = number(value)?;
            if host > u64::from(limits.hosts) {
                let message = format!("there is no host {host}: the topology has {} hosts", limits.hosts);
                d.at(
                    &at.key(row.word),
                    message,
                    format!("hosts from 1 to {}; 'hosts' of a --config changes that", limits.hosts),
                );
            }
            Role::Number(u8::try_from(host).ok()?)
        }
        (_, value) => row.roles.iter().find(|role| Some(role.word) == value.as_str())?.role,
    };
    let pick = read_pick(keys, at, role, d);
    let target = Target { class: row.class, role, pick, beside };
    if let Some(Pick::Count(count)) = pick {
        let most = holders(&target, limits);
        if u32::from(count) > most {
            let message =
                format!("{count} are wanted, and there can be only {most}: {} {}", row.word, role.word(row.class));
            d.at(&at.key("count"), message, format!("from 1 to {most}"));
        }
    }
    Some(target)
}

fn read_pick(keys: &serde_json::Map<String, Value>, at: &Place, role: Role, d: &mut Diagnosis<'_>) -> Option<Pick> {
    let count = keys.get("count").and_then(Value::as_u64).and_then(|count| u16::try_from(count).ok());
    let share = keys.get("share").and_then(Value::as_str).and_then(|text| Share::try_from(text.to_owned()).ok());
    let pick = match (count, share) {
        (Some(_), Some(_)) => {
            d.at(&at.key("share"), "'count' and 'share' both say how many", "leave one of them out");
            return None;
        }
        (Some(count), None) => Pick::Count(count),
        (None, Some(share)) => Pick::Percent(share.0),
        (None, None) => return None,
    };
    let alone = match role {
        Role::Slot(_) | Role::Number(_) => "a number names one alone",
        Role::All | Role::Minority | Role::Majority | Role::MinorityWithLeader => "this role says itself how many",
        Role::Leader | Role::OfLeader => "there is only one of this role",
        Role::Follower | Role::Any | Role::NotOfLeader => return Some(pick),
    };
    let key = if count.is_some() { "count" } else { "share" };
    d.at(&at.key(key), format!("'{key}' can't stand here: {alone}"), format!("leave '{key}' out, or aim at \"any\""));
    None
}

/// How many can hold a role at most.
pub(super) fn holders(target: &Target, limits: &Limits) -> u32 {
    let all = limits.number_of(target.class);
    match target.role {
        Role::Follower | Role::NotOfLeader => all.saturating_sub(1),
        _ => all,
    }
}

/// How many a target takes, at most.
pub(super) fn takes(target: &Target, limits: &Limits) -> u32 {
    let all = limits.number_of(target.class);
    match (target.pick, target.role) {
        (Some(Pick::Count(count)), _) => count.into(),
        (Some(Pick::Percent(percent)), _) => (holders(target, limits) * u32::from(percent)).div_ceil(100),
        (None, Role::All) => all,
        (None, Role::Majority) => all / 2 + 1,
        (None, Role::Minority | Role::MinorityWithLeader) => (all.saturating_sub(1) / 2).max(1),
        (None, _) => 1,
    }
}

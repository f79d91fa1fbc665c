//! Reading a target: one kind of part, and whom of it.

use toml::de::DeValue;

use super::Cluster;
use super::diagnose::Diagnosis;
use super::fields::{Fields, Value, choice, number};
use crate::fault::{Role, Target, TargetClass};

const CLASSES: [TargetClass; 6] = [
    TargetClass::Node,
    TargetClass::MesosMaster,
    TargetClass::MesosAgent,
    TargetClass::ZooKeeper,
    TargetClass::Framework,
    TargetClass::Host,
];
/// As many hosts as a topology can have.
const HOSTS_MAX: u64 = 9;

/// Roles of a kind of part.
fn roles(class: TargetClass) -> &'static [Role] {
    use Role::{Any, Follower, Leader, Majority, Minority, MinorityWithLeader, NotOfLeader, OfLeader};
    match class {
        TargetClass::Node => &[Leader, Follower, Any, Minority, MinorityWithLeader],
        TargetClass::MesosMaster | TargetClass::Framework => &[Leader, Follower, Any],
        TargetClass::ZooKeeper => &[Leader, Follower, Any, Minority, Majority],
        TargetClass::MesosAgent | TargetClass::Host => &[OfLeader, NotOfLeader, Any],
    }
}

/// Reads `{ node = "leader" }`.
pub(super) fn read_target(value: &Value<'_>, cluster: &Cluster, d: &mut Diagnosis<'_>) -> Option<Target> {
    let names = CLASSES.map(|class| class.to_string());
    let fields = Fields::in_value(value, "a target", &names.each_ref().map(String::as_str), d)?;
    let mut entries = fields.entries();
    let (Some((key, _, role)), None) = (entries.next(), entries.next()) else {
        d.mistake(value.span(), "a target names exactly one kind of part", "target = { node = \"leader\" }".to_owned());
        return None;
    };
    let class = CLASSES.into_iter().find(|class| class.to_string() == key)?;
    if matches!(role.get_ref(), DeValue::Integer(_)) {
        match class {
            TargetClass::Node => {
                let most = u64::from(cluster.nodes.unwrap_or(u32::from(u16::MAX)).max(1)) - 1;
                let slot = number(role, "a slot", 0, most, d)?;
                return Some(Target { class, role: Role::Slot(u32::try_from(slot).ok()?) });
            }
            TargetClass::Host | TargetClass::MesosAgent => {
                let host = number(role, "a host's number", 1, HOSTS_MAX, d)?;
                return Some(Target { class, role: Role::Number(u8::try_from(host).ok()?) });
            }
            _ => {}
        }
    }
    let words: Vec<(String, Role)> = roles(class).iter().map(|role| (role.word(class), *role)).collect();
    let words: Vec<(&str, Role)> = words.iter().map(|(word, role)| (word.as_str(), *role)).collect();
    choice(role, &format!("role of a {key}"), &words, d).map(|role| Target { class, role })
}

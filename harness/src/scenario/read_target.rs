//! Reading a target: one kind of part, and whom of it.

use toml::de::DeValue;

use super::Cluster;
use super::diagnose::Diagnosis;
use super::fields::{Fields, Value, choice, number};
use crate::fault::words::{CLASSES, Numbers};
use crate::fault::{Role, Target};

/// As many hosts as a topology can have.
const HOSTS_MAX: u64 = 9;

/// Reads `{ node = "leader" }`.
pub(super) fn read_target(value: &Value<'_>, cluster: &Cluster, d: &mut Diagnosis<'_>) -> Option<Target> {
    let names: Vec<&str> = CLASSES.iter().map(|row| row.word).collect();
    let fields = Fields::in_value(value, "a target", &names, d)?;
    let mut entries = fields.entries();
    let (Some((key, _, role)), None) = (entries.next(), entries.next()) else {
        d.mistake(value.span(), "a target names exactly one kind of part", "target = { node = \"leader\" }".to_owned());
        return None;
    };
    let row = CLASSES.iter().find(|row| row.word == key)?;
    let class = row.class;
    if matches!(role.get_ref(), DeValue::Integer(_)) {
        match row.numbers {
            Numbers::Slots => {
                let most = u64::from(cluster.nodes.unwrap_or(u32::from(u16::MAX)).max(1)) - 1;
                let slot = number(role, "a slot", 0, most, d)?;
                return Some(Target::new(class, Role::Slot(u32::try_from(slot).ok()?)));
            }
            Numbers::Hosts => {
                let host = number(role, "a host's number", 1, HOSTS_MAX, d)?;
                return Some(Target::new(class, Role::Number(u8::try_from(host).ok()?)));
            }
            Numbers::None => {}
        }
    }
    let words: Vec<(&str, Role)> = row.roles.iter().map(|row| (row.word, row.role)).collect();
    choice(role, &format!("role of a {key}"), &words, d).map(|role| Target::new(class, role))
}

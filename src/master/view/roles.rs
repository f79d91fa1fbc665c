//! `/roles` and GET_ROLES.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::core::Master;
use crate::mesos::resources::Resources;
use crate::mesos::types::{FrameworkId, Resource, Scalar, ValueType};

/// The roles that somebody subscribes to or uses.
pub(super) fn known(master: &Master) -> BTreeSet<String> {
    let subscribed = master.frameworks.values().flat_map(|framework| framework.info.all_roles());
    let tasks = master.frameworks.values().flat_map(|framework| framework.tasks.values());
    let used = tasks.map(|task| task.role().to_owned());
    let offered = master.offers.values().map(|offered| offered.role.clone());
    subscribed.chain(used).chain(offered).collect()
}

/// Who subscribes to a role.
fn frameworks<'a>(master: &'a Master, role: &str) -> Vec<&'a FrameworkId> {
    let of = master.frameworks.iter().filter(|(_, framework)| framework.info.all_roles().iter().any(|r| r == role));
    of.map(|(id, _)| id).collect()
}

/// What a role uses, and what it is offered.
fn shares(master: &Master, role: &str) -> (Resources, Resources) {
    (master.used(|_, task| task.role() == role), master.offered(|offered| offered.role == role))
}

/// Body of `GET /roles`.
pub(super) fn v0(master: &Master) -> Value {
    let one = |role: &String| {
        let (used, offered) = shares(master, role);
        let mut all = used.clone();
        all.add(&offered);
        json!({
            "name": role,
            "weight": 1.0,
            "quota": { "role": role, "guarantee": {}, "limit": {}, "consumed": quantities(&used) },
            "resources": quantities(&all),
            "allocated": quantities(&used),
            "offered": quantities(&offered),
            "reserved": {},
            "frameworks": frameworks(master, role).iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        })
    };
    json!({ "roles": known(master).iter().map(one).collect::<Vec<_>>() })
}

/// Body of GET_ROLES.
pub(super) fn v1(master: &Master) -> Value {
    let one = |role: &String| {
        let (used, offered) = shares(master, role);
        let mut all = used;
        all.add(&offered);
        let mut scalars: Vec<_> =
            all.to_wire(None).into_iter().filter(|resource| resource.kind == ValueType::Scalar).collect();
        scalars.sort_by(|a, b| a.name.cmp(&b.name));
        json!({ "name": role, "weight": 1.0, "frameworks": frameworks(master, role), "resources": scalars })
    };
    json!({ "roles": known(master).iter().map(one).collect::<Vec<_>>() })
}

/// How much there is of each thing; ranges count their numbers.
fn quantities(resources: &Resources) -> Map<String, Value> {
    let mut sums = Map::new();
    for resource in resources.to_wire(None) {
        let sum = sums.get(&resource.name).and_then(Value::as_f64).unwrap_or_default() + quantity(&resource);
        sums.insert(resource.name, sum.into());
    }
    sums
}

#[expect(clippy::cast_precision_loss, reason = "counts of ports and items lie far below 2^53")]
fn quantity(resource: &Resource) -> f64 {
    let numbers = resource.ranges.iter().flat_map(|ranges| &ranges.range).map(|range| range.end - range.begin + 1);
    let items = resource.set.as_ref().map_or(0, |set| set.item.len());
    resource.scalar.map_or(0.0, |Scalar { value }| value) + numbers.sum::<u64>() as f64 + items as f64
}

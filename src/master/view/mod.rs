//! What operators are shown. Old endpoints speak of slaves and flat resources ([`v0`]), the v1 API of agents ([`v1`]).

mod metrics;
mod roles;
mod summary;
mod v0;
mod v1;

pub use metrics::metrics;
pub use v0::v0;
pub use v1::v1;

use serde_json::{Value, json};

use super::core::Master;
use super::core::model::{Offered, Task};
use crate::mesos::types::{FrameworkId, MESOS_VERSION, Resource};

/// Body of `GET /version`. Builds of ours don't say when they were made: they are the same whenever that was.
#[must_use]
pub fn version() -> Value {
    json!({
        "build_date": "1970-01-01 00:00:00",
        "build_time": 0.0,
        "build_user": env!("CARGO_PKG_NAME"),
        "git_sha": concat!(env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION")),
        "version": MESOS_VERSION,
    })
}

/// Capabilities that agents are said to have, as Mesos's agents of this version have them.
const AGENT_CAPABILITIES: &[&str] = &[
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
];

/// What some tasks use, as Mesos's old format has it: each part with the role that it is allocated to.
fn used(master: &Master, which: impl Fn(&FrameworkId, &Task) -> bool) -> Vec<Resource> {
    let of = |role: &String| {
        master.used(|owner, task| which(owner, task) && task.role() == role).to_wire_unrefined(Some(role.as_str()))
    };
    roles::known(master).iter().flat_map(of).collect()
}

/// What some offers hold, in the same format.
fn offered(master: &Master, which: impl Fn(&Offered) -> bool) -> Vec<Resource> {
    let of = |role: &String| {
        master.offered(|offered| which(offered) && offered.role == *role).to_wire_unrefined(Some(role.as_str()))
    };
    roles::known(master).iter().flat_map(of).collect()
}

/// Enters a list if there is something in it.
fn put_list(object: &mut Value, name: &str, list: impl serde::Serialize) {
    let list = json!(list);
    put(object, name, Some(list).filter(|list| list.as_array().is_some_and(|list| !list.is_empty())));
}

/// Enters a member if there is something.
fn put(object: &mut Value, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        object[name] = json!(value);
    }
}

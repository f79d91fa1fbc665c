//! What operators are shown. Old endpoints speak of slaves and flat resources ([`v0`]), the v1 API of agents ([`v1`]).

mod metrics;
mod v0;
mod v1;

pub use metrics::metrics;
pub use v0::v0;
pub use v1::v1;

use serde_json::{Value, json};

use crate::mesos::types::MESOS_VERSION;

/// Body of `GET /version`.
#[must_use]
pub fn version() -> Value {
    json!({ "version": MESOS_VERSION })
}

/// Capabilities that agents are said to have.
const AGENT_CAPABILITIES: &[&str] = &["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"];

/// Enters a member if there is something.
fn put(object: &mut Value, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        object[name] = json!(value);
    }
}

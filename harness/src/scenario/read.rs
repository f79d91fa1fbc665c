//! Reading a scenario file: TOML with places in, a [`Scenario`] or all mistakes out.

use serde_json::{Value, json};

use super::file::{GRAMMAR, ScenarioKeys, StepKeys};
use super::physics::Limits;
use super::read_invariant::read_invariant;
use super::read_step::Reader;
use super::{Cluster, Scenario};
use crate::document::diagnose::{Diagnosis, Mistake, Mistakes};
use crate::document::place::Place;
use crate::document::{self, typed};
use crate::invariant::own::Own;
use crate::topology::TopologyConfig;

/// A scenario that can run, and what is probably not meant.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The scenario.
    pub scenario: Scenario,
    /// Things that are allowed and can't come true, or look like mistakes; in the order of the file.
    pub warnings: Vec<Mistake>,
}

/// Reads a scenario file's text, for a topology of this configuration.
///
/// # Errors
/// All mistakes of the file at once, each with its place, what is allowed, and the nearest name.
pub fn read(file: &str, text: &str, config: &TopologyConfig) -> Result<Checked, Mistakes> {
    let (scenario, warnings) =
        document::read(file, text, "a scenario", &GRAMMAR, |right, d| scenario(right, &Limits::of(config), d))?;
    Ok(Checked { scenario, warnings })
}

/// The meaning of what is right of a file.
fn scenario(mut right: Value, limits: &Limits, d: &mut Diagnosis<'_>) -> Option<Scenario> {
    // What is missing has been told; the rest is to be looked at all the same.
    for (key, stand_in) in [("name", json!("unnamed")), ("step", json!([]))] {
        if right.get(key).is_none() {
            right[key] = stand_in;
        }
    }
    let root = Place::root();
    let keys: ScenarioKeys = typed(right, &root, d)?;
    let cluster =
        keys.cluster.map(|cluster| Cluster { nodes: cluster.nodes, prefix: cluster.prefix.map(|prefix| prefix.0) });
    let cluster = cluster.unwrap_or_default();
    let limits = Limits { nodes: cluster.nodes.unwrap_or(limits.nodes), ..limits.clone() };
    let mut invariants: Vec<Own> = vec![];
    for (index, keys) in keys.invariant.iter().enumerate() {
        let own =
            keys.as_ref().map(|keys| read_invariant(keys, &root.key("invariant").item(index), &invariants, &limits, d));
        invariants.extend(own);
    }
    let mut reader = Reader { limits: &limits, own: &invariants, previous: None, d };
    let abort_if = keys.abort_if.map(|keys| reader.abort_if(&keys.0, &root.key("abort-if"))).unwrap_or_default();
    let mut steps = vec![];
    for (index, step) in keys.step.iter().enumerate() {
        let at = root.key("step").item(index);
        let read = step.as_ref().and_then(|step: &StepKeys| reader.step(step, &at));
        reader.previous = Some(read.clone());
        steps.extend(read);
    }
    Some(Scenario { name: keys.name.0, about: keys.about.unwrap_or_default(), cluster, abort_if, invariants, steps })
}

//! Reading a scenario file: TOML with places in, a [`Scenario`] or all mistakes out.

use toml::de::DeTable;

use super::diagnose::{Diagnosis, Mistakes};
use super::fields::{Fields, Value, list, number, text};
use super::{Cluster, Scenario};

/// What etcd's members can be: with fewer than three none may be lost, and more than nine only slow it down.
const NODES: (u64, u64) = (1, 9);

/// Reads a scenario file's text.
///
/// # Errors
/// All mistakes of the file at once, each with its place, what is allowed, and the nearest name.
pub fn read(file_name: &str, source: &str) -> Result<Scenario, Mistakes> {
    let mut d = Diagnosis::of(file_name, source);
    let (root, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        d.mistake(error.span().unwrap_or(0..0), format!("this is not TOML: {}", error.message()), None);
    }
    if !d.clean() {
        return d.finish(None);
    }
    let allowed = ["name", "about", "cluster", "step"];
    let root = Fields::of(root.get_ref(), root.span(), "a scenario", &allowed, &mut d);
    let name = root.need("name", "name = \"leader-loss\"", &mut d).and_then(|value| scenario_name(value, &mut d));
    let about = root.get("about").and_then(|value| text(value, "about", &mut d));
    let cluster = root.get("cluster").map(|value| read_cluster(value, &mut d)).unwrap_or_default();
    let mut steps = vec![];
    let items = root
        .need("step", "a scenario is a list of [[step]]s; add one, for example: [[step]] watch = \"60s\"", &mut d)
        .and_then(|value| list(value, "step", &mut d).map(|items| (value, items)));
    if let Some((value, items)) = items {
        if items.is_empty() {
            d.mistake(value.span(), "the list of steps is empty", "a scenario has at least one [[step]]".to_owned());
        }
        for item in items {
            if let Some(step) = super::read_step::read_step(item, &cluster, steps.last(), &mut d) {
                steps.push(step);
            }
        }
    }
    let scenario = name.map(|name| Scenario { name, about: about.unwrap_or_default().to_owned(), cluster, steps });
    d.finish(scenario)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn scenario_name(value: &Value<'_>, d: &mut Diagnosis<'_>) -> Option<String> {
    let name = text(value, "name", d)?;
    if !is_name(name) {
        d.mistake(
            value.span(),
            format!("'{name}' can't be a scenario's name"),
            "small letters, digits and dashes, a letter first: it becomes part of file names".to_owned(),
        );
        return None;
    }
    Some(name.to_owned())
}

fn read_cluster(value: &Value<'_>, d: &mut Diagnosis<'_>) -> Cluster {
    let Some(fields) = Fields::in_value(value, "[cluster]", &["nodes", "prefix"], d) else {
        return Cluster::default();
    };
    let nodes = fields
        .get("nodes")
        .and_then(|value| number(value, "nodes", NODES.0, NODES.1, d))
        .and_then(|nodes| u32::try_from(nodes).ok());
    let prefix = fields.get("prefix").and_then(|value| {
        let prefix = text(value, "prefix", d)?;
        if !is_name(prefix) {
            d.mistake(
                value.span(),
                format!("'{prefix}' can't begin host names"),
                "small letters, digits and dashes, a letter first".to_owned(),
            );
        }
        Some(prefix.to_owned())
    });
    Cluster { nodes, prefix }
}

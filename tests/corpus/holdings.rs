//! What tasks hold, as requests and streams tell: from the ACCEPT that launches one to the update that ends it.
//!
//! Mesos promises that an offer holds what its agent has free, and that rounds of offers come once a second. It does not promise
//! how fast a container starts and ends. So where a task has ended before a round in the recording and after it here, or the
//! other way round, that round's offer differs by what this task holds: by exactly that, and by nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// States after which a task holds nothing.
const TERMINAL: &[&str] = &[
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
];

/// A task that was launched.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    id: String,
    agent: String,
    resources: Vec<Value>,
}

/// What changes who holds what.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A request launches a task.
    Launched(Task),
    /// An update says that the task of this id has ended.
    Ended(String),
}

impl Change {
    /// The launches of a request's body, without placeholders.
    pub fn of_request(body: &Value) -> Vec<Self> {
        let operations = body["accept"]["operations"].as_array().into_iter().flatten();
        let tasks = operations.filter_map(|operation| operation["launch"]["task_infos"].as_array()).flatten();
        let launched = |task: &Value| {
            Self::Launched(Task {
                id: text(&task["task_id"]["value"]),
                agent: text(&task["agent_id"]["value"]),
                resources: task["resources"].as_array().cloned().unwrap_or_default(),
            })
        };
        tasks.map(launched).collect()
    }

    /// The end that an event tells of, if it does.
    pub fn of_event(event: &Value) -> Option<Self> {
        let status = &event["update"]["status"];
        let ended = TERMINAL.iter().any(|state| status["state"] == *state);
        ended.then(|| Self::Ended(text(&status["task_id"]["value"])))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The tasks launched until some moment, and whether each still holds its resources.
#[derive(Debug, Default)]
pub struct Holdings(BTreeMap<String, (Task, bool)>);

impl FromIterator<Change> for Holdings {
    fn from_iter<T: IntoIterator<Item = Change>>(changes: T) -> Self {
        let mut tasks = BTreeMap::new();
        for change in changes {
            match change {
                Change::Launched(task) => {
                    tasks.insert(task.id.clone(), (task, true));
                }
                Change::Ended(id) => {
                    tasks.entry(id).and_modify(|(_, holds)| *holds = false);
                }
            }
        }
        Self(tasks)
    }
}

/// A recorded offer as it has to be where tasks ended on the other side of its round. Tasks that were launched on one side only
/// change nothing: when something is launched is the client's choice.
pub fn shifted(offer: &Value, agent: &str, recorded: &Holdings, here: &Holdings) -> Value {
    let mut shifted = offer.clone();
    for (id, (task, held)) in recorded.0.iter().filter(|(_, (task, _))| task.agent == agent) {
        let Some((_, holds)) = here.0.get(id).filter(|(_, holds)| holds != held) else {
            continue;
        };
        for resource in &task.resources {
            add(&mut shifted["resources"], resource, !holds);
        }
    }
    shifted
}

/// Adds a resource to those of an offer, or takes it away.
fn add(resources: &mut Value, resource: &Value, more: bool) {
    let Some(list) = resources.as_array_mut() else {
        return;
    };
    let at = list.iter().position(|one| one["name"] == resource["name"] && one["type"] == resource["type"]);
    let at = at.unwrap_or_else(|| {
        // Whose it is stands in every resource of the offer alike.
        let mut none = list.first().cloned().unwrap_or_else(|| json!({}));
        for kind in ["scalar", "ranges", "set"] {
            none.as_object_mut().map(|none| none.remove(kind));
        }
        none["name"] = resource["name"].clone();
        none["type"] = resource["type"].clone();
        list.push(none);
        list.len() - 1
    });
    let there = match resource["type"].as_str() {
        Some("SCALAR") => scalar(&mut list[at], resource, more),
        Some("RANGES") => ranges(&mut list[at], resource, more),
        _ => true,
    };
    if !there {
        list.remove(at);
    }
}

/// Amounts count with three decimals. Returns whether something is left.
fn scalar(to: &mut Value, resource: &Value, more: bool) -> bool {
    let thousandths = |one: &Value| (one["scalar"]["value"].as_f64().unwrap_or_default() * 1000.0).round();
    let change = thousandths(resource);
    let sum = thousandths(to) + if more { change } else { -change };
    to["scalar"] = json!({"value": sum / 1000.0});
    sum != 0.0
}

/// Returns whether something is left.
fn ranges(to: &mut Value, resource: &Value, more: bool) -> bool {
    let mut all = numbers(to);
    let change = numbers(resource);
    match more {
        true => all.extend(change),
        false => all.retain(|number| !change.contains(number)),
    }
    let mut range: Vec<(u64, u64)> = Vec::new();
    for number in &all {
        match range.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            _ => range.push((*number, *number)),
        }
    }
    let range: Vec<Value> = range.into_iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
    to["ranges"] = json!({"range": range});
    !all.is_empty()
}

fn numbers(resource: &Value) -> BTreeSet<u64> {
    let ranges = resource["ranges"]["range"].as_array().into_iter().flatten();
    let bounds = ranges.filter_map(|range| Some((range["begin"].as_u64()?, range["end"].as_u64()?)));
    bounds.flat_map(|(begin, end)| begin..=end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(value: f64) -> Value {
        json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": "demo"}})
    }

    fn ports(ranges: &[(u64, u64)]) -> Value {
        let ranges: Vec<_> = ranges.iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
        json!({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}, "allocation_info": {"role": "demo"}})
    }

    fn launch(id: &str, resources: &[Value]) -> Vec<Change> {
        let task = json!({"task_id": {"value": id}, "agent_id": {"value": "S0"}, "resources": resources});
        Change::of_request(&json!({"accept": {"operations": [{"launch": {"task_infos": [task]}}]}}))
    }

    fn update(id: &str, state: &str) -> Option<Change> {
        Change::of_event(&json!({"update": {"status": {"task_id": {"value": id}, "state": state}}}))
    }

    #[test]
    fn an_end_on_the_other_side_shifts_the_offer_by_what_the_task_holds() {
        let launched = || launch("t", &[cpus(0.1), cpus(0.0014), ports(&[(3, 4)])]);
        let held: Holdings = launched().into_iter().collect();
        let free: Holdings = launched().into_iter().chain(update("t", "TASK_KILLED")).collect();
        let less = json!({"resources": [cpus(1.899), ports(&[(1, 2), (5, 9)])]});
        let more = json!({"resources": [cpus(2.0), ports(&[(1, 9)])]});
        assert_eq!(shifted(&less, "S0", &held, &free), more);
        assert_eq!(shifted(&more, "S0", &free, &held), less);
        assert_eq!(shifted(&less, "S1", &held, &free), less, "another agent's");
        for same in [&held, &free] {
            assert_eq!(shifted(&less, "S0", same, same), less);
        }
        assert_eq!(shifted(&less, "S0", &held, &Holdings::default()), less, "never launched here");
    }

    #[test]
    fn what_was_not_offered_at_all_comes_and_goes() {
        let launched = || launch("t", &[cpus(0.1), ports(&[(3, 4)])]);
        let held: Holdings = launched().into_iter().collect();
        let free: Holdings = launched().into_iter().chain(update("t", "TASK_FAILED")).collect();
        let without = json!({"resources": [cpus(1.0)]});
        let with = json!({"resources": [cpus(1.1), ports(&[(3, 4)])]});
        assert_eq!(shifted(&without, "S0", &held, &free), with);
        assert_eq!(shifted(&with, "S0", &free, &held), without);
    }

    #[test]
    fn only_ends_end_and_an_id_may_be_used_again() {
        assert_eq!(update("t", "TASK_RUNNING"), None);
        assert_eq!(update("t", "TASK_UNREACHABLE"), None);
        let again = launch("t", &[cpus(0.1)]).into_iter().chain(update("t", "TASK_FINISHED"));
        let again: Holdings = again.chain(launch("t", &[cpus(0.2)])).collect();
        assert_eq!(again.0["t"], (Task { id: "t".into(), agent: "S0".into(), resources: vec![cpus(0.2)] }, true));
    }
}

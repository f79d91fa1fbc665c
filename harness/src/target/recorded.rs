//! The victims of a recorded run, found again by name: slots, masters, servers and machines keep theirs. Pure.

use super::{Scene, candidates};
use crate::fault::{Role, Target, TargetClass, Victim};

/// The parts with these names, whatever role they hold now; what the target asked for is judged afterwards, as ever.
///
/// # Errors
/// Names those that are not there to be hit.
pub fn recorded(names: &[String], class: TargetClass, scene: &Scene<'_>) -> Result<Vec<Victim>, String> {
    if names.is_empty() {
        return Err("it hit nobody in the recorded run".to_owned());
    }
    let mut all = candidates(&Target::new(class, Role::Any), scene);
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match all.iter().position(|victim| victim.name == *name) {
            Some(at) => found.push(all.swap_remove(at)),
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(format!("the recorded victim {} can't be hit now: it isn't a running member", missing.join(" + ")))
}

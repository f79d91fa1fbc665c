//! What is refused, in Mesos's words.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::mesos::types::{
    CommandInfo, ContainerInfo, ContainerType, FrameworkCapability, FrameworkInfo, OperationType, Reserve, Resource,
    TaskInfo, Volume,
};

/// Longest id (NAME_MAX).
const ID_CHARACTERS_MAX: usize = 255;
/// Largest duration that Mesos can hold, in seconds: 2^63 nanoseconds.
const DURATION_MAX_S: f64 = 9_223_372_036.854_775;

/// An id that becomes part of a path.
pub(super) fn id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if id.chars().count() > ID_CHARACTERS_MAX {
        return Err(format!("ID must not be greater than {ID_CHARACTERS_MAX} characters"));
    }
    if id == "." || id == ".." {
        return Err(format!("'{id}' is disallowed"));
    }
    if id.chars().any(|c| c == '/' || c == '\\' || c.is_ascii_control()) {
        return Err(format!("'{id}' contains invalid characters"));
    }
    Ok(())
}

/// A framework that wants to subscribe.
pub(super) fn framework(info: &FrameworkInfo, suppressed: &[String]) -> Result<(), String> {
    if info.can(FrameworkCapability::MultiRole) {
        if info.role.is_some() {
            return Err("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned());
        }
        let mut seen = BTreeSet::new();
        let duplicates: BTreeSet<_> = info.roles.iter().filter(|role| !seen.insert(*role)).cloned().collect();
        if !duplicates.is_empty() {
            return Err(format!("'FrameworkInfo.roles' contains duplicate items: {}", braced(&duplicates)));
        }
        for name in &info.roles {
            role(name).map_err(|why| format!("'FrameworkInfo.roles' contains invalid role: {why}"))?;
        }
    } else {
        if !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned());
        }
        if let Some(name) = &info.role {
            role(name).map_err(|why| format!("'FrameworkInfo.role' is not a valid role: {why}"))?;
        }
    }
    if info.failover_timeout.is_nan() || info.failover_timeout.abs() > DURATION_MAX_S {
        return Err(format!("The framework failover_timeout ({}) is invalid", short(info.failover_timeout)));
    }
    let roles = info.all_roles();
    let foreign: BTreeSet<_> = suppressed.iter().filter(|role| !roles.contains(role)).cloned().collect();
    if !foreign.is_empty() {
        return Err(format!("Suppressed roles {} are not contained in the set of roles", braced(&foreign)));
    }
    Ok(())
}

/// `{ a, b }`.
pub(super) fn braced(items: &BTreeSet<String>) -> String {
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    format!("{{ {} }}", items.join(", "))
}

/// A large number as C++ streams write it: at most six significant digits, and `e+09` from a million on.
fn short(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e+{exponent:0>2}")
}

/// A role's name; `*` stands for itself.
fn role(name: &str) -> Result<(), String> {
    if name == "*" {
        return Ok(());
    }
    if name.is_empty() {
        return Err("Role names cannot be the empty string".to_owned());
    }
    if name.starts_with('/') {
        return Err(format!("Role '{name}' cannot start with a slash"));
    }
    if name.ends_with('/') {
        return Err(format!("Role '{name}' cannot end with a slash"));
    }
    if name.contains("//") {
        return Err(format!("Role '{name}' cannot contain two adjacent slashes"));
    }
    for part in name.split('/') {
        if matches!(part, "." | ".." | "*") {
            return Err(format!("Role '{name}' cannot include '{part}' as a component"));
        }
        if part.starts_with('-') {
            return Err(format!("Role component '{part}' is invalid because it starts with a dash"));
        }
        if part.chars().any(|c| c.is_whitespace() || c == '\u{8}') {
            return Err(format!("Role component '{part}' is invalid because it contains backspace or whitespace"));
        }
    }
    Ok(())
}

/// A task by itself: everything but its id, its agent, and whether its resources are there.
pub(super) fn task(task: &TaskInfo) -> Result<(), String> {
    let grace = task.kill_policy.and_then(|policy| policy.grace_period);
    if grace.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if task.max_completion_time.is_some_and(|time| time.nanoseconds < 0) {
        return Err("Task's `max_completion_time` must be non-negative".to_owned());
    }
    if let Some(check) = &task.health_check {
        health_check(check).map_err(|why| format!("Task uses invalid health check: {why}"))?;
    }
    if task.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    if let Some(info) = &task.command {
        command(info).map_err(|why| format!("Task's `CommandInfo` is invalid: {why}"))?;
    }
    if let Some(info) = &task.container {
        container(info).map_err(|why| format!("Task's `ContainerInfo` is invalid: {why}"))?;
    }
    if task.command.is_some() == task.executor.is_some() {
        return Err("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned());
    }
    Ok(())
}

/// Why a task group can't be launched: in Mesos's words where its task groups couldn't be either.
pub(super) fn task_group(tasks: &[TaskInfo]) -> String {
    let refused = |task: &TaskInfo| {
        let container = task.container.as_ref()?;
        let why = if container.network_infos.is_empty() {
            (container.kind == ContainerType::Docker).then_some("Docker ContainerInfo is not supported on the task")
        } else {
            Some("NetworkInfos must not be set on the task")
        };
        why.map(|why| format!("Task '{}' is invalid: {why}", task.task_id))
    };
    if tasks.is_empty() {
        return "Task group cannot be empty".to_owned();
    }
    tasks.iter().find_map(refused).unwrap_or_else(|| "Task groups are not supported by this master".to_owned())
}

/// Why an operation on resources can't be done.
pub(super) fn operation(kind: OperationType, reserve: Option<&Reserve>) -> String {
    let is_dynamic = |resource: &Resource| {
        resource.reservations.last().is_some_and(|reservation| reservation.kind.as_deref() == Some("DYNAMIC"))
    };
    let resources = reserve.into_iter().flat_map(|reserve| &reserve.resources);
    let mut static_ones = resources.map(|resource| resource.clone().refined()).filter(|resource| !is_dynamic(resource));
    match static_ones.next() {
        Some(resource) if kind == OperationType::Reserve => {
            format!("Resource {resource} is not dynamically reserved")
        }
        _ => format!("{kind} operations are not supported by this master"),
    }
}

fn health_check(check: &Value) -> Result<(), String> {
    let kind = check.get("type").and_then(Value::as_str).unwrap_or_default();
    let body = match kind {
        "COMMAND" => "command",
        "HTTP" => "http",
        "TCP" => "tcp",
        _ => "",
    };
    if !body.is_empty() && check.get(body).is_none() {
        return Err(format!("Expecting '{body}' to be set for {kind} health check"));
    }
    let times = ["delay_seconds", "grace_period_seconds", "interval_seconds", "timeout_seconds"];
    for time in times {
        if check.get(time).and_then(Value::as_f64).is_some_and(|seconds| seconds < 0.0) {
            return Err(format!("Expecting '{time}' to be non-negative"));
        }
    }
    Ok(())
}

fn command(command: &CommandInfo) -> Result<(), String> {
    let variables = command.environment.iter().flat_map(|environment| &environment.variables);
    for variable in variables {
        let plain = matches!(variable.kind.as_deref(), None | Some("VALUE"));
        if plain && variable.value.is_none() {
            return Err(format!("Environment variable '{}' of type 'VALUE' must have a value set", variable.name));
        }
    }
    Ok(())
}

fn container(container: &ContainerInfo) -> Result<(), String> {
    let ways = |volume: &Volume| {
        usize::from(volume.host_path.is_some())
            + usize::from(volume.image.is_some())
            + usize::from(volume.source.is_some())
    };
    if container.volumes.iter().any(|volume| ways(volume) != 1) {
        return Err("Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'".to_owned());
    }
    if container.kind != ContainerType::Docker {
        return Ok(());
    }
    let Some(docker) = &container.docker else {
        return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
    };
    if docker.parameters.iter().any(|parameter| parameter.key == "name") {
        return Err("Parameter in DockerInfo must not be 'name'".to_owned());
    }
    Ok(())
}

//! From a task to what the engine is asked for: `docker run` as Mesos builds it, without the command line. Pure.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::parameters;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    CommandInfo, ContainerInfo, DockerInfo, DockerNetwork, PortMapping, TaskInfo, Volume, VolumeMode,
};

/// Where the sandbox is mounted.
pub const SANDBOX: &str = "/mnt/mesos/sandbox";
/// All containers of an agent are called this and their id.
pub const PREFIX: &str = "mesos-";
/// Mesos gives no container less.
const MEM_MIN_BYTES: i64 = 32 * 1024 * 1024;
const MIB: f64 = 1024.0 * 1024.0;
/// The engine's own copy of a container's output; the sandbox has the one to read.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "8m"), ("max-file", "2")];

/// The engine's name of a container.
#[must_use]
pub fn name(container: &str) -> String {
    format!("{PREFIX}{container}")
}

/// What the engine is asked for, and the name of the network whose address is reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The request.
    pub body: ContainerCreateBody,
    /// The network mode, by which the container's address is found.
    pub network: String,
}

/// Why a container can't be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Mesos's own finding, before there is a command line.
    Options(String),
    /// What the command line would refuse: a parameter that isn't understood.
    CommandLine(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Options(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Options(why.to_owned())
    }
}

/// Translates a task.
///
/// # Errors
/// What the task asks that isn't possible or isn't supported.
pub fn translate(task: &TaskInfo, container: &str, sandbox: &Path) -> Result<Wanted, Refusal> {
    let info = task.container.as_ref().ok_or("No container info found in task info")?;
    let docker = info.docker.as_ref().ok_or("No docker info found in container info")?;
    let command = task.command.as_ref().ok_or("No command info found")?;
    if task.health_check.as_ref().is_some_and(|check| !check["type"].is_null()) {
        return Err("health checks are not carried out here".into());
    }
    let resources = Resources::of(&task.resources)?;
    let amount = |name: &str| Some(resources.scalar(name)).filter(|amount| *amount > 0.0);
    let mut host = as_of_the_command_line(HostConfig {
        cpu_shares: amount("cpus").map(|cpus| ((1024.0 * cpus) as i64).max(2)),
        memory: amount("mem").map(|mem| ((mem * MIB) as i64).max(MEM_MIN_BYTES)),
        privileged: Some(docker.privileged),
        binds: Some(binds(info, sandbox)?),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_OPTIONS.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        }),
        ..HostConfig::default()
    });
    let mut body = ContainerCreateBody {
        image: Some(docker.image.clone()),
        hostname: info.hostname.clone(),
        env: Some(environment(task, command, container)),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(HashMap::new()),
        ..ContainerCreateBody::default()
    };
    (body.entrypoint, body.cmd) = entry(command)?;
    let mut network = network(info, docker)?;
    let extra = parameters::apply(&docker.parameters, &mut body, &mut host).map_err(Refusal::CommandLine)?;
    if let Some(other) = extra.network {
        network = other;
    }
    if network == "host" && info.hostname.is_some() {
        return Err("Unable to set hostname with host network mode".into());
    }
    publish(docker, task, &network, &mut body, &mut host)?;
    if let Some(address) = extra.address {
        body.networking_config = Some(with_address(&network, address));
    }
    host.network_mode = Some(network.clone());
    body.host_config = Some(host);
    Ok(Wanted { body, network })
}

/// What `docker run` says even where nobody asked, so that `docker inspect` shows the same.
fn as_of_the_command_line(host: HostConfig) -> HostConfig {
    HostConfig {
        dns: Some(Vec::new()),
        ulimits: Some(Vec::new()),
        port_bindings: Some(HashMap::new()),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: Some(0) }),
        ..host
    }
}

fn environment(task: &TaskInfo, command: &CommandInfo, container: &str) -> Vec<String> {
    let role = task.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.clone());
    let own = [
        ("MESOS_SANDBOX", Some(SANDBOX.to_owned())),
        ("MESOS_CONTAINER_NAME", Some(name(container))),
        ("MESOS_ALLOCATION_ROLE", role),
    ];
    let of_task = command.environment.iter().flat_map(|e| &e.variables);
    of_task
        .map(|v| format!("{}={}", v.name, v.value.as_deref().unwrap_or_default()))
        .chain(own.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))))
        .collect()
}

type Words = Option<Vec<String>>;

fn entry(command: &CommandInfo) -> Result<(Words, Words), String> {
    if command.shell {
        let value = command.value.clone().ok_or("Shell specified but no command value provided")?;
        let shell = vec!["/bin/sh".to_owned()];
        return Ok((Some(shell), Some(vec!["-c".to_owned(), value])));
    }
    let words: Vec<String> = command.value.iter().chain(&command.arguments).cloned().collect();
    Ok((None, (!words.is_empty()).then_some(words)))
}

fn network(info: &ContainerInfo, docker: &DockerInfo) -> Result<String, String> {
    match docker.network {
        DockerNetwork::Host => Ok("host".to_owned()),
        DockerNetwork::Bridge => Ok("bridge".to_owned()),
        DockerNetwork::None => Ok("none".to_owned()),
        DockerNetwork::User => match info.network_infos.as_slice() {
            [] => Err("No network info found in container info".to_owned()),
            [one] => one.name.clone().ok_or_else(|| "No network name found in network info".to_owned()),
            _ => Err("Only a single network can be defined in Docker run".to_owned()),
        },
        other => Err(format!("Unsupported Network mode: {other:?}")),
    }
}

fn binds(info: &ContainerInfo, sandbox: &Path) -> Result<Vec<String>, String> {
    let sandbox = sandbox.display();
    let mut binds = vec![format!("{sandbox}:{SANDBOX}")];
    for volume in &info.volumes {
        let source = source(volume)?;
        let on_host =
            if source.starts_with('/') || volume.host_path.is_none() { source } else { format!("{sandbox}/{source}") };
        let inside = if volume.container_path.starts_with('/') {
            volume.container_path.clone()
        } else {
            format!("{SANDBOX}/{}", volume.container_path)
        };
        let mode = if volume.mode == VolumeMode::ReadOnly { "ro" } else { "rw" };
        // The command line takes the same volume twice for one.
        let bind = format!("{on_host}:{inside}:{mode}");
        if !binds.contains(&bind) {
            binds.push(bind);
        }
    }
    Ok(binds)
}

fn source(volume: &Volume) -> Result<String, String> {
    if let Some(path) = &volume.host_path {
        return Ok(path.clone());
    }
    let named = || volume.source.as_ref()?.get("docker_volume")?.get("name")?.as_str();
    named().map(str::to_owned).ok_or_else(|| {
        format!(
            "the volume {} is not supported; expected host_path or a source of type DOCKER_VOLUME",
            volume.container_path
        )
    })
}

fn publish(
    docker: &DockerInfo,
    task: &TaskInfo,
    network: &str,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), String> {
    if docker.port_mappings.is_empty() {
        return Ok(());
    }
    if matches!(network, "host" | "none") {
        return Err("Port mappings are only supported for bridge and user-defined networks".to_owned());
    }
    let mut bindings = HashMap::new();
    for mapping in &docker.port_mappings {
        if !owns_port(task, mapping)? {
            return Err(format!("Port [{}] not included in resources", mapping.host_port));
        }
        let protocol = mapping.protocol.as_deref().unwrap_or("tcp");
        let binding = PortBinding { host_ip: None, host_port: Some(mapping.host_port.to_string()) };
        bindings.insert(format!("{}/{protocol}", mapping.container_port), Some(vec![binding]));
    }
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    exposed.sort();
    body.exposed_ports = Some(exposed);
    host.port_bindings = Some(bindings);
    Ok(())
}

fn owns_port(task: &TaskInfo, mapping: &PortMapping) -> Result<bool, String> {
    let ports = task.resources.iter().filter(|r| r.name == "ports");
    let ranges: Vec<_> = ports.filter_map(|r| r.ranges.as_ref()).flat_map(|r| &r.range).collect();
    if ranges.is_empty() {
        return Err("Port mappings require port resources".to_owned());
    }
    let port = u64::from(mapping.host_port);
    Ok(ranges.iter().any(|range| (range.begin..=range.end).contains(&port)))
}

fn with_address(network: &str, address: String) -> NetworkingConfig {
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig { ipv4_address: Some(address), ..EndpointIpamConfig::default() }),
        ..EndpointSettings::default()
    };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])) }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;

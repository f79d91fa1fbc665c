//! What to run, and how.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{loose, wire_enum};
use super::{AgentId, DurationInfo, Labels, Resource, TaskId};

/// A task to launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Name for people.
    pub name: String,
    /// Its id.
    pub task_id: TaskId,
    /// The agent of the offer.
    pub agent_id: AgentId,
    /// What it takes.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// The command; exactly one of this and `executor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandInfo>,
    /// A custom executor; carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<Value>,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerInfo>,
    /// How to kill it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_policy: Option<KillPolicy>,
    /// Base64, for the executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Killed after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_time: Option<DurationInfo>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Value>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Value>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Value>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Value>,
}

impl TaskInfo {
    /// A task with nothing but name, id and agent. The id must never have been used before by its framework.
    #[must_use]
    pub fn new(name: impl Into<String>, task_id: impl Into<TaskId>, agent_id: AgentId) -> Self {
        Self {
            name: name.into(),
            task_id: task_id.into(),
            agent_id,
            resources: Vec::new(),
            command: None,
            executor: None,
            container: None,
            kill_policy: None,
            data: None,
            labels: None,
            max_completion_time: None,
            health_check: None,
            check: None,
            discovery: None,
            limits: None,
        }
    }
}

/// How to kill a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KillPolicy {
    /// Time between TERM and KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<DurationInfo>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandInfo {
    /// Run `value` with `/bin/sh -c`; Mesos's default is true.
    #[serde(default = "yes", deserialize_with = "loose")]
    pub shell: bool,
    /// The command line, or the first argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Things to fetch; carried, not interpreted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<Value>,
}

impl CommandInfo {
    /// Runs the image's own entry point and command.
    #[must_use]
    pub fn of_image() -> Self {
        Self { shell: false, value: None, arguments: Vec::new(), environment: None, user: None, uris: Vec::new() }
    }
}

fn yes() -> bool {
    true
}

/// Environment variables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The variables, in order.
    #[serde(default)]
    pub variables: Vec<Variable>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// `VALUE` when absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

wire_enum! {
    /// Who runs a container.
    ContainerType { Docker = "DOCKER", Mesos = "MESOS" }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Who runs it.
    #[serde(rename = "type")]
    pub kind: ContainerType,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Host name inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// For Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerInfo>,
    /// For the Mesos containerizer; carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesos: Option<Value>,
    /// Networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_infos: Vec<NetworkInfo>,
}

wire_enum! {
    /// A Docker network mode.
    DockerNetwork { Host = "HOST", Bridge = "BRIDGE", None = "NONE", User = "USER" }
}

/// What Docker is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DockerInfo {
    /// Image.
    pub image: String,
    /// Network; host when absent.
    #[serde(default = "host_network")]
    pub network: DockerNetwork,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// `--privileged`.
    #[serde(default, deserialize_with = "loose")]
    pub privileged: bool,
    /// Further options `--key=value`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Pull even if the image is there.
    #[serde(default, deserialize_with = "loose", skip_serializing_if = "std::ops::Not::not")]
    pub force_pull_image: bool,
}

fn host_network() -> DockerNetwork {
    DockerNetwork::Host
}

/// A key and a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parameter {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl Parameter {
    /// A parameter.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// On the host.
    #[serde(deserialize_with = "loose")]
    pub host_port: u32,
    /// In the container.
    #[serde(deserialize_with = "loose")]
    pub container_port: u32,
    /// `tcp` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

wire_enum! {
    /// How a volume is mounted.
    VolumeMode { ReadWrite = "RW", ReadOnly = "RO" }
}

/// A volume: exactly one of `host_path`, `image` and `source`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Mode.
    pub mode: VolumeMode,
    /// Where in the container.
    pub container_path: String,
    /// Directory or file on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Value>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Value>,
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<IpAddress>,
    /// Name of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IpAddress {
    /// `IPv4` or `IPv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
}

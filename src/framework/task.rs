//! How one incarnation of a slot is told to Mesos. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use super::core::messages::Launch;
use super::core::state::task_id;
use crate::config::{
    ClusterConfig, LABEL_CLUSTER, LABEL_INCARNATION, LABEL_SLOT, NODE_CONFIG_VARIABLE, NodeConfig, STORMD, Slot,
};
use crate::mesos::types::{
    CommandInfo, ContainerInfo, ContainerType, DockerInfo, DockerNetwork, DurationInfo, Environment, KillPolicy,
    NetworkInfo, Parameter, Resource, TaskInfo, Variable, Volume, VolumeMode,
};

/// Where a slot's data directory is in the container.
pub const DATA_DIR: &str = "/var/lib/stormbed";
/// Where GlusterFS is in the container.
pub const SHARED_DIR: &str = "/shared";
/// Time between TERM and KILL: etcd and Jupyter end in well under a second.
const KILL_GRACE_NS: i64 = 3_000_000_000;

/// The addresses of all slots.
///
/// # Errors
/// If the pool isn't a CIDR, or too small for the slots.
pub fn addresses(cluster: &ClusterConfig) -> Result<BTreeMap<Slot, Ipv4Addr>, String> {
    let address = |slot| Ok((slot, cluster.address(slot)?));
    (0..cluster.nodes).map(address).collect()
}

/// The task for a launch on `agent`, with resources allocated to `role`.
#[must_use]
pub fn task_info(
    cluster: &ClusterConfig,
    addresses: &BTreeMap<Slot, Ipv4Addr>,
    role: &str,
    agent: &str,
    launch: &Launch,
) -> TaskInfo {
    let slot = launch.slot;
    let id = task_id(&cluster.name, slot, launch.incarnation);
    TaskInfo {
        resources: vec![
            Resource::scalar("cpus", cluster.cpus).allocated_to(role),
            Resource::scalar("mem", cluster.mem_mb).allocated_to(role),
        ],
        command: Some(command(&node(cluster, addresses, launch))),
        container: Some(container(cluster, addresses[&slot], launch)),
        kill_policy: Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: KILL_GRACE_NS }) }),
        ..TaskInfo::new(format!("{}-s{slot}", cluster.prefix), id, agent.into())
    }
}

/// What the node agent is told.
fn node(cluster: &ClusterConfig, addresses: &BTreeMap<Slot, Ipv4Addr>, launch: &Launch) -> NodeConfig {
    NodeConfig {
        cluster: cluster.name.clone(),
        prefix: cluster.prefix.clone(),
        slot: launch.slot,
        incarnation: launch.incarnation,
        addresses: addresses.clone(),
        bootstrap: launch.bootstrap.clone(),
        data_lost: launch.data_lost,
        data_dir: DATA_DIR.into(),
        shared_dir: SHARED_DIR.into(),
        secrets: cluster.secrets.clone(),
        etcd_heartbeat_ms: cluster.etcd_heartbeat_ms,
        etcd_election_ms: cluster.etcd_election_ms,
        lease_ttl_s: cluster.lease_ttl_s,
        jupyter_port: cluster.jupyter_port,
    }
}

/// `stormd node`: the image has no entry point, so the value is the program.
fn command(node: &NodeConfig) -> CommandInfo {
    let json = serde_json::to_string(node).expect("plain data is always JSON");
    CommandInfo {
        value: Some(STORMD.to_owned()),
        arguments: vec!["node".to_owned()],
        environment: Some(Environment {
            variables: vec![Variable { name: NODE_CONFIG_VARIABLE.to_owned(), kind: None, value: Some(json) }],
        }),
        ..CommandInfo::of_image()
    }
}

fn container(cluster: &ClusterConfig, address: Ipv4Addr, launch: &Launch) -> ContainerInfo {
    let slot = launch.slot;
    let label = |key: &str, value: &str| Parameter::new("label", format!("{key}={value}"));
    let data = cluster.slots_on_host.join(&cluster.name).join(slot.to_string());
    let secrets = &cluster.secrets.dir;
    ContainerInfo {
        kind: ContainerType::Docker,
        volumes: vec![
            volume(VolumeMode::ReadOnly, Path::new(STORMD), Path::new(STORMD)),
            volume(VolumeMode::ReadWrite, &data, Path::new(DATA_DIR)),
            volume(VolumeMode::ReadWrite, &cluster.shared_on_host, Path::new(SHARED_DIR)),
            volume(VolumeMode::ReadOnly, secrets, secrets),
        ],
        hostname: Some(format!("{}-s{slot}", cluster.prefix)),
        docker: Some(DockerInfo {
            image: cluster.image.clone(),
            network: DockerNetwork::User,
            port_mappings: Vec::new(),
            privileged: false,
            parameters: vec![
                Parameter::new("ip", address.to_string()),
                label(LABEL_SLOT, &slot.to_string()),
                label(LABEL_INCARNATION, &launch.incarnation.to_string()),
                label(LABEL_CLUSTER, &cluster.name),
                // A fenced node drops its own address.
                Parameter::new("cap-add", "NET_ADMIN"),
            ],
            force_pull_image: false,
        }),
        mesos: None,
        network_infos: vec![NetworkInfo { name: Some(cluster.network.clone()), ..NetworkInfo::default() }],
    }
}

fn volume(mode: VolumeMode, host: &Path, container: &Path) -> Volume {
    Volume {
        mode,
        container_path: container.display().to_string(),
        host_path: Some(host.display().to_string()),
        image: None,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bootstrap;

    fn cluster() -> ClusterConfig {
        let text = r#"
            name = "c1"
            prefix = "storm"
            nodes = 3
            pool = "198.19.7.0/24"
            image = "stormbed-node:1"
            cpus = 0.25
            mem_mb = 300.0
        "#;
        toml::from_str(text).unwrap()
    }

    fn launch() -> Launch {
        Launch { slot: 2, incarnation: 5, bootstrap: Bootstrap::Formed { generation: 1 }, data_lost: false }
    }

    #[test]
    fn a_task_is_what_mesos_and_the_node_expect() {
        let cluster = cluster();
        let addresses = addresses(&cluster).unwrap();
        let task = task_info(&cluster, &addresses, "demo", "a-S1", &launch());
        let mut json = serde_json::to_value(&task).unwrap();
        let variable = json.pointer_mut("/command/environment/variables/0/value");
        let node = variable.unwrap().take();
        let expected = serde_json::json!({
            "name": "storm-s2",
            "task_id": {"value": "c1.2.5"},
            "agent_id": {"value": "a-S1"},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.25}, "allocation_info": {"role": "demo"}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 300.0}, "allocation_info": {"role": "demo"}},
            ],
            "command": {
                "shell": false, "value": "/opt/stormbed/stormd", "arguments": ["node"],
                "environment": {"variables": [{"name": "STORMBED_NODE", "value": null}]},
            },
            "container": {
                "type": "DOCKER",
                "hostname": "storm-s2",
                "volumes": [
                    {"mode": "RO", "host_path": "/opt/stormbed/stormd", "container_path": "/opt/stormbed/stormd"},
                    {"mode": "RW", "host_path": "/var/lib/stormbed/slots/c1/2", "container_path": "/var/lib/stormbed"},
                    {"mode": "RW", "host_path": "/srv/shared", "container_path": "/shared"},
                    {"mode": "RO", "host_path": "/run/stormbed/secrets", "container_path": "/run/stormbed/secrets"},
                ],
                "docker": {
                    "image": "stormbed-node:1", "network": "USER", "privileged": false,
                    "parameters": [
                        {"key": "ip", "value": "198.19.7.12"},
                        {"key": "label", "value": "stormbed.slot=2"},
                        {"key": "label", "value": "stormbed.incarnation=5"},
                        {"key": "label", "value": "stormbed.cluster=c1"},
                        {"key": "cap-add", "value": "NET_ADMIN"},
                    ],
                },
                "network_infos": [{"name": "calico"}],
            },
            "kill_policy": {"grace_period": {"nanoseconds": 3_000_000_000_i64}},
        });
        assert_eq!(json, expected);
        let node: NodeConfig = serde_json::from_str(node.as_str().unwrap()).unwrap();
        assert_eq!((node.slot, node.incarnation), (2, 5));
        assert_eq!(node.bootstrap, Bootstrap::Formed { generation: 1 });
        assert_eq!(node.addresses[&0], Ipv4Addr::new(198, 19, 7, 10));
    }

    #[test]
    fn a_pool_that_is_too_small_is_refused() {
        let mut cluster = cluster();
        cluster.pool = "198.19.7.0/28".into();
        cluster.nodes = 9;
        let refused = addresses(&cluster).unwrap_err();
        assert!(refused.contains("slot 5"), "{refused}");
    }
}

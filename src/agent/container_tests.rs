//! Tests of the translation: what the recordings of real Mesos show in `docker inspect`, and its refusals word by word.

use serde_json::{Value, json};

use super::*;

fn task(changes: Value) -> TaskInfo {
    let mut task = json!({
        "name": "t1", "task_id": {"value": "t1"}, "agent_id": {"value": "S0"},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "allocation_info": {"role": "demo"}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}, "allocation_info": {"role": "demo"}}
        ],
        "command": {"shell": false},
        "container": {"type": "DOCKER", "docker": {"image": "bb:local", "network": "USER"}, "network_infos": [{"name": "calico"}]}
    });
    for (pointer, value) in changes.as_object().expect("an object of pointers") {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        task.pointer_mut(parent).expect("exists")[key] = value.clone();
    }
    serde_json::from_value(task).expect("a task")
}

fn translated(changes: Value) -> Result<Wanted, Refusal> {
    translate(&task(changes), "c1", Path::new("/sandbox"))
}

fn host(wanted: &Wanted) -> &HostConfig {
    wanted.body.host_config.as_ref().expect("always set")
}

#[test]
fn a_command_in_a_shell_as_recorded() {
    let wanted = translated(json!({"/command": {"value": "sleep 1"}, "/container/docker/network": "HOST"}))
        .expect("a container");
    assert_eq!(wanted.body.entrypoint, Some(vec!["/bin/sh".to_owned()]));
    assert_eq!(wanted.body.cmd, Some(vec!["-c".to_owned(), "sleep 1".to_owned()]));
    assert_eq!(
        wanted.body.env.as_deref().expect("variables"),
        ["MESOS_SANDBOX=/mnt/mesos/sandbox", "MESOS_CONTAINER_NAME=mesos-c1", "MESOS_ALLOCATION_ROLE=demo"]
    );
    assert_eq!(host(&wanted).memory, Some(33_554_432));
    assert_eq!(host(&wanted).cpu_shares, Some(102));
    assert_eq!(host(&wanted).binds.as_deref().expect("binds"), ["/sandbox:/mnt/mesos/sandbox"]);
    assert_eq!(wanted.network, "host");
}

#[test]
fn what_a_task_does_not_take_is_not_limited() {
    let cpus = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]);
    let wanted = translated(json!({"/resources": cpus})).expect("a container");
    assert_eq!((host(&wanted).memory, host(&wanted).cpu_shares), (None, Some(102)));
}

#[test]
fn the_images_own_command_stays_when_none_is_given() {
    let wanted = translated(json!({})).expect("a container");
    assert_eq!((wanted.body.entrypoint, wanted.body.cmd), (None, None));
    let wanted = translated(json!({"/command": {"shell": false, "value": "sleep", "arguments": ["9"]}}));
    assert_eq!(wanted.expect("a container").body.cmd, Some(vec!["sleep".to_owned(), "9".to_owned()]));
}

#[test]
fn a_fixed_address_on_the_workload_network() {
    let parameters = json!([{"key": "ip", "value": "198.19.0.10"}, {"key": "volume", "value": "/a:/b:ro"}]);
    let wanted = translated(json!({"/container/docker/parameters": parameters, "/container/hostname": "storm-s0"}))
        .expect("a container");
    assert_eq!(wanted.network, "calico");
    let endpoints = wanted.body.networking_config.as_ref().and_then(|n| n.endpoints_config.as_ref());
    let ipam = endpoints.expect("set")["calico"].ipam_config.clone().expect("set");
    assert_eq!(ipam.ipv4_address.as_deref(), Some("198.19.0.10"));
    assert_eq!(wanted.body.hostname.as_deref(), Some("storm-s0"));
    assert!(host(&wanted).binds.as_ref().expect("binds").contains(&"/a:/b:ro".to_owned()));
}

#[test]
fn volumes_as_recorded() {
    let volumes = json!([
        {"mode": "RO", "container_path": "/ro", "host_path": "/dir"},
        {"mode": "RO", "container_path": "/ro", "host_path": "/dir"},
        {"mode": "RW", "container_path": "/rel", "host_path": "in-sandbox"},
        {"mode": "RW", "container_path": "relc", "host_path": "/dir"},
        {"mode": "RW", "container_path": "/vol", "source": {"type": "DOCKER_VOLUME", "docker_volume": {"name": "v"}}}
    ]);
    let wanted = translated(json!({"/container/volumes": volumes})).expect("a container");
    assert_eq!(
        host(&wanted).binds.as_deref().expect("binds")[1..],
        ["/dir:/ro:ro", "/sandbox/in-sandbox:/rel:rw", "/dir:/mnt/mesos/sandbox/relc:rw", "v:/vol:rw"]
    );
}

#[test]
fn refusals_in_mesos_own_words() {
    let refused = |changes| match translated(changes) {
        Err(Refusal::Options(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(json!({"/container/network_infos": []})), "No network info found in container info");
    assert_eq!(
        refused(json!({"/container/network_infos": [{"name": "a"}, {"name": "a"}]})),
        "Only a single network can be defined in Docker run"
    );
    assert_eq!(refused(json!({"/container/network_infos": [{}]})), "No network name found in network info");
    assert_eq!(
        refused(json!({"/container/docker/network": "HOST", "/container/hostname": "h"})),
        "Unable to set hostname with host network mode"
    );
    assert_eq!(refused(json!({"/command": {}})), "Shell specified but no command value provided");
    let mappings = json!([{"host_port": 31_050, "container_port": 80}]);
    assert_eq!(refused(json!({"/container/docker/port_mappings": mappings})), "Port mappings require port resources");
    assert_eq!(
        refused(json!({"/container/docker/port_mappings": mappings, "/container/docker/network": "HOST"})),
        "Port mappings are only supported for bridge and user-defined networks"
    );
}

#[test]
fn what_the_command_line_refuses_is_no_finding_of_mesos() {
    let parameters = json!([{"key": "no-such-option", "value": "1"}]);
    let refused = translated(json!({"/container/docker/parameters": parameters})).expect_err("refused");
    assert!(
        matches!(&refused, Refusal::CommandLine(why) if why.starts_with("unknown flag: --no-such-option")),
        "{refused:?}"
    );
}

#[test]
fn what_nobody_would_check_is_refused() {
    let check = json!({"/health_check": {"type": "COMMAND", "command": {"value": "true"}}});
    assert_eq!(translated(check), Err("health checks are not carried out here".into()));
    assert!(
        translated(json!({"/health_check": {"command": {"value": "true"}}})).is_ok(),
        "no check at all, as recorded"
    );
}

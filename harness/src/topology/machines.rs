//! Each machine as a container.

use std::collections::BTreeMap;

use super::plan::{Machine, PROXY_PORT, Plan, Role, STATE_DIR};
use crate::engine::{ContainerSpec, LABEL_HOME, LABEL_MACHINE, LABEL_RUN};
use crate::image::seed::CACHE;
use crate::run::Home;

/// Where a machine's supervisor reads what it is told.
pub const SUPERVISE_FILE: &str = "/etc/stormbed/supervise.toml";

/// The labels of every object of a run.
#[must_use]
pub fn labels(run: &str, home: &Home) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_RUN.to_owned(), run.to_owned()),
        (LABEL_HOME.to_owned(), home.directory().display().to_string()),
    ])
}

/// A machine as a container. Its volumes are named after it and carry the run's labels.
#[must_use]
pub fn container(plan: &Plan, machine: &Machine, home: &Home) -> ContainerSpec {
    let mut labels = labels(&plan.run, home);
    labels.insert(LABEL_MACHINE.to_owned(), machine.name.clone());
    let name = plan.container_name(&machine.name);
    let volume = |what: &str, place: &str| (format!("{name}-{what}"), place.to_owned());
    let common = ContainerSpec {
        name: name.clone(),
        hostname: machine.name.clone(),
        labels,
        network: Some((plan.network_name(), machine.address)),
        // A machine that is switched off forgets process ids and sockets; a container's own layer would keep them.
        tmpfs: BTreeMap::from([("/run".to_owned(), "mode=0755,size=64m".to_owned())]),
        ..ContainerSpec::default()
    };
    let secrets = (plan.cluster().secrets.dir.display().to_string(), "mode=0700,size=1m".to_owned());
    // Where it was installed: programs find each other by absolute paths.
    let mesos = plan.config.mesos.mounted().map(|dir| (dir.to_owned(), dir.display().to_string(), true));
    let binds: Vec<_> = mesos.into_iter().collect();
    match machine.role {
        Role::ZooKeeper => ContainerSpec {
            image: plan.images.zookeeper.clone(),
            command: vec!["zk-run".into()],
            capabilities: net_admin(),
            environment: zookeeper(plan, machine),
            volumes: vec![volume("data", "/data")],
            ..common
        },
        Role::Host => ContainerSpec {
            image: plan.images.host.clone(),
            machine: true,
            binds,
            volumes: vec![
                volume("bricks", "/bricks"),
                volume("state", STATE_DIR),
                (plan.config.cache_volume.clone(), CACHE.to_owned()),
            ],
            // Secrets live in memory only, and only where tasks can be given them.
            tmpfs: common.tmpfs.clone().into_iter().chain([secrets]).collect(),
            ..common
        },
        // BIRD puts the nodes' routes into the kernel; outposts cut machines off.
        Role::Master => ContainerSpec { image: plan.images.router.clone(), capabilities: net_admin(), binds, ..common },
        Role::Framework => ContainerSpec { image: plan.images.router.clone(), capabilities: net_admin(), ..common },
        Role::Edge => ContainerSpec {
            image: plan.images.router.clone(),
            capabilities: net_admin(),
            publish: Some((PROXY_PORT, plan.proxy_port)),
            ..common
        },
    }
}

fn net_admin() -> Vec<String> {
    vec!["NET_ADMIN".to_owned()]
}

fn zookeeper(plan: &Plan, machine: &Machine) -> Vec<String> {
    let timing = &plan.config.timing;
    let servers: Vec<String> = plan.of(Role::ZooKeeper).map(|m| format!("{}={}", m.number, m.address)).collect();
    // One server alone is no ensemble: it takes no part in an election.
    let servers = if servers.len() > 1 { servers.join(" ") } else { String::new() };
    vec![
        format!("ZK_ID={}", machine.number),
        format!("ZK_SERVERS={servers}"),
        format!("ZK_TICK_MS={}", timing.zookeeper_tick_ms),
        format!("ZK_SYNC_TICKS={}", timing.zookeeper_sync_ticks),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Phase, state::tests::example};

    #[test]
    fn every_object_carries_the_runs_label_and_no_secret_place_is_on_disk() {
        let plan = Plan::new(&example(Phase::Starting)).expect("in range");
        let home = Home::at(std::path::Path::new("/h"));
        for machine in &plan.machines {
            let spec = container(&plan, machine, &home);
            assert_eq!(spec.labels[LABEL_RUN], "x");
            assert_eq!(spec.labels[LABEL_HOME], "/h");
            assert_eq!(spec.machine, machine.role == Role::Host);
            assert_eq!(spec.tmpfs.contains_key("/run/stormbed/secrets"), spec.machine);
            assert!(spec.tmpfs.contains_key("/run"), "{} starts without what ran before", machine.name);
        }
    }
}

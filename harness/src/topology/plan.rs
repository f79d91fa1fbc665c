//! Names, addresses, and what each machine is told. Pure: a plan follows from the configuration, the run's number and
//! the images alone, so a run's state file is enough to make it again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use stormbed::config::{
    AgentConfig, BirdConfig, CalicoConfig, ClusterConfig, DockerConfig, FrameworkConfig, GlusterConfig, MasterConfig,
    ProxyConfig, SecretsConfig, Slot, SuperviseConfig,
};

use super::TopologyConfig;
use super::mesos::{self, Flavor};
use super::subnet::nth;
use crate::image::{ImageSet, seed};
use crate::run::State;

/// Client port of ZooKeeper.
pub const ZOOKEEPER_PORT: u16 = 2181;
/// Port of the masters' HTTP API.
pub const MASTER_PORT: u16 = 5050;
/// Port of the agents' HTTP endpoints.
pub const AGENT_PORT: u16 = 5051;
/// Port of the proxy on the edge, published on the user's loopback.
pub const PROXY_PORT: u16 = 8888;
/// Path of the masters' election in ZooKeeper.
pub const ELECTION_PATH: &str = "/mesos";
/// Where schedulers keep their state in ZooKeeper, and elect the active one.
pub const STATE_PATH: &str = "/stormbed";
/// Name of the shared volume.
pub const VOLUME: &str = "shared";

/// Where every host has its brick.
pub(super) fn brick() -> PathBuf {
    format!("/bricks/{VOLUME}").into()
}

/// Where each host keeps what must outlive a container's end: slots' data, the agent's checkpoints, addresses.
pub const STATE_DIR: &str = "/var/lib/stormbed";

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A server of the ZooKeeper ensemble.
    ZooKeeper,
    /// A Mesos master.
    Master,
    /// A scheduler.
    Framework,
    /// A machine with its own engine, brick and Mesos agent.
    Host,
    /// The way in.
    Edge,
}

impl Role {
    /// Name before the dash and number, and the first address's last part: each role has a range of ten.
    fn scheme(self) -> (&'static str, u8) {
        match self {
            Self::ZooKeeper => ("zk", 11),
            Self::Master => ("master", 21),
            Self::Framework => ("framework", 31),
            Self::Host => ("host", 41),
            Self::Edge => ("edge", 51),
        }
    }
}

/// One machine of the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name: `zk-1`, `master-1`, `host-1`, `edge`, ….
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its number among those of its role, from 1.
    pub number: u8,
    /// Its address on the underlay.
    pub address: Ipv4Addr,
}

/// A topology's plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The run's id.
    pub run: String,
    /// What was asked for.
    pub config: TopologyConfig,
    /// The images.
    pub images: ImageSet,
    /// The underlay (CIDR).
    pub underlay: String,
    /// The engine's own address on the underlay.
    pub gateway: Ipv4Addr,
    /// The workload network (CIDR).
    pub pool: String,
    /// All machines, in the order in which they start: hosts first, as theirs is the longest way.
    pub machines: Vec<Machine>,
    /// Port of the proxy on the user's loopback.
    pub proxy_port: u16,
}

impl Plan {
    /// The plan that follows from a run's state; none if the ranges have no network of that number.
    #[must_use]
    pub fn new(state: &State) -> Option<Self> {
        let config = &state.config;
        let (base, underlay) = nth(&config.underlay, state.number)?;
        let (_, pool) = nth(&config.pool, state.number)?;
        let at = |last: u8| Ipv4Addr::from(u32::from(base) + u32::from(last));
        let roles = [
            (Role::Host, config.hosts),
            (Role::ZooKeeper, config.zookeepers),
            (Role::Master, config.masters),
            (Role::Framework, config.frameworks),
            (Role::Edge, 1),
        ];
        let machines = roles.into_iter().flat_map(|(role, count)| {
            let (name, first) = role.scheme();
            (1..=count).map(move |number| Machine {
                name: if role == Role::Edge { name.to_owned() } else { format!("{name}-{number}") },
                role,
                number,
                address: at(first + number - 1),
            })
        });
        Some(Self {
            run: state.id.clone(),
            config: config.clone(),
            images: state.images.clone(),
            gateway: at(1),
            machines: machines.collect(),
            underlay,
            pool,
            proxy_port: state.proxy_port,
        })
    }

    /// Machines of a role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Machine> + Clone {
        self.machines.iter().filter(move |m| m.role == role)
    }

    /// A machine by its name.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|m| m.name == name)
    }

    /// Name of a machine's container in the engine.
    #[must_use]
    pub fn container_name(&self, machine: &str) -> String {
        format!("stormbed-{}-{machine}", self.run)
    }

    /// Name of the underlay in the engine.
    #[must_use]
    pub fn network_name(&self) -> String {
        format!("stormbed-{}", self.run)
    }

    /// Directory of this run on the cache volume.
    #[must_use]
    pub fn cache_dir(&self) -> String {
        format!("{}/runs/{}", seed::CACHE, self.run)
    }

    /// `name → ip:port` of a role's machines.
    #[must_use]
    pub fn endpoints(&self, role: Role, port: u16) -> BTreeMap<String, String> {
        self.of(role).map(|m| (m.name.clone(), format!("{}:{port}", m.address))).collect()
    }

    /// Where masters are elected: `zk://host:port,…/path`.
    #[must_use]
    pub fn election(&self) -> String {
        self.zk(ELECTION_PATH)
    }

    /// Each host offers room for its share of the nodes when one host is gone.
    #[must_use]
    pub fn agent_resources(&self) -> String {
        let config = &self.config;
        let share = config.nodes.div_ceil(u32::from(config.hosts).saturating_sub(1).max(1));
        format!("cpus:{};mem:{};disk:{}", f64::from(share) * config.node_cpus, share * config.node_mem_mb, 10_240)
    }

    fn zk(&self, path: &str) -> String {
        let servers: Vec<String> =
            self.of(Role::ZooKeeper).map(|m| format!("{}:{ZOOKEEPER_PORT}", m.address)).collect();
        format!("zk://{}{path}", servers.join(","))
    }

    /// What the framework keeps running.
    #[must_use]
    pub fn cluster(&self) -> ClusterConfig {
        ClusterConfig {
            name: self.config.cluster.clone(),
            prefix: self.config.prefix.clone(),
            nodes: self.config.nodes,
            pool: self.pool.clone(),
            first_address: 10,
            network: "calico".into(),
            image: self.images.node.clone(),
            cpus: self.config.node_cpus,
            mem_mb: f64::from(self.config.node_mem_mb),
            etcd_heartbeat_ms: 100,
            etcd_election_ms: 1_000,
            lease_ttl_s: 5,
            jupyter_port: 8888,
            shared_on_host: "/srv/shared".into(),
            slots_on_host: format!("{STATE_DIR}/slots").into(),
            secrets: SecretsConfig::default(),
        }
    }

    /// Address of every slot.
    #[must_use]
    pub fn slots(&self) -> BTreeMap<Slot, Ipv4Addr> {
        let cluster = self.cluster();
        (0..cluster.nodes).filter_map(|slot| Some((slot, cluster.address(slot).ok()?))).collect()
    }

    /// What a machine's supervisor is told; none for ZooKeeper, which has none.
    #[must_use]
    pub fn supervise(&self, machine: &Machine) -> Option<SuperviseConfig> {
        let mut told = SuperviseConfig {
            name: machine.name.clone(),
            log_dir: "/var/log/stormbed".into(),
            nested_engine: machine.role == Role::Host,
            bird: None,
            calico: None,
            docker: None,
            gluster: None,
            agent: None,
            apache_agent: None,
            master: None,
            apache_master: None,
            framework: None,
            proxy: None,
        };
        let apache = self.config.mesos.flavor == Flavor::Apache;
        match machine.role {
            Role::ZooKeeper => return None,
            Role::Master if apache => told.apache_master = Some(mesos::master(self, machine)),
            Role::Master => told.master = Some(self.master(machine)),
            Role::Framework => {
                told.bird = Some(self.bird(machine));
                told.framework = Some(self.framework(machine));
            }
            Role::Edge => {
                told.bird = Some(self.bird(machine));
                told.proxy = Some(self.proxy(machine));
            }
            Role::Host => {
                told.bird = Some(self.bird(machine));
                told.calico = Some(self.calico());
                told.docker = Some(self.docker(machine));
                told.gluster = Some(self.gluster());
                if apache {
                    told.apache_agent = Some(mesos::agent(self, machine));
                } else {
                    told.agent = Some(self.agent(machine));
                }
            }
        }
        Some(told)
    }

    fn master(&self, machine: &Machine) -> MasterConfig {
        let timing = &self.config.timing;
        MasterConfig {
            ip: machine.address,
            hostname: machine.address.to_string(),
            port: MASTER_PORT,
            zk: Some(self.election()),
            work_dir: None,
            zk_session_timeout_ms: timing.session_ms,
            agent_ping_timeout_ms: timing.agent_ping_ms,
            max_agent_ping_timeouts: timing.agent_pings,
            agent_reregister_timeout_ms: 600_000,
            allocation_interval_ms: 1_000,
            heartbeat_interval_ms: 15_000,
            offer_timeout_ms: None,
            roles: None,
            root_submissions: true,
        }
    }

    fn framework(&self, machine: &Machine) -> FrameworkConfig {
        FrameworkConfig {
            instance: machine.name.clone(),
            ip: machine.address,
            mesos_zk: self.election(),
            state_zk: self.zk(STATE_PATH),
            zk_session_timeout_ms: self.config.timing.session_ms,
            role: "stormbed".into(),
            failover_timeout_s: 7.0 * 86_400.0,
            home_patience_ms: 30_000,
            reconcile_interval_ms: 60_000,
            cluster: self.cluster(),
        }
    }

    fn proxy(&self, machine: &Machine) -> ProxyConfig {
        ProxyConfig {
            listen: SocketAddr::from((machine.address, PROXY_PORT)),
            cluster: self.config.cluster.clone(),
            addresses: self.slots(),
            jupyter_port: self.cluster().jupyter_port,
            wait_max_ms: 15_000,
            waiting_max: 256,
        }
    }

    /// Hosts peer with everybody; machines without workloads with the hosts only, as they have nothing to announce.
    fn bird(&self, machine: &Machine) -> BirdConfig {
        let speaks = |m: &&Machine| {
            m.name != machine.name
                && match machine.role {
                    Role::Host => matches!(m.role, Role::Host | Role::Framework | Role::Edge),
                    _ => m.role == Role::Host,
                }
        };
        let peers = self.machines.iter().filter(speaks);
        BirdConfig {
            address: machine.address,
            peers: peers.map(|m| (m.name.clone(), m.address)).collect(),
            pool: self.pool.clone(),
            asn: 64_512,
        }
    }

    fn calico(&self) -> CalicoConfig {
        CalicoConfig {
            plugin_dir: "/run/docker/plugins".into(),
            state_dir: format!("{STATE_DIR}/calico").into(),
            pool: self.pool.clone(),
        }
    }

    fn docker(&self, machine: &Machine) -> DockerConfig {
        DockerConfig {
            data_root: format!("{}/{}", self.cache_dir(), machine.name).into(),
            seed: Some(seed::path(&self.images).into()),
            network: self.cluster().network,
        }
    }

    fn gluster(&self) -> GlusterConfig {
        GlusterConfig {
            volume: VOLUME.into(),
            brick: brick(),
            servers: self.of(Role::Host).map(|m| m.address).collect(),
            mount: self.cluster().shared_on_host,
        }
    }

    fn agent(&self, machine: &Machine) -> AgentConfig {
        AgentConfig {
            ip: machine.address,
            hostname: machine.name.clone(),
            port: AGENT_PORT,
            master: self.election(),
            work_dir: format!("{STATE_DIR}/mesos-agent").into(),
            resources: self.agent_resources(),
            attributes: String::new(),
            docker_socket: "/var/run/docker.sock".into(),
            registration_backoff_ms: 500,
            status_update_retry_ms: 10_000,
            containerizers: vec!["docker".to_owned()],
            executor_shutdown_grace_ms: 5_000,
            executor_registration_timeout_ms: 60_000,
            executor_reregistration_timeout_ms: 1_000,
            recovery_timeout_ms: 900_000,
            docker_kill_orphans: true,
            docker_remove_delay_ms: 600_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Phase, state::tests::example};
    use std::collections::BTreeSet;

    fn plan() -> Plan {
        Plan::new(&example(Phase::Starting)).expect("the default ranges have 256 numbers")
    }

    #[test]
    fn every_machine_has_an_address_of_its_own_in_the_underlay() {
        let plan = plan();
        assert_eq!(plan.machines.len(), 3 + 3 + 3 + 2 + 1);
        let addresses: BTreeSet<_> = plan.machines.iter().map(|m| m.address).collect();
        assert_eq!(addresses.len(), plan.machines.len());
        assert!(addresses.iter().all(|a| a.octets()[..3] == [198, 18, 3]));
        assert_eq!(plan.machine("edge").map(|m| m.role), Some(Role::Edge));
    }

    #[test]
    fn bgp_sessions_are_configured_on_both_ends() {
        let plan = plan();
        let peers = |m: &Machine| plan.supervise(m).and_then(|s| s.bird).map(|b| b.peers);
        for machine in &plan.machines {
            for peer in peers(machine).unwrap_or_default().keys() {
                let other = plan.machine(peer).and_then(peers).unwrap_or_default();
                assert!(other.contains_key(&machine.name), "{} - {peer}", machine.name);
            }
        }
        let edge = plan.machine("edge").and_then(peers).unwrap_or_default();
        assert!(edge.keys().eq(["host-1", "host-2", "host-3"]));
    }

    #[test]
    fn what_a_machine_is_told_survives_its_file() -> Result<(), Box<dyn std::error::Error>> {
        let plan = plan();
        for machine in &plan.machines {
            let Some(told) = plan.supervise(machine) else {
                continue;
            };
            let text = toml::to_string(&told)?;
            assert_eq!(toml::from_str::<SuperviseConfig>(&text)?, told);
        }
        Ok(())
    }

    #[test]
    fn all_nodes_fit_when_a_host_is_gone() {
        let plan = plan();
        let host = plan.machine("host-1").expect("planned");
        let agent = plan.agent(host);
        assert_eq!(agent.resources, "cpus:1.5;mem:2304;disk:10240");
    }
}

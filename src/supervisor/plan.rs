//! From the configuration to parts: what is run, after what, and how its readiness shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::core::Spec;
use super::{RUN_DIR, SuperviseError};
use crate::calico::bird;
use crate::config::{ApacheConfig, DockerConfig, GlusterConfig, SuperviseConfig};
use crate::mounts::GLUSTERFS;

/// A part that ended is started again after this.
pub const RESTART_DELAY: Duration = Duration::from_secs(1);
/// The volume appears some seconds after the first try to mount it; the topology's start waits for the mount.
const MOUNT_RETRY: Duration = Duration::from_millis(500);
/// BIRD's configuration.
pub const BIRD_CONF: &str = "/run/stormbed/bird.conf";
/// BIRD's control socket: where Debian's `birdc` looks.
pub const BIRD_SOCKET: &str = "/run/bird/bird.ctl";
/// The inner engine's socket.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const DOCKER_PID_FILE: &str = "/var/run/docker.pid";
/// Port of glusterd.
const GLUSTERD_PORT: u16 = 24_007;

/// What tasks need is there before an agent takes any.
const AGENT_AFTER: [&str; 3] = ["docker", "network", "mount"];

/// How a part runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// A child process that keeps running: program and arguments.
    Process(Vec<String>),
    /// Fills an empty data-root from the seed.
    Seed(DockerConfig),
    /// Creates the workload network: name and pool.
    Network {
        /// The network's name.
        name: String,
        /// Its subnet.
        pool: String,
    },
}

/// What is done right before a process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// Remove a file that a killed predecessor left.
    Remove(PathBuf),
    /// Make a directory.
    Dir(PathBuf),
    /// Detach a dead mount, then make its directory.
    Unmount(PathBuf),
}

/// How a part shows that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It runs.
    Started,
    /// These sockets accept a connection.
    Sockets(Vec<PathBuf>),
    /// This address accepts a connection.
    Port(SocketAddr),
    /// The engine on this socket answers.
    Engine(PathBuf),
    /// A FUSE file system of this type is mounted there, and its server answers.
    Mounted(PathBuf, &'static str),
}

/// A part: what the core needs of it and what the shell does for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// For the core.
    pub spec: Spec,
    /// What runs.
    pub run: Run,
    /// What is done before each start.
    pub before: Vec<Before>,
    /// Its sign of readiness.
    pub sign: Sign,
}

/// A file that a part reads: written before anything starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Everything that runs on one machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The parts.
    pub parts: Vec<Part>,
    /// Their configuration files.
    pub files: Vec<ConfigFile>,
}

impl Plan {
    fn process(&mut self, name: &str, after: &[&str], command: &[&str], sign: Sign) -> &mut Part {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        self.part(name, after, Run::Process(command), sign)
    }

    fn part(&mut self, name: &str, after: &[&str], run: Run, sign: Sign) -> &mut Part {
        let spec = Spec {
            name: name.to_owned(),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            step: !matches!(run, Run::Process(_)),
            restart_delay: RESTART_DELAY,
        };
        self.parts.push(Part { spec, run, before: Vec::new(), sign });
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// One of our own programs, with its configuration in a file.
    fn own<T: Serialize>(
        &mut self,
        stormd: &str,
        name: &str,
        after: &[&str],
        config: &T,
        sign: Sign,
    ) -> Result<(), SuperviseError> {
        let path = format!("{RUN_DIR}/{name}.toml");
        let text = toml::to_string(config).map_err(|source| SuperviseError::Toml { part: name.to_owned(), source })?;
        self.process(name, after, &[stormd, name, "--config", &path], sign);
        self.files.push(ConfigFile { path: path.into(), text });
        Ok(())
    }

    fn apache(&mut self, name: &str, after: &[&str], config: &ApacheConfig) {
        self.part(name, after, Run::Process(config.command.clone()), Sign::Port(config.listen));
    }

    fn bird(&mut self, config: &crate::config::BirdConfig) {
        self.files.push(ConfigFile { path: BIRD_CONF.into(), text: bird::render(config) });
        let sign = Sign::Sockets(vec![BIRD_SOCKET.into()]);
        let command = ["bird", "-f", "-c", BIRD_CONF, "-s", BIRD_SOCKET];
        let part = self.process("bird", &[], &command, sign);
        part.before = vec![Before::Dir("/run/bird".into())];
    }

    fn docker(&mut self, config: &DockerConfig, pool: Option<&str>) {
        self.part("seed", &[], Run::Seed(config.clone()), Sign::Started);
        let root = config.data_root.display().to_string();
        let host = format!("unix://{DOCKER_SOCKET}");
        let command =
            ["dockerd", "--data-root", &root, "-H", &host, "--storage-driver", "overlay2", "--bridge", "none"];
        let sign = Sign::Engine(DOCKER_SOCKET.into());
        let part = self.process("docker", &["seed", "calico"], &command, sign);
        // A dockerd that was killed leaves its pid, which may be anybody's by now; this one is known to be down.
        part.before = vec![Before::Remove(DOCKER_PID_FILE.into())];
        if let Some(pool) = pool {
            let network = Run::Network { name: config.network.clone(), pool: pool.to_owned() };
            self.part("network", &["docker"], network, Sign::Started);
        }
    }

    fn gluster(&mut self, config: &GlusterConfig) {
        let sign = Sign::Port(SocketAddr::from(([127, 0, 0, 1], GLUSTERD_PORT)));
        let command = ["glusterd", "-N", "-l", "/dev/stderr"];
        let part = self.process("glusterd", &[], &command, sign);
        part.before = vec![Before::Dir(config.brick.clone())];
        // The FUSE client in the foreground is a part like any other; `mount -t glusterfs` would hide it (and says 0 when it fails).
        let mut command = vec!["glusterfs".to_owned(), "--no-daemon".to_owned()];
        command.extend(["--log-file", "/dev/stderr", "--process-name", "fuse"].map(str::to_owned));
        command.extend(config.servers.iter().map(|ip| format!("--volfile-server={ip}")));
        command.push(format!("--volfile-id=/{}", config.volume));
        command.push(config.mount.display().to_string());
        let sign = Sign::Mounted(config.mount.clone(), GLUSTERFS);
        let part = self.part("mount", &["glusterd"], Run::Process(command), sign);
        part.spec.restart_delay = MOUNT_RETRY;
        part.before = vec![Before::Unmount(config.mount.clone())];
    }
}

/// The parts of a machine. `stormd` is this program's own path.
///
/// # Errors
/// If a part's configuration can't be written as TOML.
pub fn plan(config: &SuperviseConfig, stormd: &str) -> Result<Plan, SuperviseError> {
    let mut plan = Plan::default();
    if let Some(bird) = &config.bird {
        plan.bird(bird);
    }
    if let Some(calico) = &config.calico {
        let socket = |name: &str| calico.plugin_dir.join(name);
        let sign = Sign::Sockets(vec![socket("calico.sock"), socket("calico-ipam.sock")]);
        plan.own(stormd, "calico", &[], calico, sign)?;
    }
    if let Some(docker) = &config.docker {
        plan.docker(docker, config.calico.as_ref().map(|c| c.pool.as_str()));
    }
    if let Some(gluster) = &config.gluster {
        plan.gluster(gluster);
    }
    if let Some(agent) = &config.agent {
        let sign = Sign::Port(SocketAddr::from((agent.ip, agent.port)));
        plan.own(stormd, "agent", &AGENT_AFTER, agent, sign)?;
    }
    if let Some(agent) = &config.apache_agent {
        plan.apache("agent", &AGENT_AFTER, agent);
    }
    if let Some(master) = &config.master {
        let sign = Sign::Port(SocketAddr::from((master.ip, master.port)));
        plan.own(stormd, "master", &[], master, sign)?;
    }
    if let Some(master) = &config.apache_master {
        plan.apache("master", &[], master);
    }
    if let Some(framework) = &config.framework {
        plan.own(stormd, "framework", &["bird"], framework, Sign::Started)?;
    }
    if let Some(proxy) = &config.proxy {
        plan.own(stormd, "proxy", &["bird"], proxy, Sign::Port(proxy.listen))?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = r#"
        name = "host-1"
        nested_engine = true
        [bird]
        address = "198.18.0.31"
        pool = "198.19.0.0/24"
        peers = { host-2 = "198.18.0.32" }
        [calico]
        state_dir = "/var/lib/stormbed/calico"
        pool = "198.19.0.0/24"
        [docker]
        data_root = "/pool/host-1"
        seed = "/pool/seed"
        network = "calico"
        [gluster]
        volume = "shared"
        brick = "/bricks/shared"
        servers = ["198.18.0.31", "198.18.0.32"]
        mount = "/srv/shared"
        [agent]
        ip = "198.18.0.31"
        hostname = "host-1"
        master = "zk://198.18.0.11:2181/mesos"
        work_dir = "/var/lib/mesos"
        resources = "cpus:2;mem:2048"
    "#;

    #[test]
    fn a_host_runs_everything_in_order() {
        let config: SuperviseConfig = toml::from_str(HOST).expect("a valid configuration");
        let plan = plan(&config, "/opt/stormbed/stormd").expect("a plan");
        insta::assert_debug_snapshot!(
            plan.parts.iter().map(|part| (&part.spec.name, &part.spec.after, &part.run)).collect::<Vec<_>>()
        );
        let agent = plan.files.iter().find(|f| f.path.ends_with("agent.toml")).expect("written");
        let read: crate::config::AgentConfig = toml::from_str(&agent.text).expect("reads its own");
        assert_eq!(Some(read), config.agent);
    }

    #[test]
    fn a_machine_without_engine_runs_only_its_part() {
        let config: SuperviseConfig = toml::from_str(
            "name = 'master-1'\n[master]\nip = '198.18.0.21'\nhostname = '198.18.0.21'\nzk = 'zk://198.18.0.11:2181/mesos'",
        )
        .expect("a valid configuration");
        let plan = plan(&config, "stormd").expect("a plan");
        let names: Vec<_> = plan.parts.iter().map(|p| p.spec.name.as_str()).collect();
        assert_eq!(names, ["master"]);
    }
}

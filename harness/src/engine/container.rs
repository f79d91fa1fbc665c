//! Containers: what one is made of, and the calls that start, break and remove it.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HostConfig, Mount, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};

use stormbed::outpost::containers::freeze;

use super::{Engine, EngineError};

/// What is told to stop has this long: a supervisor ends all its parts within 8 s.
const STOP_S: i32 = 10;

/// What a container is made of.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// Its name in the engine.
    pub name: String,
    /// Its host name, also its alias on the network.
    pub hostname: String,
    /// Image (tag or id).
    pub image: String,
    /// Command; the image's own when empty.
    pub command: Vec<String>,
    /// Environment. Never secrets.
    pub environment: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Network and address; the engine's default network when absent.
    pub network: Option<(String, Ipv4Addr)>,
    /// Named volumes: name → place.
    pub volumes: Vec<(String, String)>,
    /// Directories of this machine: (source, place, read-only).
    pub binds: Vec<(PathBuf, String, bool)>,
    /// tmpfs mounts: place → options.
    pub tmpfs: BTreeMap<String, String>,
    /// Port published on the loopback: (container's port, this machine's port).
    pub publish: Option<(u16, u16)>,
    /// Capabilities beyond the engine's default.
    pub capabilities: Vec<String>,
    /// A machine of its own (see `machine` below).
    pub machine: bool,
    /// User (`uid:gid`); root when absent.
    pub user: Option<String>,
}

/// What lets a container be a machine (own engine, FUSE, cgroups) without being privileged: all capabilities but
/// SYS_RESOURCE, which many virtual machines can't grant, every device that the kernel offers, and no masks over /proc.
fn machine(host: &mut HostConfig) {
    host.cap_add = Some(vec!["ALL".into()]);
    host.cap_drop = Some(vec!["SYS_RESOURCE".into()]);
    host.devices = Some(vec![DeviceMapping {
        path_on_host: Some("/dev/fuse".into()),
        path_in_container: Some("/dev/fuse".into()),
        cgroup_permissions: Some("rwm".into()),
    }]);
    host.device_cgroup_rules = Some(vec!["a *:* rwm".into()]);
    host.security_opt = Some(vec!["seccomp=unconfined".into(), "apparmor=unconfined".into()]);
    // What the command line calls systempaths=unconfined.
    host.masked_paths = Some(Vec::new());
    host.readonly_paths = Some(Vec::new());
}

impl ContainerSpec {
    fn host_config(&self) -> HostConfig {
        let volumes = self.volumes.iter().map(|(name, place)| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(place.clone()),
            // The engine makes a volume that isn't there: it gets the container's own labels.
            volume_options: Some(MountVolumeOptions {
                labels: Some(self.labels.clone().into_iter().collect()),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        });
        let binds = self.binds.iter().map(|(source, place, read_only)| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.display().to_string()),
            target: Some(place.clone()),
            read_only: Some(*read_only),
            ..Mount::default()
        });
        let mut host = HostConfig {
            mounts: Some(volumes.chain(binds).collect()),
            tmpfs: Some(self.tmpfs.clone().into_iter().collect()),
            cap_add: Some(self.capabilities.clone()),
            network_mode: self.network.as_ref().map(|(name, _)| name.clone()),
            port_bindings: self.publish.map(|(inside, outside)| {
                let binding = PortBinding {
                    host_ip: Some(std::net::Ipv4Addr::LOCALHOST.to_string()),
                    host_port: Some(outside.to_string()),
                };
                HashMap::from([(format!("{inside}/tcp"), Some(vec![binding]))])
            }),
            ..HostConfig::default()
        };
        if self.machine {
            machine(&mut host);
        }
        host
    }

    /// The engine's own form.
    #[must_use]
    pub fn body(&self) -> ContainerCreateBody {
        let endpoint = |address: &Ipv4Addr| EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            aliases: Some(vec![self.hostname.clone()]),
            ..EndpointSettings::default()
        };
        ContainerCreateBody {
            hostname: Some(self.hostname.clone()).filter(|h| !h.is_empty()),
            user: self.user.clone(),
            image: Some(self.image.clone()),
            cmd: (!self.command.is_empty()).then(|| self.command.clone()),
            env: Some(self.environment.clone()),
            labels: Some(self.labels.clone().into_iter().collect()),
            exposed_ports: self.publish.map(|(inside, _)| vec![format!("{inside}/tcp")]),
            host_config: Some(self.host_config()),
            networking_config: self.network.as_ref().map(|(name, address)| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(name.clone(), endpoint(address))])),
            }),
            ..ContainerCreateBody::default()
        }
    }
}

impl Engine {
    /// Creates a container; it doesn't run yet. Returns its id.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        self.docker()
            .create_container(Some(options), spec.body())
            .await
            .map(|made| made.id)
            .map_err(|e| EngineError::call(format!("creating the container {}", spec.name), e))
    }

    /// Starts a container.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.docker()
            .start_container(container, None)
            .await
            .map_err(|e| EngineError::call(format!("starting the container {container}"), e))
    }

    /// SIGKILL to process 1 of a container.
    ///
    /// # Errors
    /// If the engine refuses (it isn't running).
    pub async fn kill(&self, container: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        self.docker()
            .kill_container(container, Some(options))
            .await
            .map_err(|e| EngineError::call(format!("killing the container {container}"), e))
    }

    /// SIGTERM to process 1 of a container; SIGKILL if it still runs after `STOP_S` seconds.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn stop(&self, container: &str) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new().t(STOP_S).build();
        self.docker()
            .stop_container(container, Some(options))
            .await
            .map_err(|e| EngineError::call(format!("stopping the container {container}"), e))
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// If the engine refuses (it isn't running, or is frozen already).
    pub async fn pause(&self, container: &str) -> Result<(), EngineError> {
        freeze(self.docker(), container)
            .await
            .map_err(|e| EngineError::call(format!("freezing the container {container}"), e))
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// If the engine refuses (it isn't frozen).
    pub async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.docker()
            .unpause_container(container)
            .await
            .map_err(|e| EngineError::call(format!("thawing the container {container}"), e))
    }

    /// Removes a container with its anonymous volumes, running or not. One that is gone is fine.
    ///
    /// # Errors
    /// If the engine can't.
    pub async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker().remove_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(e) => {
                let error = EngineError::call(format!("removing the container {container}"), e);
                // 404: gone. 409: its removal is under way already.
                match error.status() {
                    Some(404 | 409) => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Puts files into a container, running or not: (absolute path, mode, content).
    ///
    /// # Errors
    /// If the engine can't.
    pub async fn upload(&self, container: &str, files: &[(&str, u32, &[u8])]) -> Result<(), EngineError> {
        let what = || format!("writing files into the container {container}");
        let tar = super::build::tar_of(
            files.iter().map(|(path, mode, content)| (path.trim_start_matches('/'), *mode, *content)),
        )
        .map_err(|source| EngineError::Io { what: what(), source })?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        self.docker()
            .upload_to_container(container, Some(options), bollard::body_full(tar.into()))
            .await
            .map_err(|e| EngineError::call(what(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_never_privileged() {
        let spec = ContainerSpec { machine: true, ..ContainerSpec::default() };
        let host = spec.body().host_config.expect("it has one");
        assert_eq!(host.privileged, None);
        assert_eq!(host.cap_drop, Some(vec!["SYS_RESOURCE".to_owned()]));
        assert_eq!(host.masked_paths, Some(Vec::new()));
    }

    #[test]
    fn a_published_port_is_bound_to_the_loopback() {
        let spec = ContainerSpec { publish: Some((8000, 40_001)), ..ContainerSpec::default() };
        let ports = spec.body().host_config.and_then(|h| h.port_bindings);
        let binding = ports.and_then(|p| p["8000/tcp"].clone()).expect("published");
        assert_eq!(binding[0].host_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(binding[0].host_port.as_deref(), Some("40001"));
    }
}

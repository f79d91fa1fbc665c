//! Networks and volumes, and everything that carries a label: listing it and removing it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::{StreamExt, stream};

use super::{Engine, EngineError, label_filter};

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Full id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `exited`, ….
    pub state: String,
    /// `Up 3 seconds`, ….
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How many removals the engine gets at a time: they wait for the kernel, not for a core.
const REMOVALS_AT_ONCE: usize = 16;
/// Rounds of removal: the second finds what a call that was cut off still made; a handful is plenty.
const ROUNDS_MAX: u32 = 10;

impl Engine {
    /// Makes the network of a run.
    ///
    /// # Errors
    /// If the engine refuses; status 403 with "overlaps" when the subnet is taken.
    pub async fn create_network(
        &self,
        name: &str,
        subnet: &str,
        gateway: Ipv4Addr,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, EngineError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_owned()),
                    gateway: Some(gateway.to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            labels: Some(labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        self.docker()
            .create_network(request)
            .await
            .map(|made| made.id)
            .map_err(|e| EngineError::call(format!("creating the network {name} ({subnet})"), e))
    }

    /// The subnets of all networks of the engine, as text.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn subnets(&self) -> Result<Vec<String>, EngineError> {
        let networks = self.docker().list_networks(None).await.map_err(|e| EngineError::call("listing networks", e))?;
        Ok(networks.into_iter().filter_map(|n| n.ipam?.config).flatten().filter_map(|c| c.subnet).collect())
    }

    /// Makes a volume; one that exists is fine.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        self.docker()
            .create_volume(request)
            .await
            .map(|_| ())
            .map_err(|e| EngineError::call(format!("creating the volume {name}"), e))
    }

    /// Removes a volume. One that is gone is fine.
    ///
    /// # Errors
    /// If the engine can't (it is in use).
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        match self.docker().remove_volume(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(e) => {
                let error = EngineError::call(format!("removing the volume {name}"), e);
                if error.status() == Some(404) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Containers with a label, in every state.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn containers(&self, label: &str, value: Option<&str>) -> Result<Vec<Listed>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&label_filter(label, value)).build();
        let list = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(|e| EngineError::call("listing containers", e))?;
        Ok(list
            .into_iter()
            .map(|c| Listed {
                id: c.id.unwrap_or_default(),
                name: c
                    .names
                    .and_then(|n| n.into_iter().next())
                    .map(|n| n.trim_start_matches('/').to_owned())
                    .unwrap_or_default(),
                state: c.state.map(|s| s.to_string()).unwrap_or_default(),
                status: c.status.unwrap_or_default(),
                labels: c.labels.unwrap_or_default().into_iter().collect(),
            })
            .collect())
    }

    async fn networks(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError> {
        let options = ListNetworksOptionsBuilder::new().filters(&label_filter(label, Some(value))).build();
        let list =
            self.docker().list_networks(Some(options)).await.map_err(|e| EngineError::call("listing networks", e))?;
        Ok(list.into_iter().filter_map(|n| n.id).collect())
    }

    async fn volumes(&self, label: &str, value: &str) -> Result<Vec<String>, EngineError> {
        let options = ListVolumesOptionsBuilder::new().filters(&label_filter(label, Some(value))).build();
        let list =
            self.docker().list_volumes(Some(options)).await.map_err(|e| EngineError::call("listing volumes", e))?;
        Ok(list.volumes.unwrap_or_default().into_iter().map(|v| v.name).collect())
    }

    /// The values of one label over every container, network and volume that carries another label with a given value.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn label_values(&self, wanted: &str, label: &str, value: &str) -> Result<BTreeSet<String>, EngineError> {
        let mut values = BTreeSet::new();
        for container in self.containers(label, Some(value)).await? {
            values.extend(container.labels.get(wanted).cloned());
        }
        let filters = label_filter(label, Some(value));
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks =
            self.docker().list_networks(Some(options)).await.map_err(|e| EngineError::call("listing networks", e))?;
        values.extend(networks.into_iter().filter_map(|n| n.labels?.remove(wanted)));
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes =
            self.docker().list_volumes(Some(options)).await.map_err(|e| EngineError::call("listing volumes", e))?;
        let volumes = volumes.volumes.unwrap_or_default();
        values.extend(volumes.into_iter().filter_map(|mut v| v.labels.remove(wanted)));
        Ok(values)
    }

    /// Removes every container with a label, until a look finds none.
    ///
    /// # Errors
    /// If some can't be removed.
    pub async fn remove_containers(&self, label: &str, value: &str) -> Result<(), EngineError> {
        for _ in 0..ROUNDS_MAX {
            let found = self.containers(label, Some(value)).await?;
            if found.is_empty() {
                return Ok(());
            }
            let all = stream::iter(&found)
                .map(|c| self.remove(&c.id))
                .buffer_unordered(REMOVALS_AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            all.into_iter().collect::<Result<(), _>>()?;
        }
        Err(EngineError::Slow { what: format!("removing the containers of {value}"), seconds: 0 })
    }

    /// Removes every network and volume with a label. The containers must be gone.
    ///
    /// # Errors
    /// If some can't be removed.
    pub async fn remove_networks_and_volumes(&self, label: &str, value: &str) -> Result<(), EngineError> {
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let (networks, volumes) = tokio::try_join!(self.networks(label, value), self.volumes(label, value))?;
            if networks.is_empty() && volumes.is_empty() {
                return Ok(());
            }
            for network in &networks {
                if let Err(e) = self.docker().remove_network(network).await {
                    last = Some(EngineError::call(format!("removing the network {network}"), e));
                }
            }
            let removed = stream::iter(&volumes)
                .map(|name| self.remove_volume(name))
                .buffer_unordered(REMOVALS_AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            last = removed.into_iter().find_map(Result::err).or(last);
            // A container's removal may not have let go of its network or volume yet.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last
            .unwrap_or(EngineError::Slow { what: format!("removing the networks and volumes of {value}"), seconds: 1 }))
    }
}

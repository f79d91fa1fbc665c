//! Node containers of this host: the engine's word, and what `/proc` shows of their files and sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::future::try_join_all;

use super::protocol::{ContainerState, ContainerView};
use super::{inside, listening, text};
use crate::clock::unix_ms;
use crate::config::{LABEL_CLUSTER, LABEL_INCARNATION, LABEL_SLOT};

/// What an engine says when it has run out of tries to freeze a container, and has thawed it.
const UNLUCKY: &str = "unable to freeze";
/// So often an engine is asked to freeze a container. One try takes 0.3 s, and one in some tens is unlucky on a busy machine.
const FREEZE_TRIES: u32 = 5;

/// The cluster's containers of this host in all states, each inspected and looked into at the same time.
///
/// # Errors
/// If the engine doesn't answer.
pub async fn look(engine: &Docker, cluster: &str) -> Result<Vec<ContainerView>, String> {
    let ids = list(engine, cluster, None).await?.into_iter();
    let views = try_join_all(ids.map(|id| look_at(engine, id))).await?;
    let mut views: Vec<_> = views.into_iter().flatten().collect();
    views.sort_by_key(|view| (view.slot, view.incarnation));
    Ok(views)
}

/// Ids of the cluster's containers on this host, in one state (as the engine calls it) or in all.
///
/// # Errors
/// If the engine doesn't answer.
pub async fn list(engine: &Docker, cluster: &str, state: Option<&str>) -> Result<Vec<String>, String> {
    let mut filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_CLUSTER}={cluster}")])]);
    filters.extend(state.map(|state| ("status".to_owned(), vec![state.to_owned()])));
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters);
    let list = engine.list_containers(Some(options.build())).await.map_err(text)?;
    Ok(list.into_iter().filter_map(|container| container.id).collect())
}

/// Process 1 of every container of the cluster that lives on this host (running or frozen), by id.
///
/// # Errors
/// If the engine doesn't answer.
pub async fn running(engine: &Docker, cluster: &str) -> Result<BTreeMap<String, u32>, String> {
    let ids = list(engine, cluster, None).await?;
    let inits = ids.iter().map(async |id| {
        let container = inspect(engine, id).await?;
        let init = container.as_ref().and_then(pid).and_then(|pid| u32::try_from(pid).ok());
        Ok::<_, String>(init.map(|init| (id.clone(), init)))
    });
    Ok(try_join_all(inits).await?.into_iter().flatten().collect())
}

/// None if the container has gone since it was listed.
async fn look_at(engine: &Docker, id: String) -> Result<Option<ContainerView>, String> {
    let Some(container) = inspect(engine, &id).await? else {
        return Ok(None);
    };
    // /proc of a frozen container answers; a read of it is short, yet not for an async thread.
    tokio::task::spawn_blocking(move || view(id, container).map(Some)).await.map_err(text)?
}

/// Freezes all processes of a container.
///
/// With control groups of version 1 that is a matter of luck: the kernel freezes one process after another, and one that is just being
/// made or waits for a disk stays behind. `runc` tries some hundred times within milliseconds, thaws them all again and says "unable to
/// freeze"; its maintainers leave trying again to whoever calls it (github.com/opencontainers/runc, #2791 and #4388).
///
/// # Errors
/// If the engine refuses: it isn't running, is frozen already, or could not be frozen again and again.
pub async fn freeze(engine: &Docker, id: &str) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match engine.pause_container(id).await {
            Err(Error::DockerResponseServerError { message, .. })
                if message.contains(UNLUCKY) && tries < FREEZE_TRIES => {}
            done => return done,
        }
    }
}

/// The engine's document of a container; none if there is no such container.
///
/// # Errors
/// If the engine doesn't answer.
pub async fn inspect(engine: &Docker, id: &str) -> Result<Option<ContainerInspectResponse>, String> {
    match engine.inspect_container(id, None::<InspectContainerOptions>).await {
        Ok(container) => Ok(Some(container)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(text(error)),
    }
}

/// Process 1 of a container that lives (running or frozen).
#[must_use]
pub fn pid(container: &ContainerInspectResponse) -> Option<i32> {
    let pid = container.state.as_ref()?.pid?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// The state that the engine reports.
#[must_use]
pub fn state(container: &ContainerInspectResponse) -> ContainerState {
    let status = container.state.as_ref().and_then(|state| state.status);
    match status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        Some(ContainerStateStatusEnum::RUNNING) => ContainerState::Running,
        Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
        Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
        _ => ContainerState::Dead,
    }
}

fn view(id: String, container: ContainerInspectResponse) -> Result<ContainerView, String> {
    let pid = pid(&container);
    let state = state(&container);
    let file = |path| match pid {
        Some(pid) => inside::read(pid, path),
        None => Err(format!("the container isn't running: {state:?}")),
    };
    let engine = container.state.unwrap_or_default();
    let config = container.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let ended = matches!(state, ContainerState::Exited | ContainerState::Dead);
    let address = container
        .network_settings
        .and_then(|settings| settings.networks)
        .and_then(|networks| networks.into_values().find_map(|n| n.ip_address?.parse::<Ipv4Addr>().ok()));
    Ok(ContainerView {
        name: container.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        slot: label(&id, &labels, LABEL_SLOT)?,
        incarnation: label(&id, &labels, LABEL_INCARNATION)?,
        state,
        pid,
        started_unix_ms: engine.started_at.as_deref().and_then(unix_ms).unwrap_or_default(),
        exit_code: engine.exit_code.filter(|_| ended),
        hostname: config.hostname.unwrap_or_default(),
        address,
        hosts_file: file("etc/hosts"),
        listening: pid.map(listening::ports).unwrap_or_default(),
        id,
    })
}

fn label<T: std::str::FromStr>(id: &str, labels: &HashMap<String, String>, name: &str) -> Result<T, String> {
    let value = labels
        .get(name)
        .ok_or_else(|| format!("container {id} of this cluster has no label {name}; who started it?"))?;
    value.parse().map_err(|_| format!("label {name} of container {id} is '{value}', expected a number"))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, EndpointSettings, NetworkSettings};

    use super::*;

    fn exited(labels: &[(&str, &str)]) -> ContainerInspectResponse {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let endpoint = EndpointSettings { ip_address: Some("198.19.0.12".into()), ..Default::default() };
        ContainerInspectResponse {
            name: Some("/mesos-1".into()),
            state: Some(bollard::models::ContainerState {
                status: Some(ContainerStateStatusEnum::EXITED),
                pid: Some(0),
                exit_code: Some(137),
                ..Default::default()
            }),
            config: Some(ContainerConfig {
                labels: Some(labels),
                hostname: Some("storm-s2".into()),
                ..Default::default()
            }),
            network_settings: Some(NetworkSettings {
                networks: Some(HashMap::from([("calico".into(), endpoint)])),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn an_ended_container_has_no_files_and_an_exit_code() {
        let view = view("abc".into(), exited(&[(LABEL_SLOT, "2"), (LABEL_INCARNATION, "7")])).unwrap();
        assert_eq!((view.slot, view.incarnation, view.pid), (2, 7, None));
        assert_eq!((view.state, view.exit_code), (ContainerState::Exited, Some(137)));
        assert_eq!(view.address, Some(Ipv4Addr::new(198, 19, 0, 12)));
        assert!(view.hosts_file.is_err() && view.listening.is_empty());
        assert_eq!(view.name, "mesos-1");
    }

    #[test]
    fn a_container_without_its_labels_is_not_guessed_at() {
        let error = view("abc".into(), exited(&[(LABEL_SLOT, "two")])).unwrap_err();
        assert!(error.contains("'two'"), "{error}");
        assert!(view("abc".into(), exited(&[])).unwrap_err().contains(LABEL_SLOT));
    }
}

//! A case's container: no network, an engine of its own where the case has agents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::case::Case;
use super::refused::Refused;
use super::replay::{Failure, Outcome};

/// Label of every container of ours; its value names the run.
const LABEL: &str = "stormbed.run";
/// The file beside a case's logs that says what of it is refused.
pub const REFUSED: &str = "refused.json";
/// Where a container has what it is given.
const GIVEN: &str = "/replay";

/// The engine, and what of this machine goes into the containers.
#[derive(Debug, Clone)]
pub struct Machine {
    engine: Docker,
    run: String,
    image: String,
    zookeeper: String,
    /// This program, as it runs in the image.
    replayer: PathBuf,
    stormd: PathBuf,
    logs: PathBuf,
}

impl Machine {
    /// Connects to the engine; images are named by the environment, and programs, where those of this machine don't run in them.
    ///
    /// # Errors
    /// If there is no engine, or no image is named.
    pub fn new() -> Result<Self, String> {
        let image = |variable: &str| {
            std::env::var(variable).map_err(|_| {
                format!("{variable} names no image; say `eval \"$(target/debug/stormbed images --print)\"`")
            })
        };
        Ok(Self {
            engine: Docker::connect_with_local_defaults().map_err(|e| format!("no engine: {e}"))?,
            run: format!("test-corpus-{}", std::process::id()),
            image: image("STORMBED_CORPUS_IMAGE")?,
            zookeeper: image("STORMBED_ZOOKEEPER_IMAGE")?,
            replayer: match std::env::var_os("STORMBED_CORPUS_REPLAYER") {
                Some(path) => path.into(),
                None => std::env::current_exe().map_err(|e| e.to_string())?,
            },
            stormd: std::env::var_os("STORMBED_CORPUS_STORMD")
                .map_or_else(|| env!("CARGO_BIN_EXE_stormd").into(), PathBuf::from),
            logs: Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus"),
        })
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.run.clone())])
    }

    /// Removes every container of this run.
    pub async fn sweep(&self) {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", self.run)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for container in self.engine.list_containers(Some(options)).await.unwrap_or_default() {
            if let Some(id) = container.id {
                self.remove(&id).await;
            }
        }
    }

    async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        // Removing it twice is fine.
        let _ = self.engine.remove_container(id, Some(options)).await;
    }

    async fn create(&self, body: ContainerCreateBody) -> Result<String, String> {
        let created = self.engine.create_container(None::<CreateContainerOptions>, body).await;
        Ok(created.map_err(|e| format!("cannot create a container: {e}"))?.id)
    }

    /// Makes the container that lends others its volumes; returns its id.
    ///
    /// # Errors
    /// If the engine can't.
    pub async fn lend(&self) -> Result<String, String> {
        self.create(self.donor()).await
    }

    /// Never started: its volumes hold the programs of the ZooKeeper image for other containers.
    fn donor(&self) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(self.zookeeper.clone()),
            labels: Some(self.labels()),
            volumes: Some(["/opt", "/usr/local/bin"].map(str::to_owned).to_vec()),
            ..ContainerCreateBody::default()
        }
    }

    /// Replays one case in a container; returns what failed.
    pub async fn replay(&self, case: &Case, file: &Path, refused: Option<&Refused>, donor: &str) -> Option<Failure> {
        let out = self.logs.join(&case.name);
        let broken = |why: String| Failure {
            step: None,
            t_ms: 0,
            what: "the case's container".to_owned(),
            path: String::new(),
            expected: "an outcome".to_owned(),
            got: why,
        };
        // What an earlier run has left would be taken for this one's.
        let _ = std::fs::remove_dir_all(&out);
        let told = refused.and_then(|refused| serde_json::to_vec(refused).ok());
        let given = std::fs::create_dir_all(&out)
            .and_then(|()| told.map_or(Ok(()), |text| std::fs::write(out.join(REFUSED), text)));
        if let Err(error) = given {
            return Some(broken(format!("{}: {error}", out.display())));
        }
        let id = match self.create(self.container(case, file, &out, donor)).await {
            Ok(id) => id,
            Err(why) => return Some(broken(why)),
        };
        let ended = self.until_end(case, &id).await;
        let text = std::fs::read(out.join("result.json")).ok();
        let outcome = text.and_then(|text| serde_json::from_slice::<Outcome>(&text).ok());
        let failure = match (outcome, ended) {
            (Some(outcome), _) => outcome.failure,
            (None, Err(why)) => Some(broken(why)),
            (None, Ok(())) => Some(broken(format!("the replayer died: {}", self.said(&id).await))),
        };
        self.remove(&id).await;
        failure
    }

    async fn until_end(&self, case: &Case, id: &str) -> Result<(), String> {
        let started = self.engine.start_container(id, None::<StartContainerOptions>).await;
        started.map_err(|e| format!("cannot start a container: {e}"))?;
        let patience = Duration::from_millis(case.duration_ms() * 2) + Duration::from_secs(120);
        let mut wait = self.engine.wait_container(id, None::<WaitContainerOptions>);
        match tokio::time::timeout(patience, wait.next()).await {
            // A status other than 0 is a failed case; its outcome tells.
            Ok(_) => Ok(()),
            Err(_) => Err(format!("no end within {patience:?}")),
        }
    }

    /// The last of what a container wrote.
    async fn said(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("5").build();
        let lines = self.engine.logs(id, Some(options));
        lines.filter_map(|line| async move { Some(line.ok()?.to_string()) }).collect::<Vec<_>>().await.concat()
    }

    fn container(&self, case: &Case, file: &Path, out: &Path, donor: &str) -> ContainerCreateBody {
        let given = |source: &Path, name: &str, read_only: bool| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.display().to_string()),
            target: Some(format!("{GIVEN}/{name}")),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let mut host = HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![
                given(&self.replayer, "replayer", true),
                given(&self.stormd, "stormd", true),
                given(file, "case.json", true),
                given(out, "out", false),
            ]),
            ..HostConfig::default()
        };
        let mut volumes = Vec::new();
        if case.has_agents() {
            may_run_an_engine(&mut host);
            // overlay2 doesn't work on the container's own overlay.
            volumes.push("/var/lib/docker".to_owned());
        }
        if case.leader_at_start.is_some() {
            host.volumes_from = Some(vec![format!("{donor}:ro")]);
        }
        let words = ["replayer", "--inside", "case.json", "/corpus", "out", "stormd"];
        let word = |word: &str| match word.starts_with(['-', '/']) {
            true => word.to_owned(),
            false => format!("{GIVEN}/{word}"),
        };
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(words.map(word).to_vec()),
            labels: Some(self.labels()),
            volumes: Some(volumes),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

/// What a nested engine needs of its container, short of being privileged.
fn may_run_an_engine(host: &mut HostConfig) {
    host.cap_add = Some(vec!["ALL".to_owned()]);
    // Many virtual machines can't grant it.
    host.cap_drop = Some(vec!["SYS_RESOURCE".to_owned()]);
    host.device_cgroup_rules = Some(vec!["a *:* rwm".to_owned()]);
    host.security_opt = Some(vec!["seccomp=unconfined".to_owned(), "apparmor=unconfined".to_owned()]);
    host.masked_paths = Some(Vec::new());
    host.readonly_paths = Some(Vec::new());
}

//! Outside of the cases: a container for each, four at a time, and the sum.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::case::{Case, files};
use super::refused::{self, Open, Refused};
use super::replay::{Failure, Outcome, replay};

/// Cases at the same time: mostly they wait.
const AT_ONCE: usize = 4;
/// Label of every container of ours; its value names the run.
const LABEL: &str = "stormbed.run";
/// The file beside a case's logs that says what of it is refused.
const REFUSED: &str = "refused.json";
/// Where a container has what it is given.
const GIVEN: &str = "/replay";

/// What the command line says.
#[derive(Debug, Default)]
pub struct Arguments {
    filters: Vec<String>,
    list: bool,
    inside: Option<Inside>,
}

/// Replaying here and now, instead of in a container.
#[derive(Debug)]
struct Inside {
    case: PathBuf,
    root: PathBuf,
    out: PathBuf,
    stormd: PathBuf,
}

impl Arguments {
    /// Reads the command line; libtest's own options mean nothing here.
    ///
    /// # Errors
    /// If there is something else.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.list = true,
                "--inside" => {
                    let mut path = || words.next().map(PathBuf::from).ok_or("--inside CASE SCRATCH LOGS STORMD");
                    arguments.inside = Some(Inside { case: path()?, root: path()?, out: path()?, stormd: path()? });
                }
                "--nocapture" | "--exact" => {}
                _ if word.starts_with("--test-threads=") => {}
                _ if word.starts_with('-') => {
                    return Err(format!("'{word}' is unknown; expected words of names, --list"));
                }
                _ => arguments.filters.push(word),
            }
        }
        Ok(arguments)
    }
}

/// How a case came out.
#[derive(Debug)]
enum Verdict {
    Passed,
    Failed(Box<Failure>),
    Refused(String),
    /// It differs, and is known to.
    Open(Box<Failure>),
}

impl Verdict {
    fn word(&self) -> String {
        match self {
            Verdict::Passed => "ok".to_owned(),
            Verdict::Failed(_) => "FAILED".to_owned(),
            Verdict::Refused(reason) => format!("refused: {reason}"),
            Verdict::Open(_) => "open".to_owned(),
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    let code = match (&arguments.inside, arguments.list) {
        (Some(inside), _) => runtime.block_on(inside.replay()),
        (None, true) => list().map(|()| ExitCode::SUCCESS),
        (None, false) => runtime.block_on(all(arguments.filters)),
    };
    code.unwrap_or_else(|why| {
        eprintln!("{why}");
        println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::FAILURE
    })
}

impl Inside {
    async fn replay(&self) -> Result<ExitCode, String> {
        let told = |e: std::io::Error| e.to_string();
        if stormbed::supervisor::init::is_init() {
            // Executors outlive agents and are orphans then: somebody has to be their parent.
            let mut again = std::process::Command::new(std::env::current_exe().map_err(told)?);
            again.arg("--inside").args([&self.case, &self.root, &self.out, &self.stormd]);
            let code = stormbed::supervisor::init::run(&mut again).await.map_err(told)?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        let text = std::fs::read_to_string(&self.case).map_err(told)?;
        let case = Case::read(&self.case)?;
        for folder in [&self.root, &self.out] {
            std::fs::create_dir_all(folder).map_err(told)?;
        }
        let refused = std::fs::read(self.out.join(REFUSED)).ok();
        let refused: Option<Refused> = refused.and_then(|text| serde_json::from_slice(&text).ok());
        let folders = [self.root.as_path(), self.out.as_path(), self.stormd.as_path()];
        let outcome = replay(&case, &text, refused.as_ref(), folders).await;
        let result = serde_json::to_vec(&outcome).map_err(|e| e.to_string())?;
        std::fs::write(self.out.join("result.json"), result).map_err(told)?;
        hand_over(&self.out).map_err(told)?;
        if let Some(failure) = &outcome.failure {
            println!("{}", describe(failure));
        }
        Ok(if outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Gives the logs to whoever owns their folder.
fn hand_over(out: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let owner = std::fs::metadata(out)?;
    for entry in std::fs::read_dir(out)? {
        chown(entry?.path(), Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn describe(failure: &Failure) -> String {
    let Failure { step, t_ms, what, path, expected, got } = failure;
    let step = step.map_or_else(|| "before the first step".to_owned(), |step| format!("step {step} at {t_ms} ms"));
    format!("{step}, {what}: {path}\n      expected {expected}\n      got      {got}")
}

fn corpus() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus");
    std::env::var_os("STORMBED_CORPUS").map_or(default, PathBuf::from)
}

fn list() -> Result<(), String> {
    for file in files(&corpus())? {
        println!("{}", Case::read(&file)?.name);
    }
    Ok(())
}

async fn all(filters: Vec<String>) -> Result<ExitCode, String> {
    let files = files(&corpus())?;
    let mut cases = Vec::new();
    for file in files {
        cases.push((Case::read(&file)?, file));
    }
    let names: Vec<_> = cases.iter().map(|(case, _)| case.name.clone()).collect();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus-refused.toml");
    let refused = refused::read(&list, &names)?;
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus-open.toml");
    let open = refused::read_open(&list, &names)?;
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let out_of = cases.len();
    cases.retain(|(case, _)| wanted(&case.name));
    // The longest first: nobody waits for them in the end.
    cases.sort_by_key(|(case, _)| std::cmp::Reverse(case.duration_ms()));
    let filtered = out_of - cases.len();

    let machine = Machine::new()?;
    let sweeper = machine.clone();
    let (started, replaying) =
        (Instant::now(), tokio::spawn(async move { machine.replay_all(cases, refused, open).await }));
    let results = tokio::select! {
        results = replaying => Some(results),
        _ = tokio::signal::ctrl_c() => None,
    };
    sweeper.sweep().await;
    match results {
        Some(Ok(results)) => Ok(sum(&results?, filtered, started.elapsed())),
        Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        None => Ok(ExitCode::from(130)),
    }
}

fn sum(results: &BTreeMap<String, Verdict>, filtered: usize, took: Duration) -> ExitCode {
    let count = |which: fn(&Verdict) -> bool| results.values().filter(|result| which(result)).count();
    let passed = count(|result| matches!(result, Verdict::Passed));
    let failed = count(|result| matches!(result, Verdict::Failed(_)));
    let refused = count(|result| matches!(result, Verdict::Refused(_)));
    let open = count(|result| matches!(result, Verdict::Open(_)));
    for (name, result) in results {
        if let Verdict::Failed(failure) | Verdict::Open(failure) = result {
            println!("\n{name}: {}", describe(failure));
        }
    }
    println!("\n{passed} passed, {failed} failed, {refused} refused, {open} open in {:.0} s", took.as_secs_f64());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {passed} passed; {failed} failed; {} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s",
        refused + open,
        took.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The engine, and what of this machine goes into the containers.
#[derive(Debug, Clone)]
struct Machine {
    engine: Docker,
    run: String,
    image: String,
    zookeeper: String,
    replayer: PathBuf,
    logs: PathBuf,
}

impl Machine {
    fn new() -> Result<Self, String> {
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
            replayer: std::env::current_exe().map_err(|e| e.to_string())?,
            logs: Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus"),
        })
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.run.clone())])
    }

    /// Removes every container of this run.
    async fn sweep(&self) {
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

    async fn replay_all(
        &self,
        cases: Vec<(Case, PathBuf)>,
        refused: BTreeMap<String, Refused>,
        open: BTreeMap<String, Open>,
    ) -> Result<BTreeMap<String, Verdict>, String> {
        let donor = self.create(self.donor()).await?;
        let one = |(case, file): &(Case, PathBuf)| {
            let (refused, open, donor) = (refused.get(&case.name), open.get(&case.name), &donor);
            let (case, file) = (case.clone(), file.clone());
            async move {
                let started = Instant::now();
                let failure = match refused {
                    Some(refused) if refused.instead.is_empty() && refused.incomplete.is_empty() => None,
                    _ => self.replay(&case, &file, refused, donor).await,
                };
                let result = match (failure, refused) {
                    (Some(failure), _) if open.is_some() => Verdict::Open(Box::new(failure)),
                    (Some(failure), _) => Verdict::Failed(Box::new(failure)),
                    (None, Some(refused)) => Verdict::Refused(refused.reason.clone()),
                    (None, None) => Verdict::Passed,
                };
                let word = match (&result, open) {
                    (Verdict::Passed, Some(_)) => "ok, although it is listed as open".to_owned(),
                    (Verdict::Open(_), Some(open)) => format!("open: {}", open.differs),
                    _ => result.word(),
                };
                println!("test {} ({:.1} s) ... {word}", case.name, started.elapsed().as_secs_f64());
                (case.name, result)
            }
        };
        let mut results: BTreeMap<String, Verdict> =
            futures_util::stream::iter(&cases).map(one).buffer_unordered(AT_ONCE).collect().await;
        // Offers go round once a second. Several cases on few cores delay each other's tasks, and a task that ends on the other side
        // of a round than in the recording changes the offers: what such a case proves, it proves alone.
        let failed =
            |case: &Case, results: &BTreeMap<_, _>| matches!(results.get(&case.name), Some(Verdict::Failed(_)));
        for pair in &cases {
            if failed(&pair.0, &results) {
                print!("alone: ");
                results.extend([one(pair).await]);
            }
        }
        Ok(results)
    }

    async fn create(&self, body: ContainerCreateBody) -> Result<String, String> {
        let created = self.engine.create_container(None::<CreateContainerOptions>, body).await;
        Ok(created.map_err(|e| format!("cannot create a container: {e}"))?.id)
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
    async fn replay(&self, case: &Case, file: &Path, refused: Option<&Refused>, donor: &str) -> Option<Failure> {
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
                given(Path::new(env!("CARGO_BIN_EXE_stormd")), "stormd", true),
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

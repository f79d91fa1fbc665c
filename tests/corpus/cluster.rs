//! What runs inside of a case's network namespace: masters, agents, ZooKeeper, and the engine of the agents.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::case::{Case, Kind, Request};
use super::flags;
use super::http::{Connection, bytes};

/// Start of a program on a busy machine, a JVM among them.
const READY_MAX: Duration = Duration::from_secs(60);
/// Between looks at whether something is ready.
const LOOK: Duration = Duration::from_millis(20);
/// Where ZooKeeper listens.
const ZOOKEEPER: &str = "127.0.0.1:2181";
/// ZooKeeper's tick in the recordings: sessions last at most twenty of them.
const ZOOKEEPER_TICK_MS: &str = "200";

/// What one process is told.
#[derive(Debug, Clone)]
struct Told {
    line: Vec<String>,
    address: String,
    master: bool,
}

/// The processes of a case.
#[derive(Debug)]
pub struct Cluster {
    told: BTreeMap<String, Told>,
    running: BTreeMap<String, Child>,
    /// Where configurations, work directories and data lie.
    root: PathBuf,
    /// Where logs go.
    out: PathBuf,
    stormd: PathBuf,
}

/// What an answer was, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Status.
    pub status: u16,
    /// `Location`, if there is one.
    pub location: Option<String>,
    /// Body.
    pub body: String,
}

/// An event that a request brought about comes within this.
const AT_ONCE_MS: u64 = 100;
/// Between a master's rounds of offers (the default, which every recording has).
const ROUND_S: f64 = 1.0;

impl Cluster {
    /// The processes that a case tells of; none runs yet.
    pub fn new(case: &Case, root: &Path, out: &Path, stormd: &Path) -> Self {
        let told = |(name, line): (&String, &Vec<String>)| {
            let flag = |key: &str| line.iter().find_map(|f| f.strip_prefix(key)).unwrap_or_default();
            let address = format!("{}:{}", flag("--ip="), flag("--port="));
            let master = line.first().is_some_and(|program| program == "mesos-master");
            (name.clone(), Told { line: line.clone(), address, master })
        };
        Self {
            told: case.mesos_flags.iter().map(told).collect(),
            running: BTreeMap::new(),
            root: root.to_owned(),
            out: out.to_owned(),
            stormd: stormd.to_owned(),
        }
    }

    /// Where a process listens.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn address(&self, name: &str) -> Result<&str, String> {
        self.told.get(name).map(|told| told.address.as_str()).ok_or_else(|| format!("there is no process {name}"))
    }

    /// A process's work directory.
    pub fn work_dir(&self, name: &str) -> PathBuf {
        self.root.join("work").join(name)
    }

    /// Names of masters or agents.
    pub fn names(&self, masters: bool) -> Vec<String> {
        self.told.iter().filter(|(_, told)| told.master == masters).map(|(name, _)| name.clone()).collect()
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("cannot start {name}: {e}");
        let log = self.out.join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).map_err(failed)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// Starts a master or agent with its recorded flags, some of them changed.
    ///
    /// # Errors
    /// If a flag can't be translated or the process can't be started.
    pub fn start(&mut self, name: &str, change: impl Fn(&str) -> String) -> Result<(), String> {
        let told = self.told.get(name).ok_or_else(|| format!("there is no process {name}"))?;
        let line: Vec<String> = told.line.iter().map(|flag| change(flag)).collect();
        let program = if told.master { "master" } else { "agent" };
        let config = self.root.join(format!("{name}.toml"));
        let text = flags::configuration(&line, &self.work_dir(name))?;
        std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
        let mut command = Command::new(&self.stormd);
        self.spawn(name, command.arg(program).arg("--config").arg(config))
    }

    /// Starts ZooKeeper and waits until it serves.
    ///
    /// # Errors
    /// If it doesn't.
    pub async fn start_zookeeper(&mut self) -> Result<(), String> {
        let data = self.root.join("zookeeper");
        self.spawn("zk", Command::new("zk-run").env("ZK_TICK_MS", ZOOKEEPER_TICK_MS).env("ZK_DATA", data))?;
        eventually("ZooKeeper to serve", async || {
            let mut connection = Connection::open(ZOOKEEPER).await.ok()?;
            connection.send(b"ruok").await.ok()?;
            matches!(connection.exactly(4).await.ok()?.as_slice(), b"imok").then_some(())
        })
        .await
    }

    /// Starts the agents' engine with the images and the network of the recordings.
    ///
    /// # Errors
    /// If a step fails; with the engine's words.
    pub async fn start_engine(&mut self, case_text: &str) -> Result<(), String> {
        stormbed::supervisor::cgroup::prepare().map_err(|why| format!("the engine's cgroups: {why}"))?;
        self.spawn("dockerd", Command::new("dockerd").args(["--storage-driver", "overlay2"]))?;
        eventually("the engine to answer", async || docker(&["version"]).await.ok().map(|_| ())).await?;
        let images = [
            ("corpus-bb:local", &["ENV PATH=/bin", r#"CMD ["sleep","1000"]"#][..]),
            ("corpus-ep:local", &["ENV PATH=/bin", r#"ENTRYPOINT ["/bin/echo","entry"]"#, r#"CMD ["from-cmd"]"#][..]),
        ];
        for (image, changes) in images {
            if case_text.contains(image) {
                let changes = changes.iter().flat_map(|change| ["-c", change]);
                let arguments: Vec<_> = ["import"].into_iter().chain(changes).chain(["/busybox.tar", image]).collect();
                docker(&arguments).await?;
            }
        }
        if case_text.contains("corpus-net") {
            docker(&["network", "create", "--driver", "bridge", "--subnet", "198.18.77.0/24", "corpus-net"]).await?;
        }
        Ok(())
    }

    /// Starts everything that runs from the beginning, in an order that gives the recorded ids, and waits until it is ready.
    ///
    /// # Errors
    /// What didn't become ready.
    pub async fn begin(&mut self, case: &Case, case_text: &str) -> Result<(), String> {
        if case.has_agents() {
            self.start_engine(case_text).await?;
        }
        if case.leader_at_start.is_some() {
            self.start_zookeeper().await?;
        }
        let masters: Vec<_> = self.names(true).into_iter().filter(|name| case.starts_with(name)).collect();
        let leader = case.leader_at_start.clone().or_else(|| masters.first().cloned());
        let Some(leader) = leader.filter(|leader| masters.contains(leader)) else {
            return Ok(());
        };
        self.start(&leader, str::to_owned)?;
        // A single master with an election has no ZooKeeper: it will never lead.
        let elects = case.mesos_flags[&leader].iter().any(|flag| flag.starts_with("--zk="));
        let ready = if elects && case.leader_at_start.is_none() { 503 } else { 400 };
        self.until_teardown_says(&leader, ready).await?;
        for name in masters.iter().filter(|name| **name != leader) {
            self.start(name, str::to_owned)?;
            self.until_teardown_says(name, 307).await?;
        }
        let agents = self.names(false).into_iter().filter(|name| case.starts_with(name));
        for (others, name) in agents.enumerate() {
            self.start(&name, str::to_owned)?;
            let registered = eventually(&format!("agent {name} to register"), async || {
                if !self.runs(&name) {
                    return Some(false);
                }
                let said = self.ask(&leader, "GET", "/slaves", Value::Null).await?;
                let slaves: Value = serde_json::from_str(&said.body).ok()?;
                (slaves["slaves"].as_array()?.len() == others + 1).then_some(true)
            })
            .await?;
            if !registered {
                return Err(format!("agent {name} has ended: {}", self.log(&name)));
            }
        }
        Ok(())
    }

    /// Waits until the master's next round of offers is as far away as it was when the recording began: who finds what free
    /// depends on it. A master that doesn't lead has none.
    pub async fn fall_into_step(&self, case: &Case) {
        let offers = case.steps.iter().filter(|step| match &step.kind {
            Kind::Event { event, .. } => event["type"] == "OFFERS",
            _ => false,
        });
        // Earlier ones answer a subscription.
        let Some(round_ms) = offers.map(|step| step.t_ms).find(|t_ms| *t_ms > AT_ONCE_MS) else {
            return;
        };
        for name in self.names(true) {
            let Some(said) = self.ask(&name, "GET", "/state", Value::Null).await else {
                continue;
            };
            let state: Value = serde_json::from_str(&said.body).unwrap_or_default();
            let Some(elected_s) = state["elected_time"].as_f64() else {
                continue;
            };
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let until_s = (elected_s - now_s - Duration::from_millis(round_ms).as_secs_f64()).rem_euclid(ROUND_S);
            return tokio::time::sleep(Duration::from_secs_f64(until_s)).await;
        }
    }

    async fn until_teardown_says(&self, name: &str, status: u16) -> Result<(), String> {
        eventually(&format!("{name} to answer {status}"), async || {
            let said = self.teardown(name).await?;
            (said.status == status).then_some(())
        })
        .await
    }

    /// What a master says to the recorder's own question: TEARDOWN of a framework that doesn't exist.
    pub async fn teardown(&self, name: &str) -> Option<Said> {
        let body = json!({"type": "TEARDOWN", "framework_id": {"value": "x"}});
        self.ask(name, "POST", "/api/v1/scheduler", body).await
    }

    /// Asks a process; nothing if it doesn't answer.
    pub async fn ask(&self, name: &str, method: &str, path: &str, body: Value) -> Option<Said> {
        let json = |name: &str| (name.to_owned(), "application/json".to_owned());
        let request = Request {
            no: 0,
            to: name.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: BTreeMap::from([json("Content-Type"), json("Accept")]),
            body,
            body_base64: None,
            stream: None,
        };
        let address = self.address(name).ok()?;
        let mut connection = Connection::open(address).await.ok()?;
        connection.send(&bytes(&request, address)).await.ok()?;
        let head = connection.head().await.ok()?;
        let body = connection.body(&head, method).await.ok()?;
        let location = head.header("Location").map(str::to_owned);
        Some(Said { status: head.status, location, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The master that all running masters name as the leader; waits for it.
    ///
    /// # Errors
    /// If none leads.
    pub async fn leader(&mut self) -> Result<String, String> {
        eventually("a leader", async || {
            for name in self.names(true) {
                let Some(said) = self.ask(&name, "GET", "/redirect", Value::Null).await else {
                    continue;
                };
                let leader = said.location?.trim_start_matches('/').to_owned();
                let leader = self.told.iter().find(|(_, told)| told.master && told.address == leader)?.0;
                // Elected is not enough: it has to serve.
                return (self.teardown(leader).await?.status == 400).then(|| leader.clone());
            }
            None
        })
        .await
    }

    /// Whether a process runs.
    pub fn runs(&mut self, name: &str) -> bool {
        self.running.get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// If it doesn't run.
    pub async fn signal(&mut self, name: &str, signal: Signal) -> Result<(), String> {
        let child = self.running.get_mut(name).ok_or_else(|| format!("{name} was never started"))?;
        let pid = child.id().ok_or_else(|| format!("{name} has ended already"))?;
        let pid = i32::try_from(pid).map_err(|e| e.to_string())?;
        kill(Pid::from_raw(pid), signal).map_err(|e| format!("cannot signal {name}: {e}"))?;
        if signal == Signal::SIGKILL {
            child.wait().await.map_err(|e| format!("waiting for {name}: {e}"))?;
        }
        Ok(())
    }

    /// How a process ended; waits for it until a deadline.
    ///
    /// # Errors
    /// If it still runs then.
    pub async fn exit(&mut self, name: &str, deadline: Instant) -> Result<Value, String> {
        let child = self.running.get_mut(name).ok_or_else(|| format!("{name} was never started"))?;
        let status = tokio::time::timeout_at(deadline, child.wait())
            .await
            .map_err(|_| format!("{name} still runs"))?
            .map_err(|e| format!("waiting for {name}: {e}"))?;
        Ok(json!({"exit_code": status.code(), "signal": status.signal()}))
    }

    /// What a process wrote.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.out.join(format!("{name}.log"))).unwrap_or_default()
    }
}

/// Ends the docker executors of an agent, each at once: processes whose arguments name the program and the work directory.
///
/// # Errors
/// If there is none.
pub fn kill_executors(work_dir: &Path) -> Result<usize, String> {
    let mut killed = 0;
    let work_dir = work_dir.display().to_string();
    for entry in std::fs::read_dir("/proc").map_err(|e| e.to_string())?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let executor = arguments.split('\0').any(|argument| argument == "docker-executor");
        if executor && (arguments.contains(&work_dir) || environment.contains(&work_dir)) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|e| format!("cannot kill an executor: {e}"))?;
            killed += 1;
        }
    }
    if killed == 0 { Err("no docker executor runs".to_owned()) } else { Ok(killed) }
}

/// Runs the engine's command line; returns what it wrote.
///
/// # Errors
/// With its words.
pub async fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output().await.map_err(|e| format!("docker: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Looks until there is something to see.
///
/// # Errors
/// If there is nothing for too long.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {READY_MAX:?} for {what}"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

//! A run that is killed with SIGKILL leaves nothing broken: ten seconds later no fault is in force, and the next run starts clean.
//!
//! Every round starts a run on one standing topology, kills it at a random moment while a fault is in force, and looks for what
//! faults are made of, by name, on every machine. A round in which no fault was in force at the kill doesn't count.
//! `STORMBED_LEFTOVER_ROUNDS` says how many count (2 when absent).
//!
//! Needs Docker, and a whole topology.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use stormbed_harness::engine::{Engine, LABEL_HOME, LABEL_MACHINE, LABEL_RUN};
use stormbed_harness::run::Home;

type Failure = Box<dyn std::error::Error>;

const STORMBED: &str = env!("CARGO_BIN_EXE_stormbed");
/// What must be undone by itself within this time.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Until a run has made its first fault: the cluster may still be recovering from the round before, 120 s at most.
const FIRST_FAULT_MAX: Duration = Duration::from_secs(240);
/// The kill comes at a random moment of this time after the first fault: by then holds end and others begin.
const MOMENT_MAX_MS: u64 = 20_000;

/// Faults of every kind that is held, dense enough for something to be in force nearly always.
const STORM: &str = r#"
name  = "leftovers"
about = "Breaks things until it is killed."
[cluster]
nodes = 5
[[step]]
storm = { for = "120s", every = "1s..3s", faults = [
  { fault = "kill", target = { zookeeper = "any" }, for = "15s" },
  { fault = "kill", target = { mesos-agent = "any" }, for = "15s" },
  { fault = "kill", target = { framework = "any" }, for = "15s" },
  { fault = "kill", target = { host = "any" }, for = "15s" },
  { fault = "pause", target = { host = "any" }, for = "15s" },
  { fault = "pause", target = { node = "any" }, for = "15s" },
  { fault = "pause", target = { mesos-master = "any" }, for = "15s" },
  { fault = "isolate", target = { mesos-master = "any" }, for = "15s" },
  { fault = "isolate", target = { host = "any" }, for = "15s" },
  { fault = "partition", target = { node = "any" }, for = "15s" },
  { fault = "partition", target = { host = "any" }, for = "15s" },
  { fault = "loss", share = "30%", target = { mesos-master = "any" }, for = "15s" },
  { fault = "slow-link", delay = "100ms", target = { node = "any" }, for = "15s" },
  { fault = "slow-link", rate = "8mbit", target = { zookeeper = "any" }, for = "15s" },
  { fault = "isolate", target = { zookeeper = "any" }, for = "15s" },
  { fault = "isolate", target = { etcd = "any" }, for = "15s" },
  { fault = "pause", target = { etcd = "any" }, for = "15s" },
  { fault = "pause", target = { mesos-agent = "any" }, for = "15s" },
  { fault = "stop", target = { brick = "any" }, for = "15s" },
  { fault = "pause", target = { brick = "any" }, for = "15s" },
  { fault = "disk-full", target = { brick = "any" }, for = "15s" },
  { fault = "squeeze", what = "cpu", to = "20%", target = { node = "any" }, for = "15s" },
  { fault = "squeeze", what = "disk", delay = "100ms", target = { etcd = "any" }, for = "15s" },
  { fault = "squeeze", what = "disk", delay = "100ms", target = { zookeeper = "any" }, for = "15s" },
  { fault = "squeeze", what = "fsync", target = { brick = "any" }, for = "15s" },
  { fault = "oom", target = { etcd = "any" } },
  { fault = "stop", target = { bird = "any" }, for = "15s" },
  { fault = "isolate", target = { proxy = "any" }, for = "15s" } ] }
"#;
/// Breaks nothing: it passes on a cluster that is whole.
const CALM: &str = "name = \"calm\"\nabout = \"Nothing is broken.\"\n[[step]]\nwatch = \"2s\"\n";

/// Prints what faults are made of, one line each. Mounts are compared with those before the first fault; those of containers
/// come and go with them.
const LOOK: &str = r#"
for table in raw mangle filter nat; do
  iptables-save -t $table 2>/dev/null | grep -o 'STORMBED-[0-9a-f]*' | sed 's/^/rules /'
done | sort -u
sed -n 's/^ *\([0-9]*\) .*/queue \1/p' /proc/net/netfilter/nfnetlink_queue 2>/dev/null
tc qdisc show 2>/dev/null | grep -E 'netem|tbf|htb|ingress|clsact' | sed 's/^/qdisc /'
for stat in /proc/[0-9]*/stat; do
  sed -n 's/^\([0-9]*\) \((.*)\) T .*/stopped \1 \2/p' "$stat" 2>/dev/null
done
for comm in /proc/[0-9]*/comm; do
  grep -qsx strace "$comm" && echo "tracer $comm"
done
ls /run/stormbed/limits 2>/dev/null | sed 's/^/limit /'
grep -ls 'reserve 1000TB' /var/lib/glusterd/vols/*/*.vol | sed 's/^/full /'
if command -v docker >/dev/null && [ -S /var/run/docker.sock ]; then
  docker ps --all --filter status=paused --format 'frozen {{.Names}}'
  for id in $(docker ps --quiet --no-trunc); do
    for state in $(find /sys/fs/cgroup -path "*$id/freezer.state" -o -path "*$id/cgroup.freeze" 2>/dev/null); do
      grep -qxE 'FROZEN|1' "$state" && echo "frozen cgroup $state"
    done
  done
fi
if [ -d /bricks ] && pgrep -x glusterd >/dev/null && ! pgrep -x glusterfsd >/dev/null; then
  echo "no brick"
fi
if [ -S /run/stormbed/supervise.sock ]; then
  stormd supervise status | grep -B2 '"held": true' | sed -n 's/.*"name": "\(.*\)".*/held \1/p'
fi
grep -vE 'overlay|/docker/|netns|nsfs|^shm ' /proc/mounts | awk '{ print "mount", $2, $3 }'
"#;

fn stormbed(home: &Path) -> Command {
    let mut command = Command::new(STORMBED);
    command.env("XDG_STATE_HOME", home).stdin(Stdio::null());
    command
}

fn done(mut command: Command) -> Result<Output, Failure> {
    let output = command.output()?;
    let said = || [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    if output.status.success() { Ok(output) } else { Err(format!("{command:?}: {}: {}", output.status, said()).into()) }
}

/// Removes the topology, whatever the test came to.
struct Standing(PathBuf);

impl Drop for Standing {
    fn drop(&mut self) {
        let mut down = stormbed(&self.0);
        if let Err(error) = done({
            down.args(["down", "--all"]);
            down
        }) {
            eprintln!("{error}");
        }
    }
}

/// What shows on each machine: (machine, line).
async fn look(engine: &Engine, run: &str) -> Result<BTreeSet<(String, String)>, Failure> {
    let mut seen = BTreeSet::new();
    for container in engine.containers(LABEL_RUN, Some(run)).await? {
        let machine = container.labels.get(LABEL_MACHINE).cloned().unwrap_or_default();
        if container.state != "running" {
            seen.insert((machine, format!("container {}", container.state)));
            continue;
        }
        let output = engine.exec(&container.id, &["sh", "-c", LOOK], b"", Duration::from_secs(20)).await?;
        seen.extend(output.stdout.lines().map(|line| (machine.clone(), line.to_owned())));
    }
    Ok(seen)
}

/// Faults that the timeline shows to be in force, and what they are.
fn in_force(timeline: &Path) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for line in std::fs::read_to_string(timeline).unwrap_or_default().lines() {
        let Ok(moment) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let (Some(fault), Some(text)) = (moment["fault"].as_str(), moment["text"].as_str()) else {
            continue;
        };
        if text.ends_with(": acknowledged") {
            held.insert(fault.to_owned(), text.to_owned());
        } else if text.ends_with(": undone") || text.ends_with(": left to the system") {
            held.remove(fault);
        }
    }
    held
}

fn ended(child: &mut Child) -> Result<bool, Failure> {
    Ok(child.try_wait()?.is_some())
}

/// Starts a run, and kills it at a random moment after its first fault. Returns what was in force then.
fn killed(home: &Path, file: &Path, runs: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut run = stormbed(home);
    run.arg("run").arg(file).arg("--runs").arg(runs).args(["--seed", &rand::rng().random::<u32>().to_string()]);
    std::fs::create_dir_all(runs)?;
    let log = std::fs::File::create(runs.join("output.log"))?;
    let mut child = run.stdout(log.try_clone()?).stderr(log).spawn()?;
    let timeline = runs.join("latest/timeline.jsonl");
    let begin = Instant::now();
    while in_force(&timeline).is_empty() {
        if ended(&mut child)? || begin.elapsed() > FIRST_FAULT_MAX {
            child.kill()?;
            return Err(format!("no fault was made: {}", std::fs::read_to_string(runs.join("output.log"))?).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..MOMENT_MAX_MS)));
    child.kill()?;
    child.wait()?;
    Ok(in_force(&timeline))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_broken_when_a_run_is_killed() -> Result<(), Failure> {
    let wanted: usize = std::env::var("STORMBED_LEFTOVER_ROUNDS").map_or(Ok(2), |rounds| rounds.parse())?;
    let engine = Engine::connect().await?;
    let dir = tempfile::tempdir()?;
    let standing = Standing(dir.path().to_owned());
    let [storm, calm] = [("storm.toml", STORM), ("calm.toml", CALM)].map(|(name, text)| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).map(|()| path)
    });
    let (storm, calm) = (storm?, calm?);
    done({
        let mut up = stormbed(dir.path());
        up.arg("up");
        up
    })?;
    let home = Home::at(&dir.path().join("stormbed"));
    let run = home.runs()?.pop().ok_or("a topology stands")?;
    let before = look(&engine, &run).await?;
    assert!(before.iter().all(|(_, line)| line.starts_with("mount ")), "a fresh topology shows {before:?}");

    let (mut counted, mut rounds) = (0, 0);
    while counted < wanted {
        rounds += 1;
        assert!(rounds <= 2 * wanted + 3, "too few rounds had a fault in force: {counted} of {rounds}");
        let held = killed(dir.path(), &storm, &dir.path().join(format!("round-{rounds}")))?;
        tokio::time::sleep(GONE_WITHIN).await;
        let left: Vec<_> = look(&engine, &run).await?.difference(&before).cloned().collect();
        println!("round {rounds}: {} in force at the kill: {:?}", held.len(), held.values());
        assert!(left.is_empty(), "10 s after the kill of a run with {held:?} there is {left:?}");
        counted += usize::from(!held.is_empty());
    }
    println!("{counted} of {rounds} rounds counted; nothing was left in any of them");

    let next = done({
        let mut next = stormbed(dir.path());
        next.arg("run").arg(&calm).arg("--runs").arg(dir.path().join("next"));
        next
    })?;
    let said = String::from_utf8_lossy(&next.stdout);
    let mended =
        ["removed the rules", "released the part", "thawed", "started ", "set back", "ended the tracer", "freed"]
            .iter()
            .find(|word| said.contains(**word));
    assert_eq!(mended, None, "the next run found something to mend: {said}");
    drop(standing);
    let ours = home.directory().display().to_string();
    assert!(engine.label_values(LABEL_RUN, LABEL_HOME, &ours).await?.is_empty(), "nothing is left after `down`");
    assert!(home.runs()?.is_empty());
    Ok(())
}

//! `[mesos] flavor = "apache"` with a directory of stand-in programs: masters and hosts are assembled with it, and each program is
//! started as documented.
//!
//! Needs Docker. No Mesos ever answers, so the topology is brought up to the shared volume only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use stormbed_harness::engine::Engine;
use stormbed_harness::run::Home;
use stormbed_harness::topology::mesos::{Flavor, MesosConfig, agent, master};
use stormbed_harness::topology::ready::Stage;
use stormbed_harness::topology::{Role, Topology, TopologyConfig, down, up};

type Failure = Box<dyn std::error::Error>;

/// Says how it was started, in the place where the supervisor's log ends, and stays.
const STAND_IN: &str = "#!/bin/sh\necho \"started: $0 $* LD_LIBRARY_PATH=$LD_LIBRARY_PATH\"\nexec sleep 600\n";
/// An agent starts when the volume is mounted, some seconds after the stage that is waited for.
const START_MAX: Duration = Duration::from_secs(30);

fn install(prefix: &Path) -> Result<(), Failure> {
    for place in ["sbin/mesos-master", "bin/mesos-agent", "libexec/mesos/mesos-docker-executor"] {
        let place = prefix.join(place);
        std::fs::create_dir_all(place.parent().ok_or("a directory")?)?;
        std::fs::write(&place, STAND_IN)?;
        std::fs::set_permissions(&place, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_and_agents_are_started_from_the_prefix_with_every_flag() -> Result<(), Failure> {
    let engine = Engine::connect().await?;
    let prefix = tempfile::tempdir()?;
    std::fs::set_permissions(prefix.path(), PermissionsExt::from_mode(0o755))?;
    install(prefix.path())?;
    let dir = tempfile::tempdir()?;
    let home = Home::at(dir.path());
    let mesos =
        MesosConfig { flavor: Flavor::Apache, prefix: Some(prefix.path().to_owned()), ..MesosConfig::default() };
    let config = TopologyConfig { mesos, ..TopologyConfig::default() };
    let options = up::UpOptions { config, until: Stage::Storage, keep_failed: false };
    let tell = |line: &str| println!("{line}");
    let topology = up::up(&engine, &home, &options, &tell).await?;

    let seen = started(&topology).await;
    let plan = topology.plan().clone();
    topology.down().await?;
    let left = down::sweep(&engine, &home, &tell).await?;

    let seen = seen?;
    assert_eq!(left, 0);
    let libraries = format!(" LD_LIBRARY_PATH={}/lib", prefix.path().display());
    for (machine, line) in &seen {
        let machine = plan.machine(machine).ok_or("planned")?;
        let (told, place) = match machine.role {
            Role::Master => (master(&plan, machine), "sbin"),
            _ => (agent(&plan, machine), "bin"),
        };
        let program = told.command.iter().position(|word| word.starts_with("mesos-")).ok_or("a program")?;
        let words = &told.command[program..];
        let expected = format!("{}/{place}/{} {}{libraries}", prefix.path().display(), words[0], words[1..].join(" "));
        assert_eq!(line, &expected, "{}", machine.name);
    }
    assert_eq!(seen.len(), 6, "three masters and three agents");
    Ok(())
}

/// What the stand-in on each master and host said.
async fn started(topology: &Topology) -> Result<Vec<(String, String)>, Failure> {
    let machines: Vec<_> = topology.plan().machines.clone();
    let mut seen = Vec::new();
    let begin = Instant::now();
    for machine in machines {
        let part = match machine.role {
            Role::Master => "master",
            Role::Host => "agent",
            _ => continue,
        };
        let line = loop {
            let log = log(topology, &machine.name, part).await;
            if let Some((_, line)) = log.lines().find_map(|line| line.split_once("started: ")) {
                break line.to_owned();
            }
            if begin.elapsed() > START_MAX {
                return Err(format!("{}/{part} was not started; its log: {log}", machine.name).into());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        seen.push((machine.name, line));
    }
    Ok(seen)
}

async fn log(topology: &Topology, machine: &str, part: &str) -> String {
    let Ok(container) = topology.container(machine) else {
        return String::new();
    };
    let files = topology.engine().files_of(container, Path::new("/var/log/stormbed")).await.unwrap_or_default();
    let wanted = |path: &str| Path::new(path).file_stem().is_some_and(|stem| stem == part);
    files.iter().filter(|(path, _)| wanted(path)).map(|(_, text)| String::from_utf8_lossy(text)).collect()
}

//! Looking at this machine and its engine.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::Check;
use super::judge::{cpus, disk, memory, networks, probe};
use crate::engine::{ContainerSpec, Engine, EngineError, LABEL_HOME, LABEL_RUN};
use crate::fault::journal::{JOURNAL, unsettled};
use crate::run::{Home, Run, State, id};
use crate::topology::TopologyConfig;
use crate::topology::subnet::{Network, routes_of_machine};

/// Each line of its output is one answer. A machine's own container shows what a machine would have.
const PROBE: &str = include_str!("probe.sh");
/// Some commands in a container.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// Older engines have another API.
const ENGINE_LEAST: (u32, u32) = (20, 10);

/// Every check, in the order in which their lack would be met.
pub async fn look(home: &Home, config: &TopologyConfig) -> Vec<Check> {
    let mut checks = vec![
        memory(&read("/proc/meminfo")),
        cpus(
            std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            std::fs::read_to_string("/proc/pressure/cpu").ok().as_deref(),
        ),
        disk("disk (runs)", ".", free_mib(Path::new("."))),
        port(config.proxy_port),
    ];
    match Engine::connect().await {
        Err(error) => checks.insert(0, Check::missing("engine", "none that answers", error.to_string())),
        Ok(engine) => {
            let mut of_engine = engine_checks(&engine, home, config).await;
            of_engine.append(&mut checks);
            checks = of_engine;
        }
    }
    checks.push(left_behind(home));
    checks
}

async fn engine_checks(engine: &Engine, home: &Home, config: &TopologyConfig) -> Vec<Check> {
    let mut checks = Vec::new();
    match engine.docker().info().await {
        Err(error) => checks.push(Check::missing("engine", "it doesn't tell about itself", error.to_string())),
        Ok(info) => {
            let version = info.server_version.unwrap_or_default();
            let driver = info.driver.unwrap_or_default();
            let rootless = info.security_options.unwrap_or_default().iter().any(|option| option.contains("rootless"));
            let found = format!(
                "Docker {version}, {driver}, cgroup v{}{}",
                info.cgroup_version.map(|v| v.to_string()).unwrap_or_default(),
                if rootless { ", rootless" } else { "" }
            );
            checks.push(match () {
                () if rootless => Check::missing(
                    "engine",
                    found,
                    "machines mount file systems and run engines of their own: use an engine that runs as root",
                ),
                () if is_old(&version) => Check::missing("engine", found, "install Docker Engine 20.10 or newer"),
                () => Check::ok("engine", found),
            });
            let root = info.docker_root_dir.unwrap_or_default();
            checks.push(disk("disk (engine)", &root, free_mib(Path::new(&root))));
        }
    }
    match engine.subnets().await {
        Ok(subnets) => {
            let mut taken = routes_of_machine();
            taken.extend(subnets.iter().filter_map(|subnet| Network::parse(subnet)));
            checks.push(networks(config, &taken));
        }
        Err(error) => checks.push(Check::missing("networks", "the engine doesn't list them", error.to_string())),
    }
    match probed(engine, home).await {
        Ok(Some(said)) => checks.extend(probe(&said)),
        Ok(None) => checks.push(Check::costs(
            "kernel",
            "not probed: the images aren't built yet",
            "`stormbed images` builds them; then ask again",
        )),
        Err(error) => {
            checks.push(Check::missing("kernel", "a machine's container can't be started", error.to_string()))
        }
    }
    checks
}

/// What a container says that is what a topology's machines are; none without an image.
async fn probed(engine: &Engine, home: &Home) -> Result<Option<String>, EngineError> {
    let images = engine.images(crate::engine::LABEL_IMAGE).await?;
    let tags = images.into_iter().flat_map(|(_, tags)| tags);
    let Some(image) = tags.into_iter().find(|tag| tag.starts_with("stormbed-host-parts:")) else {
        return Ok(None);
    };
    let run = id::new();
    let spec = ContainerSpec {
        name: format!("stormbed-{run}-doctor"),
        hostname: "doctor".into(),
        image,
        command: vec!["sleep".into(), PROBE_MAX.as_secs().to_string()],
        labels: [(LABEL_RUN.to_owned(), run.clone()), (LABEL_HOME.to_owned(), home.directory().display().to_string())]
            .into(),
        volumes: vec![(format!("stormbed-{run}-doctor"), "/probe".into())],
        machine: true,
        ..ContainerSpec::default()
    };
    let container = engine.create(&spec).await?;
    let said = async {
        engine.start(&container).await?;
        engine.exec(&container, &["bash", "-c", PROBE], b"", PROBE_MAX).await
    }
    .await;
    engine.remove(&container).await?;
    engine.remove_networks_and_volumes(LABEL_RUN, &run).await?;
    Ok(Some(said?.stdout))
}

/// Runs that nobody is responsible for, and faults that nobody undid.
fn left_behind(home: &Home) -> Check {
    let abandoned: Vec<String> =
        home.abandoned().unwrap_or_default().iter().map(|run: &Run| run.id().to_owned()).collect();
    let runs = home.runs().unwrap_or_default();
    let owing: Vec<String> = runs
        .into_iter()
        .filter(|run| {
            let folder = home.folder(run);
            let text = std::fs::read_to_string(folder.join(JOURNAL)).unwrap_or_default();
            let standing = State::read(&folder).is_ok_and(|state| state.phase.is_standing());
            standing && !unsettled(&text).is_empty()
        })
        .collect();
    match (abandoned.is_empty(), owing.is_empty()) {
        (true, true) => Check::ok("left behind", "nothing"),
        (false, _) => Check::costs(
            "left behind",
            format!("runs that died: {}", abandoned.join(", ")),
            "the next `up` or `run` removes them, and so does `stormbed down --all`",
        ),
        (true, false) => Check::costs(
            "left behind",
            format!("faults that are not undone in: {}", owing.join(", ")),
            "the next `run` on it undoes them first",
        ),
    }
}

/// The proxy's port on the loopback.
fn port(wanted: Option<u16>) -> Check {
    let address = (std::net::Ipv4Addr::LOCALHOST, wanted.unwrap_or(0));
    match (std::net::TcpListener::bind(address), wanted) {
        (Ok(_), None) => Check::ok("port", "any free port of the loopback"),
        (Ok(_), Some(port)) => Check::ok("port", format!("{port} is free on the loopback")),
        (Err(error), _) => Check::missing(
            "port",
            format!("{}: {error}", address.1),
            "set another `proxy_port` in the configuration, or none for any free one",
        ),
    }
}

fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < ENGINE_LEAST,
        // A version that isn't one (a build of its own) is tried.
        _ => false,
    }
}

fn free_mib(place: &Path) -> Option<u64> {
    let found = statvfs(place).ok()?;
    Some(found.blocks_available() * found.fragment_size() / (1 << 20))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_compared_by_their_numbers() {
        assert!(is_old("19.03.15") && is_old("20.9.0"));
        assert!(!is_old("20.10.24+dfsg1") && !is_old("28.1.0") && !is_old("dev"));
    }

    #[test]
    fn what_a_killed_run_left_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::at(dir.path());
        assert_eq!(left_behind(&home).state, super::super::State::Ok);
        drop(Run::create(&home, "died").expect("it can be made"));
        assert!(left_behind(&home).found.contains("died"));
    }
}

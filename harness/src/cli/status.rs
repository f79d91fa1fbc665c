//! `stormbed status`

use super::connect;
use crate::engine::{LABEL_MACHINE, LABEL_RUN};
use crate::run::{Home, Phase, Run, RunError, State};
use crate::topology::TopologyError;

pub(super) async fn run(home: &Home) -> Result<u8, TopologyError> {
    let engine = connect().await?;
    let runs = home.runs()?;
    if runs.is_empty() {
        println!("no topology; start one with `stormbed up`");
    }
    for id in runs {
        let state = State::read(&home.folder(&id)).ok();
        let held = matches!(Run::open(home, &id), Err(RunError::Held { .. }));
        println!("run {id}: {}", word(state.as_ref().map(|s| s.phase), held));
        if let Some(state) = &state {
            let loopback = std::net::Ipv4Addr::LOCALHOST;
            println!("  jupyter  http://{loopback}:{}", state.proxy_port);
        }
        let mut listed = engine.containers(LABEL_RUN, Some(&id)).await?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for container in listed {
            let machine = container.labels.get(LABEL_MACHINE).unwrap_or(&container.name);
            println!("  {machine:<12} {:<10} {}", container.state, container.status);
        }
    }
    Ok(0)
}

fn word(phase: Option<Phase>, held: bool) -> &'static str {
    match (phase, held) {
        (Some(Phase::Standing), _) => "stands",
        (Some(Phase::Running), true) => "a scenario runs on it",
        (Some(Phase::Removing), true) => "being removed",
        (_, true) => "being started",
        (_, false) => "abandoned; the next `up`, or `down --all`, removes it",
    }
}

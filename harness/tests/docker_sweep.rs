//! What a killed `up` leaves behind goes with the next one; what stands, or belongs to others, stays.
//!
//! Needs Docker and `STORMBED_NODE_IMAGE`; `make test` sets it.

use std::collections::BTreeMap;

use stormbed_harness::engine::{ContainerSpec, Engine, LABEL_HOME, LABEL_RUN};
use stormbed_harness::run::{Home, Phase, Run, State, id};
use stormbed_harness::topology::{TopologyConfig, down, machines};

type Failure = Box<dyn std::error::Error>;

/// A run as a killed `up` leaves it: a container that runs, its volume, and a state that nobody holds.
async fn leave(engine: &Engine, home: &Home, phase: Phase) -> Result<String, Failure> {
    let image = std::env::var("STORMBED_NODE_IMAGE")
        .expect("set STORMBED_NODE_IMAGE to an image (`stormbed images --print` makes one and prints it)");
    let run = Run::create(home, &id::new())?;
    let state = State {
        id: run.id().to_owned(),
        phase,
        number: 0,
        config: TopologyConfig {
            // Never made: there is nothing to clear on it.
            cache_volume: format!("stormbed-none-{}", run.id()),
            ..TopologyConfig::default()
        },
        images: stormbed_harness::image::ImageSet {
            zookeeper: image.clone(),
            node: image.clone(),
            node_id: image.clone(),
            host: image.clone(),
            router: image.clone(),
        },
        proxy_port: 1,
    };
    state.write(run.folder())?;
    let container = ContainerSpec {
        name: format!("stormbed-{}-left", run.id()),
        hostname: "left".into(),
        image,
        command: vec!["sleep".into(), "300".into()],
        labels: machines::labels(run.id(), home),
        volumes: vec![(format!("stormbed-{}-left", run.id()), "/data".into())],
        ..ContainerSpec::default()
    };
    let container = engine.create(&container).await?;
    engine.start(&container).await?;
    Ok(run.id().to_owned())
}

async fn left(engine: &Engine, home: &Home) -> Result<Vec<String>, Failure> {
    let ours = home.directory().display().to_string();
    Ok(engine.label_values(LABEL_RUN, LABEL_HOME, &ours).await?.into_iter().collect())
}

#[tokio::test]
async fn a_sweep_removes_what_was_abandoned_and_nothing_else() -> Result<(), Failure> {
    let engine = Engine::connect().await?;
    let dir = tempfile::tempdir()?;
    let home = Home::at(dir.path());
    let elsewhere = tempfile::tempdir()?;
    let others = Home::at(elsewhere.path());
    let tell = |_: &str| {};

    let killed = leave(&engine, &home, Phase::Starting).await?;
    let standing = leave(&engine, &home, Phase::Standing).await?;
    let foreign = leave(&engine, &others, Phase::Starting).await?;
    // A run whose folder is lost is found by its labels.
    let lost = leave(&engine, &home, Phase::Starting).await?;
    std::fs::remove_dir_all(home.folder(&lost))?;

    let swept = down::sweep(&engine, &home, &tell).await?;
    assert_eq!(swept, 2, "{killed} and {lost}");
    assert_eq!(left(&engine, &home).await?, vec![standing.clone()]);
    assert_eq!(left(&engine, &others).await?, vec![foreign.clone()]);
    assert_eq!(home.runs()?, vec![standing.clone()]);

    down::remove(&engine, &home, Run::open(&home, &standing)?).await?;
    down::sweep(&engine, &others, &tell).await?;
    assert!(left(&engine, &home).await?.is_empty());
    assert!(left(&engine, &others).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_subnet_that_is_taken_is_refused_by_the_engine() -> Result<(), Failure> {
    let engine = Engine::connect().await?;
    let dir = tempfile::tempdir()?;
    let labels: BTreeMap<String, String> = machines::labels(&id::new(), &Home::at(dir.path()));
    // TEST-NET-3 (RFC 5737): nobody's.
    let (subnet, gateway) = ("203.0.113.0/28", "203.0.113.1".parse()?);
    let run = &labels[LABEL_RUN];
    engine.create_network(&format!("stormbed-{run}-a"), subnet, gateway, &labels).await?;
    let second = engine.create_network(&format!("stormbed-{run}-b"), subnet, gateway, &labels).await;
    engine.remove_networks_and_volumes(LABEL_RUN, run).await?;
    let error = second.expect_err("it overlaps").to_string();
    assert!(error.contains("overlap"), "{error}");
    Ok(())
}

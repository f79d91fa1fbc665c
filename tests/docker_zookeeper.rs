//! Elections and the framework's state on a real ZooKeeper.
//!
//! Needs Docker and `STORMBED_ZOOKEEPER_IMAGE=<name>:<tag>`, the testbed's ZooKeeper image.

use std::time::Duration;

use stormbed::framework::store::{Store, StoreError};
use stormbed::mesos::contender::{Standing, contend};
use stormbed::mesos::detector::detect;
use stormbed::mesos::zk::ZkUrl;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::watch;

const SESSION: Duration = Duration::from_secs(2);
/// Start of a Java server, and expiry with a margin, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn zookeeper() -> (ContainerAsync<GenericImage>, ZkUrl) {
    let image = std::env::var("STORMBED_ZOOKEEPER_IMAGE").expect(
        "set STORMBED_ZOOKEEPER_IMAGE to the testbed's ZooKeeper image, e.g. stormbed-zookeeper:<tag> from `docker images`",
    );
    let (name, tag) = image.split_once(':').unwrap_or((&image, "latest"));
    let server = GenericImage::new(name, tag)
        .with_exposed_port(2181.tcp())
        .with_env_var("ZK_TICK_MS", "500")
        .with_label("stormbed.run", "test-zookeeper")
        .start()
        .await
        .expect("the ZooKeeper image starts");
    let port = server.get_host_port_ipv4(2181).await.expect("a published port");
    let url = format!("zk://127.0.0.1:{port}/a/b");
    (server, url.parse().expect("a URL"))
}

/// Waits until the watched value is as expected.
async fn until<T: Clone + std::fmt::Debug>(
    watched: &mut watch::Receiver<T>,
    what: &str,
    expected: impl FnMut(&T) -> bool,
) {
    let found = tokio::time::timeout(PATIENCE, watched.wait_for(expected)).await.is_ok();
    assert!(found, "{what}: still {:?}", *watched.borrow());
}

#[tokio::test]
async fn the_first_leads_until_it_resigns_and_then_the_next() {
    let (_server, url) = zookeeper().await;
    let mut leader = detect::<String>(url.clone(), SESSION);
    let mut first = contend(url.clone(), br#""first""#.to_vec(), SESSION);
    until(&mut first, "first", |s| *s == Standing::Elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("first")).await;
    let mut second = contend(url.clone(), b"not json".to_vec(), SESSION);
    let mut third = contend(url, br#""third""#.to_vec(), SESSION);
    // Both stand before the first resigns.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*second.borrow(), Standing::Standby);
    drop(first);
    tokio::select! {
        () = until(&mut second, "second", |s| *s == Standing::Elected) => {}
        () = until(&mut third, "third", |s| *s == Standing::Elected) => {}
    }
    if *second.borrow() == Standing::Elected {
        until(&mut leader, "a leader that can't be understood is none", Option::is_none).await;
    }
    drop(second);
    until(&mut third, "third", |s| *s == Standing::Elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("third")).await;
}

#[tokio::test]
async fn a_leader_whose_servers_are_silent_expires_by_itself() {
    let (server, url) = zookeeper().await;
    let mut leader = detect::<String>(url.clone(), SESSION);
    let mut standing = contend(url.clone(), br#""first""#.to_vec(), SESSION);
    until(&mut leader, "leader", Option::is_some).await;
    until(&mut standing, "elected", |s| *s == Standing::Elected).await;
    server.pause().await.expect("pause");
    until(&mut standing, "lost", |s| *s == Standing::Lost).await;
    until(&mut leader, "none", Option::is_none).await;
    server.unpause().await.expect("unpause");
    let mut second = contend(url, br#""second""#.to_vec(), SESSION);
    until(&mut second, "elected", |s| *s == Standing::Elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("second")).await;
}

#[tokio::test]
async fn who_takes_the_state_over_fences_who_had_it() {
    let (_server, url) = zookeeper().await;
    let (mut first, mut state) = Store::take_over(&url, SESSION, "one", 3).await.expect("new");
    assert_eq!((state.slots.len(), state.framework_id.as_deref()), (3, None));
    state.framework_id = Some("f-0000".into());
    first.write(&state).await.expect("written");
    let (mut second, found) = Store::take_over(&url, SESSION, "two", 5).await.expect("there");
    assert_eq!(found.framework_id.as_deref(), Some("f-0000"));
    assert_eq!((found.slots.len(), found.scheduler.as_str()), (5, "two"));
    let refused = first.write(&state).await;
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "{refused:?}");
    second.write(&found).await.expect("still its owner");
}

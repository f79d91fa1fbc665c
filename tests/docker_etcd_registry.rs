//! The registry against a real etcd: the node image named by `STORMBED_NODE_IMAGE`, one member in a container of its own.

use std::net::Ipv4Addr;
use std::time::Duration;

use stormbed::registry::store::{Store, StoreError, bounded, connect};
use stormbed::registry::{ETCD_CLIENT_PORT, LeaderRecord, NodeRecord};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

const CLUSTER: &str = "registry-test";
/// etcd's shortest lease is 2 s (it raises 1); expiry is looked for every 500 ms.
const TTL_S: i64 = 2;

struct Etcd {
    store: Store,
    _container: ContainerAsync<GenericImage>,
}

async fn etcd() -> Etcd {
    let image = std::env::var("STORMBED_NODE_IMAGE")
        .expect("STORMBED_NODE_IMAGE must name the node image (with a tag); `stormbed images` builds and prints it");
    let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let client = format!("http://0.0.0.0:{ETCD_CLIENT_PORT}");
    let container = GenericImage::new(name, tag)
        .with_exposed_port(ETCD_CLIENT_PORT.tcp())
        .with_wait_for(WaitFor::message_on_stderr("serving client traffic insecurely"))
        .with_cmd([
            "etcd".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            "--grpc-keepalive-min-time=500ms".to_owned(),
            "--logger=zap".to_owned(),
        ])
        .with_label("stormbed.run", "registry-test")
        .start()
        .await
        .expect("etcd starts");
    let port = container.get_host_port_ipv4(ETCD_CLIENT_PORT.tcp()).await.expect("a port");
    let client = connect(&[format!("http://127.0.0.1:{port}")]).await.expect("a client");
    Etcd { store: Store::new(client, CLUSTER), _container: container }
}

fn record(slot: u32, incarnation: u64) -> NodeRecord {
    NodeRecord {
        slot,
        incarnation,
        address: Ipv4Addr::new(198, 19, 0, 10),
        member_id: "1".into(),
        host_key: "ssh-ed25519 host".into(),
        user_key: "ssh-ed25519 user".into(),
    }
}

fn leader(slot: u32, term: u64) -> LeaderRecord {
    LeaderRecord { slot, incarnation: 1, address: Ipv4Addr::new(198, 19, 0, 10), term }
}

async fn lease(store: &Store) -> i64 {
    bounded(store.client().lease_client().grant(TTL_S, None)).await.expect("a lease").id()
}

#[tokio::test]
async fn a_registration_lives_as_long_as_its_lease_and_lower_incarnations_are_refused() {
    let etcd = etcd().await;
    let store = &etcd.store;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let (log, watcher) = (seen.clone(), store.clone());
    let follow =
        tokio::spawn(
            async move { watcher.follow(|state| log.lock().expect("one thread").push(state.nodes.len())).await },
        );

    store.register(&record(3, 4), lease(store).await).await.expect("the first registers");
    store.register(&record(3, 5), lease(store).await).await.expect("a later one replaces it");
    let refused = store.register(&record(3, 4), lease(store).await).await;
    assert!(matches!(refused, Err(StoreError::Fenced { seen: 5, .. })), "{refused:?}");
    let state = store.snapshot().await.expect("a read");
    assert_eq!(state.nodes[&3].incarnation, 5);
    assert_eq!(state.incarnations[&3], 5);

    assert!(!store.remove_registration(3, 4).await.expect("a look"), "it carries another incarnation");
    for _ in 0..40 {
        if store.snapshot().await.expect("a read").nodes.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let state = store.snapshot().await.expect("a read");
    assert!(state.nodes.is_empty(), "the lease has expired");
    assert_eq!(state.incarnations[&3], 5, "the fence outlives the registration");

    store.register(&record(3, 5), lease(store).await).await.expect("the same one comes back");
    assert!(store.remove_registration(3, 5).await.expect("a removal"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    follow.abort();
    let seen = seen.lock().expect("one thread").clone();
    assert_eq!(seen.first(), Some(&0));
    assert_eq!(seen.last(), Some(&0));
    assert!(seen.windows(2).filter(|w| w[0] == 1 && w[1] == 0).count() == 2, "{seen:?}");
}

#[tokio::test]
async fn the_leader_record_never_goes_back_in_term() {
    let etcd = etcd().await;
    let store = &etcd.store;
    assert!(store.publish_leader(&leader(0, 5)).await.expect("a write"));
    assert!(!store.publish_leader(&leader(1, 4)).await.expect("a look"));
    assert_eq!(store.snapshot().await.expect("a read").leader, Some(leader(0, 5)));
    assert!(store.publish_leader(&leader(1, 6)).await.expect("a write"));
    store.register(&record(2, 9), lease(store).await).await.expect("a registration");
    let fenced = store.publish_leader(&leader(2, 7)).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { mine: 1, seen: 9, .. })), "{fenced:?}");
    assert_eq!(store.snapshot().await.expect("a read").leader, Some(leader(1, 6)));
}

#[tokio::test]
async fn one_slot_at_a_time_changes_the_membership() {
    let etcd = etcd().await;
    let store = &etcd.store;
    let first = lease(store).await;
    assert!(store.lock_membership(1, 1, first).await.expect("a lock"));
    assert!(store.lock_membership(1, 1, first).await.expect("the same slot may ask again"));
    assert!(!store.lock_membership(2, 1, lease(store).await).await.expect("a look"));
    bounded(store.client().lease_client().revoke(first)).await.expect("a release");
    let late = store.lock_membership(1, 1, first).await;
    assert!(late.is_err(), "who slept through the end of its lease holds nothing: {late:?}");
    let second = lease(store).await;
    assert!(store.lock_membership(2, 2, second).await.expect("a lock"));
    let twin = store.lock_membership(2, 1, second).await;
    assert!(matches!(twin, Err(StoreError::Fenced { mine: 1, seen: 2, .. })), "an earlier life of the slot: {twin:?}");
}

#[tokio::test]
async fn who_changes_the_membership_fences_its_former_incarnations_first() {
    let etcd = etcd().await;
    let store = &etcd.store;
    store.register(&record(3, 4), lease(store).await).await.expect("the twin has registered");
    assert!(store.lock_membership(3, 5, lease(store).await).await.expect("a lock"));
    assert_eq!(store.snapshot().await.expect("a read").incarnations[&3], 5, "the twin sees it");
    let refused = store.lock_membership(3, 4, lease(store).await).await;
    assert!(matches!(refused, Err(StoreError::Fenced { mine: 4, seen: 5, .. })), "{refused:?}");
    let refused = store.register(&record(3, 4), lease(store).await).await;
    assert!(matches!(refused, Err(StoreError::Fenced { mine: 4, seen: 5, .. })), "{refused:?}");
}

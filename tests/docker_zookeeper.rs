//! Elections and the framework's state on a real ZooKeeper.
//!
//! Needs Docker and `STORMBED_ZOOKEEPER_IMAGE=<name>:<tag>`, the testbed's ZooKeeper image.

use std::time::{Duration, Instant};

use stormbed::config::FrameworkConfig;
use stormbed::framework::core::state::State;
use stormbed::framework::store::{Store, StoreError};
use stormbed::framework::{self, FrameworkError};
use stormbed::mesos::contender::{Contender, Standing, contend};
use stormbed::mesos::detector::detect;
use stormbed::mesos::zk::ZkUrl;
use stormbed::outpost::zookeeper::Ensemble;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::{mpsc, oneshot, watch};

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

fn is_elected(standing: &Standing) -> bool {
    matches!(standing, Standing::Elected { .. })
}

/// Stands in the election, and waits until elected; returns the node.
async fn elected(url: &ZkUrl) -> (Contender, String) {
    let mut contender = contend(url.join("election"), b"{}".to_vec(), SESSION);
    until(&mut contender.standing, "elected", is_elected).await;
    let node = match &*contender.standing.borrow() {
        Standing::Elected { node } => node.clone(),
        other => panic!("{other:?}"),
    };
    (contender, node)
}

#[tokio::test]
async fn who_resigns_is_out_of_the_election_when_that_is_done() {
    let (_server, url) = zookeeper().await;
    let (contender, node) = elected(&url).await;
    let client = url.open(SESSION).await.expect("a session");
    assert!(client.check_stat(&node).await.expect("an answer").is_some());
    contender.resign().await;
    client.sync(&url.path).await.expect("an answer");
    assert!(client.check_stat(&node).await.expect("an answer").is_none(), "its session ends before it returns");
}

#[tokio::test]
async fn the_first_leads_until_it_resigns_and_then_the_next() {
    let (_server, url) = zookeeper().await;
    let mut leader = detect::<String>(url.clone(), SESSION);
    let mut first = contend(url.clone(), br#""first""#.to_vec(), SESSION);
    until(&mut first.standing, "first", is_elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("first")).await;
    let mut second = contend(url.clone(), b"not json".to_vec(), SESSION);
    let mut third = contend(url, br#""third""#.to_vec(), SESSION);
    // Both stand before the first resigns.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*second.standing.borrow(), Standing::Standby);
    drop(first);
    tokio::select! {
        () = until(&mut second.standing, "second", is_elected) => {}
        () = until(&mut third.standing, "third", is_elected) => {}
    }
    if is_elected(&second.standing.borrow()) {
        until(&mut leader, "a leader that can't be understood is none", Option::is_none).await;
    }
    drop(second);
    until(&mut third.standing, "third", is_elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("third")).await;
}

#[tokio::test]
async fn a_leader_whose_servers_are_silent_expires_by_itself_when_its_session_does() {
    // Long enough to tell its end from the end of a session that is counted from the moment when silence is noticed: 1.4 times it.
    let session = Duration::from_secs(10);
    let (server, url) = zookeeper().await;
    let mut leader = detect::<String>(url.clone(), session);
    let mut first = contend(url.clone(), br#""first""#.to_vec(), session);
    until(&mut leader, "leader", Option::is_some).await;
    until(&mut first.standing, "elected", is_elected).await;
    server.pause().await.expect("pause");
    let paused = Instant::now();
    until(&mut first.standing, "lost", |s| *s == Standing::Lost).await;
    let took = paused.elapsed();
    assert!(took > session * 8 / 10 && took < session * 12 / 10, "{took:?}");
    until(&mut leader, "none", Option::is_none).await;
    server.unpause().await.expect("unpause");
    let mut second = contend(url, br#""second""#.to_vec(), SESSION);
    until(&mut second.standing, "elected", is_elected).await;
    until(&mut leader, "leader", |l| l.as_deref() == Some("second")).await;
}

#[tokio::test]
async fn who_takes_the_state_over_fences_who_had_it() {
    let (_server, url) = zookeeper().await;
    let (first_stands, first_node) = elected(&url).await;
    let (mut first, mut state) = Store::take_over(&url, &first_node, SESSION, "one", 3).await.expect("new");
    assert_eq!((state.slots.len(), state.framework_id.as_deref()), (3, None));
    state.framework_id = Some("f-0000".into());
    first.write(&state).await.expect("written");

    drop(first_stands);
    let (_second_stands, second_node) = elected(&url).await;
    // The second has not written yet: it is the first one's lost election alone that stops it.
    let refused = first.write(&state).await;
    assert!(matches!(refused, Err(StoreError::Deposed(_))), "{refused:?}");
    let late = Store::take_over(&url, &first_node, SESSION, "one", 3).await;
    assert!(matches!(late, Err(StoreError::Deposed(_))), "elected, frozen, and too late: {late:?}");

    let (mut second, found) = Store::take_over(&url, &second_node, SESSION, "two", 5).await.expect("there");
    assert_eq!(found.framework_id.as_deref(), Some("f-0000"));
    assert_eq!((found.slots.len(), found.scheduler.as_str()), (5, "two"));
    second.write(&found).await.expect("still its owner");
    let (mut third, later) = Store::take_over(&url, &second_node, SESSION, "two again", 5).await.expect("there");
    let refused = second.write(&found).await;
    assert!(matches!(refused, Err(StoreError::Fenced(_))), "the version alone fences too: {refused:?}");
    third.write(&later).await.expect("still its owner");
}

/// A scheduler in a thread of its own, which can be frozen as a whole.
struct Scheduler {
    freeze: mpsc::Sender<Duration>,
    ended: oneshot::Receiver<FrameworkError>,
}

impl Scheduler {
    fn start(instance: &str, url: &ZkUrl) -> Self {
        let text = format!(
            r#"
            instance = "{instance}"
            ip = "127.0.0.1"
            mesos_zk = "{}"
            state_zk = "{url}"
            zk_session_timeout_ms = {}
            [cluster]
            name = "c1"
            prefix = "storm"
            nodes = 3
            pool = "198.19.7.0/24"
            image = "none"
            cpus = 0.25
            mem_mb = 300.0
            "#,
            url.join("mesos"),
            SESSION.as_millis()
        );
        let config: FrameworkConfig = toml::from_str(&text).expect("a configuration");
        let (freeze, mut frozen) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let error = runtime.block_on(async {
                tokio::spawn(async move {
                    while let Some(time) = frozen.recv().await {
                        // Blocks every task of this scheduler, as SIGSTOP would.
                        std::thread::sleep(time);
                    }
                });
                framework::run(config, std::future::pending()).await.expect_err("it runs until it must stop")
            });
            let _ = end.send(error);
        });
        Self { freeze, ended }
    }
}

/// A master of our own on a free port.
fn start_master(url: &ZkUrl) -> tokio::task::JoinHandle<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let zk = url.join("mesos");
    let text = format!("ip = '127.0.0.1'\nhostname = '127.0.0.1'\nport = {port}\nzk = '{zk}'\n");
    let config = toml::from_str(&text).expect("a configuration");
    tokio::spawn(async move {
        panic!("the master ended: {:?}", stormbed::master::run(config, std::future::pending()).await)
    })
}

/// The state's scheduler and framework id, once it is as expected.
async fn state(url: &ZkUrl, expected: impl Fn(&State) -> bool) -> State {
    let path = format!("{}/state", url.path);
    let read = async {
        let client = url.open_patiently(SESSION).await;
        loop {
            if let Ok((document, _)) = client.get_data(&path).await {
                let state: State = serde_json::from_slice(&document).expect("a state");
                if expected(&state) {
                    return state;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the state never became as expected")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_scheduler_is_replaced_under_the_same_framework_id_and_stops_when_it_wakes() {
    let (_server, url) = zookeeper().await;
    let master = start_master(&url);
    let one = Scheduler::start("one", &url);
    let before = state(&url, |state| state.scheduler == "one" && state.framework_id.is_some()).await;
    let mut two = Scheduler::start("two", &url);
    // It stands before the first one freezes.
    tokio::time::sleep(SESSION).await;
    assert_eq!(state(&url, |_| true).await.scheduler, "one", "a standby changes nothing");

    one.freeze.send(SESSION * 3).await.expect("it runs");
    let after = state(&url, |state| state.scheduler == "two").await;
    assert_eq!(after.framework_id, before.framework_id);
    let end = tokio::time::timeout(PATIENCE, one.ended).await.expect("it stops").expect("with an error");
    assert!(end.is_deposition(), "{end}");
    tokio::time::sleep(SESSION).await;
    assert_eq!(state(&url, |_| true).await, after, "nothing of the first one's came after");
    assert!(two.ended.try_recv().is_err(), "the second leads on");
    assert!(!master.is_finished());
}

#[tokio::test]
async fn a_look_at_elections_leaves_a_server_that_fell_silent_after_one_answer_that_lacks() {
    let (first, second) = (zookeeper().await, zookeeper().await);
    let address = |url: &ZkUrl| url.servers.clone();
    let servers = [("a", &first.1), ("b", &second.1)].map(|(name, url)| (name.to_owned(), address(url)));
    let ensemble = Ensemble::new(servers.into(), "/mesos".into(), "/schedulers".into());
    let seen = async || ensemble.look().await.election.is_ok();
    let end = Instant::now() + PATIENCE;
    while !(seen().await && seen().await) {
        assert!(Instant::now() < end, "no session in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Both have a session by now; whoever is asked falls silent in its turn.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (server, _) in [&first, &second] {
        server.pause().await.expect("pause");
        let looks = [seen().await, seen().await, seen().await];
        assert!(looks.iter().filter(|seen| !**seen).count() <= 1 && looks[1] && looks[2], "{looks:?}");
        server.unpause().await.expect("unpause");
        while !ensemble.look().await.servers.values().all(Result::is_ok) {
            assert!(Instant::now() < end, "it doesn't answer again");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

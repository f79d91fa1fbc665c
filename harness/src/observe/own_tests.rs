//! Questions of the user's own, put to a proxy and to outposts that answer as a test says.

use std::collections::BTreeMap;

use stormbed::clock::Millis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::fault::{Role, Target};
use crate::invariant::Name;
use crate::invariant::fixture::Cluster;
use crate::observe::fake::FakeMachines;
use crate::observe::jupyter::Jupyter;
use crate::runner::nowhere;

const MACHINES: [&str; 7] = ["edge", "host-1", "host-2", "host-3", "zk-1", "zk-2", "zk-3"];

/// Answers every request with this status and body.
async fn server(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

fn own(name: &str, question: Question) -> Own {
    Own { name: Name::of(name), about: String::new(), like: None, every_ms: 50, within_ms: 500, question }
}

fn http(name: &str, url: &str, body: Option<&str>) -> Own {
    own(name, Question::Http(Http { url: url.into(), status: 200, body: body.map(str::to_owned) }))
}

fn exec(on: Target, output: Option<&str>) -> Exec {
    Exec { on, command: vec!["id".into()], exit: 0, output: output.map(str::to_owned) }
}

fn world(shape: Shape, machines: FakeMachines, proxy: &str) -> World {
    let jupyter = Jupyter::new(proxy, "t").expect("a client");
    World::open("r", stormbed::clock::Clock::start(), shape, Arc::new(machines), jupyter)
}

#[tokio::test]
async fn answers_come_again_and_again_until_the_set_is_dropped() {
    let proxy = server(200, "[1, 2]").await;
    let other = server(503, "oh no").await;
    let world = world(nowhere(), FakeMachines::of(&[]), &proxy);
    let deep = Arc::new(DeepTier::new(world.clone(), watch::channel(None).1));
    let all = [
        http("list", "/api/kernels", Some("^\\[")),
        http("wrong", "/api/kernels", Some("^\\{")),
        http("down", &other, None),
        http("nobody", "http://127.0.0.1:9/", None),
    ];
    let tasks = ask(&all, &world, &deep, 1);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let seen = deep.newest().own;
    let answer = |name: &str| seen[&Name::of(name)].result.clone().expect("the runner itself asks");
    assert_eq!(answer("list"), Ok(Answer { code: 200, matches: true, start: "[1, 2]".into(), by: None }));
    assert!(answer("wrong").is_ok_and(|answer| !answer.matches));
    assert!(answer("down").is_ok_and(|answer| answer.code == 503));
    assert!(answer("nobody").is_err());
    let first = seen[&Name::of("list")].end;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(deep.newest().own[&Name::of("list")].end > first, "it is asked again");
    drop(tasks);
    let last = deep.newest().own[&Name::of("list")].end;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(deep.newest().own[&Name::of("list")].end.0 <= last.0 + 60, "nobody asks any more");
}

/// Who would answer a command on this target, as the cluster is seen; outposts say where they ran it.
async fn asked(cluster: &Cluster, question: Exec) -> Asked<Answer> {
    let says = |machine: &str, call: Call| match call {
        Call::Run { container, words, within_ms } => {
            assert_eq!((words, within_ms), (vec!["id".to_owned()], 500));
            let output = format!("{machine} {}\n", container.as_deref().unwrap_or("itself"));
            let code = i32::from(container.as_deref() == Some("c4"));
            Ok(Reply::Ran(Ran { code, output, errors: String::new() }))
        }
        other => Err(format!("{other:?} was not expected")),
    };
    let machines = FakeMachines::of(&[]).saying(&MACHINES, says);
    let world = world(cluster.shape.clone(), machines, "http://127.0.0.1:9");
    for outpost in world.outposts.values() {
        outpost.ready(Duration::from_secs(5)).await.expect("it greets");
    }
    let seen = Seen { observation: cluster.seen.clone(), truth: cluster.truth() };
    // The tick stays as it is.
    let (_keep, newest) = watch::channel(Some(Arc::new(seen)));
    let deep = Arc::new(DeepTier::new(world.clone(), newest));
    let asker = Asker::new(own("x", Question::Exec(question.clone())), world, deep, 1);
    asker.command(&question).await.result
}

fn target(class: TargetClass, role: Role) -> Target {
    Target::new(class, role)
}

#[tokio::test]
async fn a_command_runs_where_the_role_is_held() {
    let steady = Cluster::steady();
    let by = async |target: Target| {
        let answer = asked(&steady, exec(target, None)).await.expect("it is asked").expect("it is answered");
        (answer.by.expect("it is known"), answer.start)
    };
    let told = |by: &str, where_: &str| (by.to_owned(), where_.to_owned());
    assert_eq!(by(target(TargetClass::Node, Role::Leader)).await, told("storm-s2", "host-3 c2"));
    assert_eq!(by(target(TargetClass::Node, Role::Slot(3))).await, told("storm-s3", "host-1 c3"));
    assert_eq!(by(target(TargetClass::ZooKeeper, Role::Leader)).await, told("zk-2", "zk-2 itself"));
    assert_eq!(by(target(TargetClass::Host, Role::OfLeader)).await, told("host-3", "host-3 itself"));
}

#[tokio::test]
async fn of_several_the_first_wrong_answer_tells() {
    let steady = Cluster::steady();
    let all = target(TargetClass::Node, Role::All);
    let answer = asked(&steady, exec(all, None)).await.expect("asked").expect("answered");
    assert_eq!((answer.code, answer.by.as_deref()), (1, Some("storm-s4")), "the others end with 0");
    let answer = asked(&steady, exec(all, Some("host-1"))).await.expect("asked").expect("answered");
    assert!(!answer.matches);
    let zookeepers = exec(target(TargetClass::ZooKeeper, Role::All), Some("itself"));
    let answer = asked(&steady, zookeepers).await.expect("asked").expect("answered");
    assert!(answer.matches && answer.code == 0);
}

#[tokio::test]
async fn nobody_in_a_role_breaks_it_and_nobody_seen_tells_nothing() {
    let leader = exec(target(TargetClass::Node, Role::Leader), None);
    let mut leaderless = Cluster::steady();
    leaderless.seen.fast.etcd_after.result = Ok(BTreeMap::new());
    assert_eq!(asked(&leaderless, leader.clone()).await, Ok(Err("nobody is node leader now".to_owned())));
    let mut blind = leaderless.clone();
    blind.seen.fast.etcd_after.result = Err("no outpost is connected".into());
    let why = asked(&blind, leader.clone()).await.expect_err("it can't be asked");
    assert!(why.contains("could not be seen: no outpost is connected"), "{why}");
    // A host that runs and doesn't answer may have the node; one that doesn't run has none.
    let slot = exec(target(TargetClass::Node, Role::Slot(7)), None);
    let mut silent = Cluster::steady();
    silent.seen.fast.containers.get_mut("host-2").expect("there").result = Err("no stream".into());
    asked(&silent, slot.clone()).await.expect_err("host-2 may have it");
    let parts = silent.seen.fast.parts.result.as_mut().expect("seen");
    parts.get_mut("host-2").expect("there").state = ContainerState::Exited;
    assert_eq!(asked(&silent, slot).await, Ok(Err("nobody is node slot 7 now".to_owned())));
}

#[tokio::test]
async fn a_machine_without_a_stream_could_not_be_asked() {
    let mut cluster = Cluster::steady();
    // The outposts of masters are none of those that answer here.
    let master = exec(target(TargetClass::MesosMaster, Role::Leader), None);
    asked(&cluster, master).await.expect_err("there is no outpost");
    cluster.seen.begin = Millis(0);
    let world = world(cluster.shape.clone(), FakeMachines::of(&[]), "http://127.0.0.1:9");
    let deep = Arc::new(DeepTier::new(world.clone(), watch::channel(None).1));
    let question = exec(target(TargetClass::Node, Role::Leader), None);
    let asker = Asker::new(own("x", Question::Exec(question.clone())), world, deep, 1);
    let why = asker.command(&question).await.result.expect_err("it can't be asked");
    assert_eq!(why, "nothing was seen yet");
}

#[tokio::test]
async fn what_a_command_complains_of_is_told_when_it_fails() {
    let steady = Cluster::steady();
    let says = |_: &str, _: Call| {
        Ok(Reply::Ran(Ran { code: 127, output: String::new(), errors: "sh: etcdctl: not found\n".into() }))
    };
    let world = world(steady.shape.clone(), FakeMachines::of(&[]).saying(&["zk-2"], says), "http://127.0.0.1:9");
    world.outposts["zk-2"].ready(Duration::from_secs(5)).await.expect("it greets");
    let seen = Seen { observation: steady.seen.clone(), truth: steady.truth() };
    let (_keep, newest) = watch::channel(Some(Arc::new(seen)));
    let deep = Arc::new(DeepTier::new(world.clone(), newest));
    let question = exec(target(TargetClass::ZooKeeper, Role::Leader), None);
    let asker = Asker::new(own("x", Question::Exec(question.clone())), world, deep, 1);
    let answer = asker.command(&question).await.result.expect("asked").expect("answered");
    assert_eq!((answer.code, answer.start.as_str()), (127, "sh: etcdctl: not found"));
}

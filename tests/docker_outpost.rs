//! An outpost against this machine's engine: it sees its cluster's containers, what it froze thaws when its stream ends, and it
//! takes no bare directory for the volume.
//!
//! Needs an engine and an image with a shell, named by `STORMBED_NODE_IMAGE`.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use stormbed::config::{LABEL_CLUSTER, LABEL_INCARNATION, LABEL_SLOT};
use stormbed::outpost::protocol::{
    Act, Answer, Call, ContainerState, ContainerView, Hello, PROTOCOL_VERSION, Reply, Request,
};
use stormbed::outpost::{machine::Machine, session};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, duplex, split};
use tokio::runtime::Handle;

/// A container that stands for a node of a cluster of its own; removed when dropped, whatever the test came to.
struct Node {
    engine: Docker,
    cluster: String,
    id: String,
}

impl Node {
    async fn start(name: &str) -> Self {
        let image = std::env::var("STORMBED_NODE_IMAGE")
            .expect("STORMBED_NODE_IMAGE must name an image with a shell that the engine has");
        let engine = Docker::connect_with_local_defaults().expect("an engine must run here");
        let cluster = format!("outpost-test-{name}-{}", std::process::id());
        let labels = HashMap::from([
            ("stormbed.run".to_owned(), cluster.clone()),
            (LABEL_CLUSTER.to_owned(), cluster.clone()),
            (LABEL_SLOT.to_owned(), "3".to_owned()),
            (LABEL_INCARNATION.to_owned(), "2".to_owned()),
        ]);
        let body = ContainerCreateBody {
            image: Some(image),
            hostname: Some("storm-s3".into()),
            entrypoint: Some(vec!["sleep".into(), "600".into()]),
            labels: Some(labels),
            // The engine makes the directory; nothing is mounted there.
            working_dir: Some("/shared".into()),
            ..Default::default()
        };
        let created = engine.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.expect("the image must exist").id;
        let started = engine.start_container(&id, None::<StartContainerOptions>).await;
        started.expect("the container starts");
        Self { engine, cluster, id }
    }

    async fn status(&self) -> Option<ContainerStateStatusEnum> {
        let options = None::<InspectContainerOptions>;
        let container = self.engine.inspect_container(&self.id, options).await;
        container.expect("the container exists").state?.status
    }

    async fn remove(&self) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        // Removing it twice is fine.
        let _ = self.engine.remove_container(&self.id, Some(options)).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        tokio::task::block_in_place(|| Handle::current().block_on(self.remove()));
    }
}

struct Outpost {
    next: u64,
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Outpost {
    async fn open(cluster: &str) -> Self {
        let (here, there) = duplex(1 << 20);
        let (input, output) = split(there);
        let task = tokio::spawn(session::serve(input, output, std::future::pending(), Machine::new));
        let (read, write) = split(here);
        let lines = BufReader::new(read).lines();
        let mut outpost = Self { next: 0, write, lines, task };
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            heartbeat_timeout_ms: 10_000,
            cluster: cluster.into(),
            operator_private_key: String::new(),
            jupyter_port: 8888,
            shared_mount: None,
            volume: "gv".into(),
            brick: None,
            slots: None,
            pool: "198.19.0.0/24".into(),
            masters: BTreeMap::new(),
            agents: BTreeMap::new(),
            zookeepers: BTreeMap::new(),
            election_path: "/mesos".into(),
            schedulers_path: "/stormbed/election".into(),
            log_dir: PathBuf::from("/nonexistent"),
        };
        let ready = outpost.ask(Call::Hello(Box::new(hello))).await;
        assert_eq!(ready, Ok(Reply::Ready { protocol: PROTOCOL_VERSION }));
        outpost
    }

    async fn ask(&mut self, call: Call) -> Result<Reply, String> {
        self.next += 1;
        let request = Request { id: self.next, call, timeout_ms: 20_000 };
        let line = serde_json::to_string(&request).unwrap() + "\n";
        self.write.write_all(line.as_bytes()).await.unwrap();
        let line = self.lines.next_line().await.unwrap().unwrap();
        let answer: Answer = serde_json::from_str(&line).unwrap();
        assert_eq!(answer.id, self.next);
        answer.result
    }

    async fn containers(&mut self) -> Vec<ContainerView> {
        match self.ask(Call::Containers).await {
            Ok(Reply::Containers(containers)) => containers,
            other => panic!("expected containers, got {other:?}"),
        }
    }

    async fn inject(&mut self, fault: &str, act: Act) -> Result<Reply, String> {
        let fault = fault.to_owned();
        self.ask(Call::Inject { fault, act, lease_ms: 60_000 }).await
    }

    async fn undo(&mut self, fault: &str, act: Act) -> Result<Reply, String> {
        let fault = fault.to_owned();
        self.ask(Call::Undo { fault, act }).await
    }

    /// Ends the stream and waits for the outpost to let go.
    async fn end(mut self) {
        self.write.shutdown().await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        end.expect("the outpost ends with its stream").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_seen_with_its_files_and_states() {
    let node = Node::start("seen").await;
    let mut outpost = Outpost::open(&node.cluster).await;
    let seen = outpost.containers().await;
    let [view] = seen.as_slice() else {
        panic!("expected one container of {}, got {seen:?}", node.cluster);
    };
    assert_eq!((&view.id, view.slot, view.incarnation), (&node.id, 3, 2));
    assert_eq!((view.state, view.hostname.as_str()), (ContainerState::Running, "storm-s3"));
    assert!(view.hosts_file.as_ref().is_ok_and(|hosts| hosts.contains("storm-s3")), "{view:?}");
    assert!(view.pid.is_some() && view.exit_code.is_none() && view.started_unix_ms > 1_700_000_000_000);

    let begin = std::time::Instant::now();
    for _ in 0..20 {
        outpost.containers().await;
    }
    println!("one look at one container: {:?}", begin.elapsed() / 20);

    let kill = Act::KillContainer { container: node.id.clone() };
    assert_eq!(outpost.inject("kill", kill).await, Ok(Reply::Done));
    let seen = outpost.containers().await;
    assert_eq!((seen[0].state, seen[0].exit_code), (ContainerState::Exited, Some(137)));
    outpost.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_froze_thaws_when_it_is_told_to_or_its_stream_ends() {
    let node = Node::start("thaws").await;
    let mut outpost = Outpost::open(&node.cluster).await;
    let pause = || Act::PauseContainer { container: node.id.clone() };
    assert_eq!(outpost.inject("f1", pause()).await, Ok(Reply::Done));
    assert_eq!(node.status().await, Some(ContainerStateStatusEnum::PAUSED));
    assert_eq!(outpost.containers().await[0].state, ContainerState::Paused);
    assert!(outpost.inject("f1", pause()).await.is_err(), "the name is taken");
    assert_eq!(outpost.undo("f1", pause()).await, Ok(Reply::Done));
    assert_eq!(node.status().await, Some(ContainerStateStatusEnum::RUNNING));
    assert_eq!(outpost.undo("f1", pause()).await, Ok(Reply::Done), "it is over already");

    assert_eq!(outpost.inject("f2", pause()).await, Ok(Reply::Done));
    outpost.end().await;
    assert_eq!(node.status().await, Some(ContainerStateStatusEnum::RUNNING));
    node.remove().await;
}

/// Whatever file system the engine gives a container for its root: on some that is FUSE, as the volume is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bare_directory_in_the_place_of_the_volume_is_neither_written_nor_read() {
    let node = Node::start("bare").await;
    let mut outpost = Outpost::open(&node.cluster).await;
    let container = || Some(node.id.clone());
    let write = Call::FileWrite { path: "ledger/f1".into(), content: "one".into(), container: container() };
    let read = Call::FileReadAll { dir: "ledger".into(), container: container() };
    for call in [write, read] {
        let answer = outpost.ask(call).await;
        assert!(answer.as_ref().is_err_and(|why| why.contains("not mounted")), "{answer:?}");
    }
    outpost.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_succeeds_when_the_target_is_gone() {
    let node = Node::start("gone").await;
    let mut outpost = Outpost::open(&node.cluster).await;
    let pause = Act::PauseContainer { container: node.id.clone() };
    assert_eq!(outpost.inject("f", pause.clone()).await, Ok(Reply::Done));
    node.remove().await;
    assert_eq!(outpost.undo("f", pause).await, Ok(Reply::Done));
    outpost.end().await;
}

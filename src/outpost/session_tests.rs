use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, duplex, split};

use super::*;

/// Holds what it is told to inject; `Gluster` never ends.
#[derive(Clone, Default)]
struct Toy(Arc<Mutex<Vec<String>>>);

impl Hands for Toy {
    async fn call(&self, call: Call, _within: Duration) -> Result<Reply, String> {
        match call {
            Call::Inject { fault, .. } => self.0.lock().unwrap().push(fault),
            Call::Gluster => std::future::pending().await,
            _ => {}
        }
        Ok(Reply::Done)
    }

    async fn let_go(&self) {
        self.0.lock().unwrap().clear();
    }
}

struct Runner {
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    outpost: tokio::task::JoinHandle<()>,
    toy: Toy,
}

fn hello() -> Value {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        heartbeat_timeout_ms: 1_000,
        cluster: "c".into(),
        operator_private_key: String::new(),
        jupyter_port: 1,
        shared_mount: None,
        volume: String::new(),
        brick: None,
        slots: None,
        pool: "198.19.0.0/24".into(),
        masters: BTreeMap::new(),
        agents: BTreeMap::new(),
        zookeepers: BTreeMap::new(),
        election_path: String::new(),
        schedulers_path: String::new(),
        log_dir: PathBuf::new(),
    };
    serde_json::to_value(Call::Hello(Box::new(hello))).unwrap()
}

impl Runner {
    fn new() -> Self {
        let (here, there) = duplex(1 << 16);
        let (input, output) = split(there);
        let toy = Toy::default();
        let hands = toy.clone();
        let outpost = tokio::spawn(serve(input, output, std::future::pending(), |_| Ok(hands)));
        let (read, write) = split(here);
        let lines = BufReader::new(read).lines();
        Self { write, lines, outpost, toy }
    }

    async fn say(&mut self, id: u64, call: Value, timeout_ms: u64) {
        let line = json!({ "id": id, "call": call, "timeout_ms": timeout_ms });
        self.write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Answer {
        let line = self.lines.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, id: u64, call: Value) -> Result<Reply, String> {
        self.say(id, call, 1_000).await;
        let answer = self.hear().await;
        assert_eq!(answer.id, id);
        answer.result
    }

    async fn greeted() -> Self {
        let mut runner = Self::new();
        let ready = runner.ask(0, hello()).await;
        assert_eq!(ready, Ok(Reply::Ready { protocol: PROTOCOL_VERSION }));
        runner
    }

    fn held(&self) -> usize {
        self.toy.0.lock().unwrap().len()
    }
}

fn inject() -> Value {
    let act = json!({ "act": "pause-container", "container": "c" });
    json!({ "do": "inject", "with": { "fault": "f", "act": act, "lease_ms": 60_000 } })
}

#[tokio::test]
async fn the_end_of_the_input_undoes_what_is_held() {
    let mut runner = Runner::greeted().await;
    assert_eq!(runner.ask(1, inject()).await, Ok(Reply::Done));
    assert_eq!(runner.held(), 1);
    // A call that would never end doesn't hold up the end.
    runner.say(2, json!({ "do": "gluster" }), 1_000_000).await;
    runner.write.shutdown().await.unwrap();
    (&mut runner.outpost).await.unwrap();
    assert_eq!(runner.held(), 0);
}

#[tokio::test]
async fn a_lost_heartbeat_undoes_what_is_held() {
    let mut runner = Runner::greeted().await;
    runner.ask(1, inject()).await.unwrap();
    for id in 2..6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        runner.ask(id, json!({ "do": "heartbeat" })).await.unwrap();
    }
    assert_eq!(runner.held(), 1);
    (&mut runner.outpost).await.unwrap();
    assert_eq!(runner.held(), 0);
}

#[tokio::test]
async fn what_it_does_not_understand_is_answered_with_the_id() {
    let mut runner = Runner::greeted().await;
    let error = runner.ask(9, json!({ "do": "dance" })).await.unwrap_err();
    assert!(error.contains("dance"), "{error}");
    runner.write.write_all(b"no json\n").await.unwrap();
    assert_eq!(runner.ask(10, json!({ "do": "routes" })).await, Ok(Reply::Done));
}

#[tokio::test]
async fn hello_comes_first_and_once() {
    let mut runner = Runner::new();
    let error = runner.ask(1, json!({ "do": "routes" })).await.unwrap_err();
    assert!(error.contains("hello"), "{error}");
    runner.ask(2, hello()).await.unwrap();
    assert!(runner.ask(3, hello()).await.is_err());
    let mut stranger = Runner::new();
    let mut other = hello();
    other["with"]["protocol"] = json!(99);
    assert!(stranger.ask(1, other).await.unwrap_err().contains("99"));
}

#[tokio::test]
async fn a_call_ends_with_its_time_and_does_not_hold_up_others() {
    let mut runner = Runner::greeted().await;
    runner.say(1, json!({ "do": "gluster" }), 50).await;
    assert_eq!(runner.ask(2, json!({ "do": "routes" })).await, Ok(Reply::Done));
    let answer = runner.hear().await;
    assert_eq!(answer.id, 1);
    assert!(answer.unasked && answer.result.unwrap_err().contains("50 ms"));
}

#[tokio::test]
async fn a_crowd_is_refused_but_never_a_fault() {
    let mut runner = Runner::greeted().await;
    for id in 0..RUNNING_MAX as u64 {
        runner.say(id + 100, json!({ "do": "gluster" }), 500).await;
    }
    runner.say(1, json!({ "do": "routes" }), 1_000).await;
    let refused = runner.hear().await;
    assert!(refused.unasked && refused.result.unwrap_err().contains("running"));
    assert_eq!(runner.ask(2, inject()).await, Ok(Reply::Done));
}

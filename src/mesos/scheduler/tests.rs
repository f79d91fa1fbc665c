//! Against a master that plays what each test wants.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Code};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::*;
use crate::mesos::recordio::encode;
use crate::mesos::types::FrameworkId;

type Chunk = Result<bytes::Bytes, std::io::Error>;

/// What the master heard, and its open stream.
#[derive(Default)]
struct Heard {
    subscriptions: Vec<Value>,
    calls: Vec<(String, Value)>,
    stream: Option<mpsc::Sender<Chunk>>,
    /// Answer to calls, when it isn't 202.
    refusal: Option<(Code, &'static str)>,
}

type Master = Arc<Mutex<Heard>>;

async fn master(id: &str) -> (Master, MasterInfo) {
    let heard = Master::default();
    let routes = axum::Router::new().route("/api/v1/scheduler", axum::routing::post(serve)).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (heard, MasterInfo::announce(id, Ipv4Addr::LOCALHOST, port, id))
}

async fn serve(State(master): State<Master>, headers: HeaderMap, body: bytes::Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap();
    let mut heard = master.lock().unwrap();
    if call["type"] != "SUBSCRIBE" {
        let stream = headers[STREAM_ID].to_str().unwrap().to_owned();
        heard.calls.push((stream, call));
        return match heard.refusal {
            Some(refusal) => refusal.into_response(),
            None => Code::ACCEPTED.into_response(),
        };
    }
    heard.subscriptions.push(call);
    let id = format!("stream-{}", heard.subscriptions.len());
    let (sender, receiver) = mpsc::channel::<Chunk>(16);
    let subscribed = json!({"type": "SUBSCRIBED", "subscribed":
        {"framework_id": {"value": "f-0000"}, "heartbeat_interval_seconds": 15.0}});
    let heartbeat = json!({"type": "HEARTBEAT"});
    for event in [subscribed, heartbeat] {
        sender.try_send(Ok(encode(event.to_string().as_bytes()))).unwrap();
    }
    heard.stream = Some(sender);
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    ([(STREAM_ID, id)], Body::from_stream(chunks)).into_response()
}

fn framework() -> FrameworkInfo {
    FrameworkInfo { name: "test".into(), ..FrameworkInfo::default() }
}

async fn subscribed(signals: &mut mpsc::Receiver<Signal>) -> Calls {
    match signals.recv().await {
        Some(Signal::Subscribed { calls, .. }) => calls,
        other => panic!("expected Subscribed, found {other:?}"),
    }
}

fn kill(task: usize) -> Call {
    let id = FrameworkId::new("f-0000");
    Call::kill(id, task.to_string().into(), None, None)
}

#[tokio::test]
async fn calls_are_in_order_and_a_lost_stream_is_opened_again_with_the_id() {
    let (master, info) = master("m1").await;
    let (_leader, detected) = watch::channel(Some(info));
    let mut signals = connect(framework(), detected);
    let calls = subscribed(&mut signals).await;
    for task in 0..20 {
        calls.send(kill(task)).await;
    }
    let stream = master.lock().unwrap().stream.clone().unwrap();
    let event = encode(br#"{"type":"RESCIND","rescind":{"offer_id":{"value":"O1"},"x":null}}"#);
    let (head, tail) = event.split_at(7);
    for chunk in [head, tail] {
        stream.send(Ok(chunk.to_vec().into())).await.unwrap();
    }
    let event = signals.recv().await;
    assert!(matches!(event, Some(Signal::Event(Event::Rescind(id))) if id.value == "O1"));
    while master.lock().unwrap().calls.len() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    master.lock().unwrap().stream = None;
    let lost = signals.recv().await;
    assert!(matches!(lost, Some(Signal::Disconnected(Disconnected::EndOfStream))), "{lost:?}");
    subscribed(&mut signals).await;
    let heard = master.lock().unwrap();
    let tasks = heard.calls.iter().map(|(stream, call)| {
        assert_eq!(stream, "stream-1");
        call["kill"]["task_id"]["value"].as_str().unwrap().parse::<usize>().unwrap()
    });
    assert!(tasks.eq(0..20));
    assert!(heard.subscriptions[0].get("framework_id").is_none());
    let again = &heard.subscriptions[1];
    assert_eq!(again["framework_id"]["value"], "f-0000");
    assert_eq!(again["subscribe"]["framework_info"]["id"]["value"], "f-0000");
}

#[tokio::test]
async fn another_leader_is_followed_and_no_leader_is_not() {
    let (first, second) = (master("m1").await, master("m2").await);
    let (leader, detected) = watch::channel(Some(first.1));
    let mut signals = connect(framework(), detected);
    subscribed(&mut signals).await;
    leader.send_replace(None);
    let nothing = tokio::time::timeout(Duration::from_millis(100), signals.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    leader.send_replace(Some(second.1));
    let lost = signals.recv().await;
    assert!(matches!(lost, Some(Signal::Disconnected(Disconnected::NewLeader))));
    subscribed(&mut signals).await;
    assert_eq!(second.0.lock().unwrap().subscriptions.len(), 1);
}

#[tokio::test]
async fn a_fenced_scheduler_ends_and_a_refused_call_does_not_end_it() {
    let (master, info) = master("m1").await;
    let (_leader, detected) = watch::channel(Some(info));
    let mut signals = connect(framework(), detected);
    let calls = subscribed(&mut signals).await;
    for (task, refusal) in [(0, "Not a valid UUID"), (1, "The stream ID 'a' didn't match the stream ID")].into_iter() {
        master.lock().unwrap().refusal = Some((Code::BAD_REQUEST, refusal));
        calls.send(kill(task)).await;
        while master.lock().unwrap().calls.len() <= task {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let end = signals.recv().await;
    assert!(matches!(end, Some(Signal::Ended(SchedulerError::Fenced(_)))), "{end:?}");
    assert!(signals.recv().await.is_none());
}

fn verdict(status: u16, body: &str) -> Result<(), CallError> {
    let status = StatusCode::from_u16(status).unwrap();
    judge(CallType::Revive, status, body.to_owned())
}

/// The texts of the recordings `transport-stream-id-ladder` and `failover-fencing`.
#[test]
fn an_answer_says_whether_the_subscription_goes_on() {
    assert!(verdict(202, "").is_ok());
    let fenced = "The stream ID 'a' included in this request didn't match the stream ID currently associated with framework ID f-0000";
    assert!(matches!(verdict(400, fenced), Err(CallError::Final(SchedulerError::Fenced(_)))));
    for (status, body) in [
        (400, "Framework cannot be found"),
        (403, "Framework is not subscribed"),
        (503, "No leader elected"),
        (307, ""),
    ] {
        let lost = matches!(verdict(status, body), Err(CallError::Lost(_)));
        assert!(lost, "{status} {body}");
    }
    assert!(matches!(verdict(400, "Not a valid UUID"), Err(CallError::Invalid { .. })));
}

#[test]
fn an_error_event_is_final_and_says_which() {
    let fenced = ended("Framework failed over".into());
    assert!(matches!(fenced, SchedulerError::Fenced(_)));
    let refused = ended("Framework has been removed".into());
    assert!(matches!(refused, SchedulerError::Refused(_)));
}

//! What Apache Mesos 1.12 said, read by the code that reads Mesos here: the client library, the detector, and the probe by which
//! the judge sees masters. So the framework and the invariants are known to understand the real one.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "the replayer uses the rest")]

mod corpus {
    pub mod case;
    pub mod matching;
}

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use corpus::case::{Case, Kind, files};
use corpus::matching::Bindings;
use serde_json::Value;
use stormbed::mesos::types::{Event, MasterInfo};
use stormbed::mesos::zk::leading;
use stormbed::outpost::mesos;

fn corpus() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus");
    files(&root).unwrap().iter().map(|file| Case::read(file).unwrap()).collect()
}

/// The answer to a request of a case, and `Location`.
fn answer(name: &str, number: u64) -> (StatusCode, String, String) {
    let case = corpus().into_iter().find(|case| case.name == name).unwrap();
    let answer = case.steps.into_iter().find_map(|step| match step.kind {
        Kind::Answer { no, answer } if no == number => Some(answer),
        _ => None,
    });
    let answer = original(answer.unwrap());
    let body = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
    let status = answer["status"].as_u64().and_then(|status| StatusCode::from_u16(status as u16).ok()).unwrap();
    (status, body, answer["headers"]["Location"].as_str().unwrap_or_default().to_owned())
}

/// As it was before it was normalised, as far as types go.
fn original(recorded: Value) -> Value {
    fn times(value: &mut Value) {
        match value {
            Value::String(text) if text == "<time>" => *value = 1_724_371_200.25.into(),
            Value::String(text) if text == "<time-ns>" => *value = 1_724_371_200_250_000_000_u64.into(),
            Value::Array(items) => items.iter_mut().for_each(times),
            Value::Object(members) => members.values_mut().for_each(times),
            _ => {}
        }
    }
    let mut value = Bindings::default().fill(&recorded);
    times(&mut value);
    value
}

#[test]
fn the_client_library_understands_every_recorded_event() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in corpus() {
        for step in case.steps {
            let Kind::Event { event, .. } = step.kind else {
                continue;
            };
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            if kind == "<binary>" {
                // Of a stream in protobuf, for which our client doesn't ask.
                continue;
            }
            let read: Event = serde_json::from_value(original(event)).unwrap_or_else(|why| {
                panic!("{} at {} ms: {kind}: {why}", case.name, step.t_ms);
            });
            assert_eq!(read.kind().to_string(), kind, "{}", case.name);
            assert!(!matches!(read, Event::Other(_)), "{}: {kind}", case.name);
            *kinds.entry(kind).or_default() += 1;
        }
    }
    let common = ["SUBSCRIBED", "OFFERS", "UPDATE", "RESCIND", "FAILURE", "ERROR", "HEARTBEAT"];
    assert!(common.iter().all(|kind| kinds.contains_key(*kind)), "{kinds:?}");
}

#[test]
fn the_detector_finds_the_recorded_leaders_by_their_nodes() {
    let case = corpus().into_iter().find(|case| case.name == "masters-znodes").unwrap();
    let mut leaders = Vec::new();
    for step in case.steps {
        let Kind::Observe { what, value } = step.kind else {
            continue;
        };
        if what.starts_with("znodes:") {
            let nodes = original(value);
            let children: Vec<String> = serde_json::from_value(nodes["/mesos"]["children"].clone()).unwrap();
            let first = format!("/mesos/{}", leading(&children).unwrap());
            let info: MasterInfo = serde_json::from_str(nodes[&first]["data_text"].as_str().unwrap()).unwrap();
            leaders.push(info.authority());
        }
    }
    assert_eq!(leaders.first().map(String::as_str), Some("127.0.0.1:5050"), "m1 leads first");
    assert!(leaders.iter().any(|leader| leader != "127.0.0.1:5050"), "and another one later: {leaders:?}");
}

/// A master that says what was recorded.
async fn serve<const N: usize>(said: [(&'static str, (StatusCode, String, String)); N]) -> String {
    let router = said.into_iter().fold(Router::new(), |router, (path, (status, body, location))| {
        let answer = move || async move { (status, [(header::LOCATION, location)], body).into_response() };
        router.route(path, get(answer))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn the_judge_sees_the_recorded_masters() {
    let leading = serve([
        ("/metrics/snapshot", answer("operator-basics", 11)),
        ("/redirect", answer("transport-redirect-307", 8)),
        ("/state", answer("operator-state", 9)),
    ]);
    let leaderless = serve([
        ("/metrics/snapshot", answer("transport-503-no-leader", 9)),
        ("/redirect", answer("masters-zookeeper-lost", 3)),
        ("/state", answer("transport-503-no-leader", 7)),
    ]);
    let masters = BTreeMap::from([("leading".to_owned(), leading.await), ("leaderless".to_owned(), leaderless.await)]);
    let view = mesos::look(&mesos::client().unwrap(), &masters, &BTreeMap::new()).await;

    let leading = view.masters["leading"].as_ref().unwrap();
    assert!(leading.elected);
    assert_eq!(leading.redirect.as_deref(), Some("leader.test:5050"));
    let state = leading.state.as_ref().unwrap();
    assert_eq!((state.agents.len(), state.agents[0].active), (1, true));
    let [framework] = state.frameworks.as_slice() else {
        panic!("{state:?}");
    };
    assert!(framework.active && framework.connected);
    assert_eq!(framework.tasks.len(), 1);
    assert_eq!(
        (framework.tasks[0].state.as_str(), &framework.tasks[0].agent_id),
        ("TASK_RUNNING", &state.agents[0].id)
    );

    let leaderless = view.masters["leaderless"].as_ref().unwrap();
    assert_eq!((leaderless.elected, leaderless.redirect.as_deref(), &leaderless.state), (false, None, &None));
}

//! The ladder of answers, over real HTTP; bodies as in the recordings `transport-*` and `operator-*`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::agent::protocol::STREAM_ID_HEADER;
use crate::clock::Clock;
use crate::master::core::Settings;
use crate::master::core::model::Registry;
use crate::mesos::recordio::Decoder;
use crate::mesos::types::MasterInfo;

/// A served master, and whom it believes to lead.
struct Served {
    desk: Arc<Desk>,
    leader: watch::Sender<Option<MasterInfo>>,
    me: MasterInfo,
    base: String,
    client: Client,
}

async fn serve() -> Served {
    let me = MasterInfo::announce("me", Ipv4Addr::LOCALHOST, 5050, "me.test");
    let (leader, known) = watch::channel(None);
    let desk = Arc::new(Desk::new(Settings::default(), me.clone(), known, Clock::start()));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(anywhere).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(super::serve(listener, desk.clone()));
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    Served { desk, leader, me, base, client }
}

async fn leading() -> Served {
    let served = serve().await;
    served.leader.send_replace(Some(served.me.clone()));
    served.desk.lead(None, Registry::default()).await;
    served
}

impl Served {
    /// Sends a request and returns status and body.
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let answer = self.send(method, path, headers, body).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn post(&self, headers: &[(&str, &str)], body: &Value) -> (u16, String) {
        let headers = [&[JSON], headers].concat();
        self.ask(Method::POST, "/api/v1/scheduler", &headers, &body.to_string()).await
    }

    async fn location(&self, path: &str) -> (u16, String) {
        let answer = self.send(Method::GET, path, &[], "").await;
        let location = answer.headers().get(LOCATION).map(|l| l.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    }

    /// Subscribes a scheduler; returns its stream's id and the stream.
    async fn subscribe(&self, id: Option<&str>) -> (String, Stream) {
        let mut body = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
            "user": "root", "name": "n", "failover_timeout": "60", "roles": ["demo"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "FROM_THE_FUTURE"}], "principal": null,
        }}});
        if let Some(id) = id {
            body["framework_id"] = json!({ "value": id });
            body["subscribe"]["framework_info"]["id"] = json!({ "value": id });
        }
        let answer = self.send(Method::POST, "/master/api/v1/scheduler", &[JSON], &body.to_string()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        let id = answer.headers()["mesos-stream-id"].to_str().unwrap().to_owned();
        (id, Stream { answer, decoder: Decoder::default() })
    }
}

/// A stream of events.
struct Stream {
    answer: Response,
    decoder: Decoder,
}

impl Stream {
    /// The next record; none at the end.
    async fn next(&mut self) -> Option<Value> {
        let wait = async {
            loop {
                if let Some(record) = self.decoder.next_record().unwrap() {
                    return Some(serde_json::from_slice(&record).unwrap());
                }
                let chunk = self.answer.chunk().await.unwrap()?;
                self.decoder.push(&chunk);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("a record within 10 s")
    }

    async fn kind(&mut self) -> String {
        self.next().await.map_or("end".to_owned(), |event| event["type"].as_str().unwrap().to_owned())
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"n"}}}"#;

#[tokio::test]
async fn who_does_not_lead_says_who_does() {
    let served = serve().await;
    for path in ["/api/v1/scheduler", "/api/v1", "/state", "/redirect"] {
        let answer = served.ask(Method::GET, path, &[], "").await;
        assert_eq!(answer, (503, "No leader elected".to_owned()), "{path}");
    }
    served.leader.send_replace(Some(served.me.clone()));
    let answer = served.ask(Method::POST, "/api/v1/scheduler", &[JSON], SUBSCRIBE).await;
    assert_eq!(answer, (503, "Master has not finished recovery".to_owned()));

    let other = MasterInfo::announce("other", Ipv4Addr::LOCALHOST, 5051, "leader.test");
    served.leader.send_replace(Some(other));
    for (path, location) in [
        ("/api/v1/scheduler?x=1", "//leader.test:5051/master/api/v1/scheduler?x=1"),
        ("/master/api/v1/scheduler", "//leader.test:5051/master/api/v1/scheduler"),
        ("/state", "//leader.test:5051/master/state"),
        ("/redirect", "//leader.test:5051"),
        ("/master/redirect?x=1", "//leader.test:5051"),
    ] {
        assert_eq!(served.location(path).await, (307, location.to_owned()), "{path}");
    }
    assert_eq!(served.ask(Method::GET, "/redirect/x", &[], "").await, (404, "404 Not Found.".to_owned()));
    assert_eq!(served.ask(Method::GET, "/health", &[], "").await, (200, String::new()));
    let (status, metrics) = served.ask(Method::GET, "/metrics/snapshot", &[], "").await;
    assert_eq!((status, metrics.as_str()), (200, r#"{"master/elected":0.0}"#));
}

#[tokio::test]
async fn the_ladder_stops_at_the_first_hit() {
    let served = leading().await;
    let json_protobuf = "Expecting 'Content-Type' of application/json or application/x-protobuf";
    for (method, headers, body, status, said) in [
        (Method::GET, vec![], "", 405, "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'."),
        (Method::POST, vec![], SUBSCRIBE, 400, "Expecting 'Content-Type' to be present"),
        (Method::POST, vec![("Content-Type", "text/plain")], "x", 415, json_protobuf),
        (Method::POST, vec![("Content-Type", "application/json; charset=utf-8")], SUBSCRIBE, 415, json_protobuf),
        (
            Method::POST,
            vec![JSON],
            "nonsense",
            400,
            "Failed to parse body into JSON: syntax error at line 1 near: onsense",
        ),
        (Method::POST, vec![JSON], "[]", 400, "Failed to convert JSON into Call protobuf: Expecting a JSON object"),
        (Method::POST, vec![JSON], "{}", 400, "Failed to validate scheduler::Call: Expecting 'type' to be present"),
        (
            Method::POST,
            vec![JSON],
            r#"{"type":"subscribe"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'type' to be present",
        ),
        (
            Method::POST,
            vec![JSON],
            r#"{"type":"SUBSCRIBE"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'subscribe' to be present",
        ),
        (
            Method::POST,
            vec![JSON, ("Accept", "text/html"), ("Mesos-Stream-Id", "x")],
            SUBSCRIBE,
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        ),
        (
            Method::POST,
            vec![JSON, ("Mesos-Stream-Id", "x")],
            SUBSCRIBE,
            400,
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ),
        (
            Method::POST,
            vec![JSON],
            r#"{"type":"REVIVE"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
        ),
        (
            Method::POST,
            vec![JSON],
            r#"{"type":"KILL","framework_id":{"value":"x"}}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'kill' to be present",
        ),
        (
            Method::POST,
            vec![JSON],
            r#"{"type":"REVIVE","framework_id":{"value":"x"}}"#,
            400,
            "Framework cannot be found",
        ),
    ] {
        let answer = served.ask(method, "/api/v1/scheduler", &headers, body).await;
        assert_eq!(answer, (status, said.to_owned()), "{body}");
    }
    let refused = served.send(Method::PUT, "/api/v1/scheduler", &[], "").await;
    assert_eq!(refused.headers()["allow"], "POST");
    let (status, said) = served.post(&[], &json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {}}})).await;
    assert_eq!(status, 400);
    assert!(said.starts_with("Failed to convert JSON into Call protobuf: "), "{said}");
}

#[tokio::test]
async fn a_subscription_is_a_stream_and_calls_name_it() {
    let served = leading().await;
    let (stream_id, mut stream) = served.subscribe(None).await;
    let subscribed = stream.next().await.unwrap();
    assert_eq!(subscribed["subscribed"]["framework_id"]["value"], "me-0000");
    assert_eq!(subscribed["subscribed"]["heartbeat_interval_seconds"], json!(15.0));
    assert_eq!(subscribed["subscribed"]["master_info"]["ip"], json!(16_777_343));
    assert_eq!(stream.kind().await, "HEARTBEAT");

    let revive = json!({"type": "REVIVE", "framework_id": {"value": "me-0000"}});
    let named = [("Mesos-Stream-Id", stream_id.as_str())];
    let unnamed = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
    assert_eq!(served.post(&[], &revive).await, (400, unnamed.to_owned()));
    assert_eq!(served.post(&named, &revive).await, (202, String::new()));
    let bad_uuid = json!({"type": "ACKNOWLEDGE", "framework_id": {"value": "me-0000"}, "acknowledge":
        {"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": "AAECAwQFBgcICQoLDA0ODw=="}});
    let (status, said) = served.post(&named, &bad_uuid).await;
    assert_eq!((status, said.contains("Not a valid UUID")), (400, true));
    for kind in ["REQUEST", "MESSAGE", "SHUTDOWN", "RECONCILE_OPERATIONS"] {
        let body = json!({"agent_id": {"value": "a"}, "executor_id": {"value": "e"}, "data": ""});
        let call = json!({"type": kind, "framework_id": {"value": "me-0000"}, kind.to_lowercase(): body});
        assert_eq!(served.post(&named, &call).await.0, 202, "{kind}");
    }
    let unknown = json!({"type": "UNKNOWN", "framework_id": {"value": "me-0000"}});
    assert_eq!(served.post(&named, &unknown).await.0, 501);

    let (second_id, mut second) = served.subscribe(Some("me-0000")).await;
    assert_eq!(second.kind().await, "SUBSCRIBED");
    let error = stream.next().await.unwrap();
    assert_eq!(error["error"]["message"], "Framework failed over");
    assert_eq!(stream.next().await, None);
    let (status, said) = served.post(&named, &revive).await;
    assert_eq!(status, 400);
    assert_eq!(
        said,
        format!(
            "The stream ID '{stream_id}' included in this request didn't match the stream ID currently \
         associated with framework ID me-0000"
        )
    );

    // The scheduler hangs up: its framework is known and not subscribed.
    drop(second);
    let named = [("Mesos-Stream-Id", second_id.as_str())];
    let mut answer = (202, String::new());
    for _ in 0..100 {
        answer = served.post(&named, &revive).await;
        if answer.0 != 202 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answer, (403, "Framework is not subscribed".to_owned()));
}

#[tokio::test]
async fn an_agent_registers_and_a_task_goes_its_way() {
    let served = leading().await;
    let register = json!({"agent_info": {"hostname": "h1", "ip": "127.0.0.1", "port": 5051, "version": "1.12.0",
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}}]}});
    let answer = served.send(Method::POST, protocol::SUBSCRIBE_PATH, &[JSON], &register.to_string()).await;
    assert_eq!(answer.status(), 200);
    let agent_id = answer.headers()[STREAM_ID_HEADER].to_str().unwrap().to_owned();
    let mut agent = Stream { answer, decoder: Decoder::default() };
    let registered = agent.next().await.unwrap();
    assert_eq!((&registered["type"], &registered["agent_id"]["value"]), (&json!("REGISTERED"), &json!("me-S0")));

    let (stream_id, mut stream) = served.subscribe(None).await;
    let kinds = [stream.kind().await, stream.kind().await];
    assert_eq!(kinds, ["SUBSCRIBED", "HEARTBEAT"]);
    let offer = stream.next().await.unwrap()["offers"]["offers"][0].clone();
    assert_eq!(offer["resources"][0]["scalar"]["value"], json!(2.0));
    let accept = json!({"type": "ACCEPT", "framework_id": {"value": "me-0000"}, "accept": {
    "offer_ids": [offer["id"]], "operations": [{"type": "LAUNCH", "launch": {"task_infos": [{
        "name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": "0.5"}}],
        "command": {"value": "sleep 1"},
        "container": {"type": "DOCKER", "docker": {"image": "i"}},
    }]}}]}});
    assert_eq!(served.post(&[("Mesos-Stream-Id", &stream_id)], &accept).await.0, 202);
    assert_eq!(agent.kind().await, "UPDATE_FRAMEWORK");
    assert_eq!(agent.kind().await, "RUN_TASK");

    let update = json!({"type": "STATUS_UPDATE", "framework_id": {"value": "me-0000"}, "latest_state": "TASK_RUNNING",
        "status": {"task_id": {"value": "t"}, "state": "TASK_RUNNING", "uuid": "mi9bHH0+T2CKGyw9Tl9gcQ=="}});
    let named = [JSON, (STREAM_ID_HEADER, agent_id.as_str())];
    let body = update.to_string();
    assert_eq!(served.ask(Method::POST, protocol::CALL_PATH, &named, &body).await.0, 202);
    assert_eq!(served.ask(Method::POST, protocol::CALL_PATH, &[JSON], &body).await.0, 400);
    assert_eq!(stream.next().await.unwrap()["update"]["status"]["state"], "TASK_RUNNING");

    let (_, state) = served.ask(Method::GET, "/state", &[], "").await;
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["frameworks"][0]["tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(state["slaves"][0]["used_resources"]["cpus"], json!(0.5));
    assert_eq!(state["leader"], "master@127.0.0.1:5050");
    let (_, metrics) = served.ask(Method::GET, "/metrics/snapshot", &[], "").await;
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!((&metrics["master/tasks_running"], &metrics["master/cpus_percent"]), (&json!(1), &json!(0.25)));
}

#[tokio::test]
async fn operators_ask_at_api_v1() {
    let served = leading().await;
    let ask = async |kind: &str| {
        let body = json!({ "type": kind }).to_string();
        let (status, body) = served.ask(Method::POST, "/api/v1", &[JSON], &body).await;
        (status, serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body)))
    };
    let health = json!({"type": "GET_HEALTH", "get_health": {"healthy": true}});
    assert_eq!(ask("GET_HEALTH").await, (200, health));
    for kind in ["GET_MASTER", "GET_AGENTS", "GET_FRAMEWORKS", "GET_TASKS", "GET_VERSION", "GET_STATE"] {
        let (status, body) = ask(kind).await;
        assert_eq!(status, 200);
        assert!(body[kind.to_lowercase()].is_object(), "{body}");
    }
    let no_type = "Failed to validate master::Call: Expecting 'type' to be present";
    assert_eq!(ask("NOPE").await, (400, json!(no_type)));
    assert_eq!(ask("UNKNOWN").await, (501, json!("501 Not Implemented.")));
    let torn = served.ask(Method::POST, "/teardown", &[], "frameworkId=nobody").await;
    assert_eq!(torn, (400, "No framework found with specified ID".to_owned()));
}

//! Two small servers act as the Jupyters of two nodes; the leader feed is injected. Both listen on the same port at
//! different loopback addresses, as nodes do.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::core::Sighting;
use super::*;
use crate::config::ProxyConfig;
use crate::registry::LeaderRecord;

const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    hub: Arc<Hub>,
    proxy: SocketAddr,
    port: u16,
}

/// A proxy and, per test, addresses of its own (127.0.`area`.x) for the nodes.
async fn stage(wait_max_ms: u64, waiting_max: usize) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    // A port that was free a moment ago, for both nodes.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let hub = Arc::new(Hub::new(&ProxyConfig {
        listen: proxy,
        cluster: "c".into(),
        addresses: BTreeMap::new(),
        jupyter_port: port,
        wait_max_ms,
        waiting_max,
    }));
    tokio::spawn(serve(listener, Arc::clone(&hub)));
    let time = Arc::clone(&hub);
    tokio::spawn(async move { time.keep_time().await });
    Stage { hub, proxy, port }
}

impl Stage {
    fn lead(&self, slot: u8, term: u64) {
        self.hub.tell(Event::Seen(Sighting {
            cluster_id: 1,
            leader: LeaderRecord { slot: slot.into(), incarnation: 1, address: address(slot), term },
        }));
    }

    /// Starts the Jupyter of a slot; returns the number of requests it has seen.
    async fn jupyter(&self, slot: u8) -> Arc<AtomicUsize> {
        let listener = TcpListener::bind((address(slot), self.port)).await.unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                let service = service_fn(move |request| {
                    count.fetch_add(1, Ordering::SeqCst);
                    jupyter(slot, request)
                });
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
                tokio::spawn(connection);
            }
        });
        seen
    }

    async fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        let length = body.len();
        let text =
            format!("{head} HTTP/1.1\r\nHost: edge\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let text = if body.is_empty() { text.replace("Content-Length: 0\r\n", "") } else { text };
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn request(&self, head: &str, body: &str) -> String {
        whole(self.send(head, body).await).await
    }

    async fn until_waiting(&self, count: usize) {
        while self.hub.state().1 != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn address(slot: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 7, 10 + slot)
}

/// Everything up to the end of the connection.
async fn whole(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(10 * SECOND, read).await.unwrap().unwrap();
    text
}

async fn jupyter(slot: u8, mut request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/hang" if slot == 0 => std::future::pending().await,
        "/endless" => {
            let frames = stream::iter(["one "]).chain(stream::pending());
            let frames = frames.map(|s| Ok(hyper::body::Frame::data(Bytes::from(s))));
            Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
        }
        "/ws" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = io.read(&mut bytes).await {
                    let back = format!("{slot}:{}", String::from_utf8_lossy(&bytes[..count]));
                    io.write_all(back.as_bytes()).await.unwrap();
                }
            });
            let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
            headers::pass_on(response.headers_mut(), Some(HeaderValue::from_static("websocket")));
            response
        }
        _ => {
            let forwarded = format!("{:?}", request.headers().get("x-forwarded-for"));
            let head = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8_lossy(&body);
            text(StatusCode::OK, &format!("node {slot} {head} [{body}] {forwarded}"))
        }
    })
}

use futures_util::StreamExt;

#[tokio::test]
async fn requests_reach_the_leader_with_body_and_query() {
    let stage = stage(5_000, 8).await;
    stage.jupyter(0).await;
    stage.lead(0, 1);
    let answer = stage.request("PUT /api/contents/a?x=1", "content").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("node 0 PUT /api/contents/a?x=1 [content] Some(\"127.0.0.1\")"), "{answer}");
    let health = stage.request(&format!("GET {HEALTH}"), "").await;
    assert!(health.contains("\"waiting\":0") && health.contains("\"term\":1"), "{health}");
}

#[tokio::test]
async fn a_get_waits_for_the_next_leader_and_a_post_does_not() {
    let stage = stage(5_000, 8).await;
    let waiting = stage.send("GET /late", "").await;
    stage.until_waiting(1).await;
    let refused = stage.request("POST /now", "x").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    // A leader whose Jupyter isn't up yet, then up.
    stage.lead(1, 3);
    tokio::time::sleep(Duration::from_millis(250)).await;
    stage.jupyter(1).await;
    assert!(whole(waiting).await.contains("node 1 GET /late []"));
}

#[tokio::test]
async fn a_get_under_way_moves_to_the_new_leader_and_a_post_is_given_up() {
    let stage = stage(5_000, 8).await;
    let seen = stage.jupyter(0).await;
    stage.jupyter(1).await;
    stage.lead(0, 1);
    let get = stage.send("GET /hang", "").await;
    let post = stage.send("POST /hang", "x").await;
    while seen.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    stage.lead(1, 2);
    assert!(whole(get).await.contains("node 1 GET /hang"));
    assert!(whole(post).await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn an_answer_under_way_is_cut_visibly_when_the_leader_is_replaced() {
    let stage = stage(5_000, 8).await;
    stage.jupyter(0).await;
    stage.lead(0, 1);
    let mut stream = stage.send("GET /endless", "").await;
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|w| w == b"one ") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    stage.lead(1, 2);
    let rest = tokio::time::timeout(SECOND, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(rest.is_err() || !text.ends_with("0\r\n\r\n"), "it looks complete: {text}");
}

#[tokio::test]
async fn a_websocket_is_tunnelled_and_cut_with_its_leader() {
    let stage = stage(5_000, 8).await;
    stage.jupyter(0).await;
    stage.lead(0, 1);
    let mut stream = TcpStream::connect(stage.proxy).await.unwrap();
    let head = b"GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    for word in ["hello", "again"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut back = [0; 7];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, format!("0:{word}").as_bytes());
    }
    stage.lead(0, 2);
    stream.write_all(b"still").await.unwrap();
    stream.read_exact(&mut [0; 7]).await.unwrap();
    stage.lead(1, 3);
    let end = tokio::time::timeout(SECOND, stream.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn waiting_is_bounded_and_a_client_that_leaves_makes_room() {
    let stage = stage(300, 2).await;
    let first = stage.send("GET /1", "").await;
    let second = stage.send("GET /2", "").await;
    stage.until_waiting(2).await;
    let third = stage.request("GET /3", "").await;
    assert!(third.starts_with("HTTP/1.1 503") && third.contains("too many"), "{third}");
    drop(first);
    stage.until_waiting(1).await;
    let end = whole(second).await;
    assert!(end.starts_with("HTTP/1.1 503") && end.contains("no leader"), "{end}");
}

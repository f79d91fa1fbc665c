//! The client against a fake outpost on an in-memory stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stormbed::clock::Clock;
use stormbed::outpost::protocol::{Answer, Call, Hello, PROTOCOL_VERSION, Reply, Request};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::{Mutex, mpsc};

use super::super::fake::{hello, peer};
use super::super::machines::{Machines, OutpostStream, Verb};
use super::super::observation::PartView;
use super::{Outpost, Rhythm};

/// Hands out prepared streams, one per attempt.
struct Fake {
    streams: Mutex<mpsc::Receiver<DuplexStream>>,
}

impl Machines for Fake {
    fn outposts(&self) -> Vec<String> {
        vec!["host-1".into()]
    }
    fn hello(&self, _: &str) -> Option<Hello> {
        Some(hello())
    }
    fn open_outpost<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>> {
        async {
            let stream = self.streams.lock().await.recv().await;
            let (read, write) = tokio::io::split(stream.ok_or("no more streams")?);
            Ok(OutpostStream { read: Box::new(read), write: Box::new(write) })
        }
        .boxed()
    }
    fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>> {
        async { Ok(BTreeMap::new()) }.boxed()
    }
    fn act<'a>(&'a self, _: &'a str, _: Verb) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

fn client() -> (Outpost, mpsc::Sender<DuplexStream>) {
    let (streams, receiver) = mpsc::channel(4);
    let fake = Fake { streams: Mutex::new(receiver) };
    (Outpost::open_with("host-1", Arc::new(fake), Clock::start(), RHYTHM), streams)
}

const RHYTHM: Rhythm = Rhythm {
    heartbeat_every: Duration::from_millis(50),
    silence_max: Duration::from_millis(400),
    reopen_every: Duration::from_millis(50),
};
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (outpost, streams) = client();
    let (near, far) = tokio::io::duplex(1 << 16);
    streams.send(near).await.expect("the client takes streams");
    let mut held = Vec::new();
    tokio::spawn(peer(far, move |request| {
        held.push(request);
        if held.len() < 2 {
            return Vec::new();
        }
        // The second request is answered first.
        let done = |request: Request| match request.call {
            Call::Routes => Answer::of(request.id, Err("routes".into())),
            _ => Answer::unasked(request.id, "other".into()),
        };
        held.drain(..).rev().map(done).collect()
    }));
    outpost.ready(SECOND).await.expect("the peer greets");
    let (routes, gluster) = tokio::join!(outpost.ask(Call::Routes, SECOND), outpost.ask(Call::Gluster, SECOND));
    assert_eq!(routes.result, Ok(Err("routes".into())), "asked, and refused");
    assert_eq!(gluster.result, Err("other".into()), "not even asked");
    assert!(routes.begin <= routes.end);
}

#[tokio::test]
async fn a_silent_call_ends_at_its_bound() {
    let (outpost, streams) = client();
    let (near, far) = tokio::io::duplex(1 << 16);
    streams.send(near).await.expect("the client takes streams");
    tokio::spawn(peer(far, |_| Vec::new()));
    outpost.ready(SECOND).await.expect("the peer greets");
    let probe = outpost.call(Call::Routes, SECOND / 10).await;
    assert!(probe.result.is_err_and(|why| why.contains("within 300 ms")));
}

#[tokio::test]
async fn a_stream_that_ends_fails_its_calls_and_is_opened_anew() {
    let (outpost, streams) = client();
    let (near, far) = tokio::io::duplex(1 << 16);
    streams.send(near).await.expect("the client takes streams");
    let doomed = tokio::spawn(peer(far, |_| Vec::new()));
    outpost.ready(SECOND).await.expect("the peer greets");
    let (probe, ()) = tokio::join!(outpost.call(Call::Routes, SECOND), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        doomed.abort();
    });
    assert!(probe.result.is_err_and(|why| why.contains("ended")));
    assert!(!outpost.is_connected());
    let refused = outpost.call(Call::Routes, SECOND).await;
    assert!(refused.result.is_err_and(|why| why.contains("no outpost")));

    let (near, far) = tokio::io::duplex(1 << 16);
    streams.send(near).await.expect("the client takes streams");
    tokio::spawn(peer(far, |request| vec![Answer::of(request.id, Ok(Reply::Done))]));
    outpost.ready(10 * SECOND).await.expect("the client reopens");
    let probe = outpost.call(Call::Gluster, SECOND).await;
    assert_eq!(probe.result, Ok(Reply::Done));
}

#[tokio::test]
async fn a_frozen_peer_is_given_up() {
    let (outpost, streams) = client();
    let (near, far) = tokio::io::duplex(1 << 16);
    streams.send(near).await.expect("the client takes streams");
    // It greets and never says anything again, not even to heartbeats.
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(far);
        let mut lines = BufReader::new(read).lines();
        let _ = lines.next_line().await;
        let ready = Answer::of(0, Ok(Reply::Ready { protocol: PROTOCOL_VERSION }));
        let mut line = serde_json::to_vec(&ready).expect("answers are plain data");
        line.push(b'\n');
        let _ = write.write_all(&line).await;
        std::future::pending::<()>().await;
    });
    outpost.ready(SECOND).await.expect("the peer greets");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!outpost.is_connected());
}

//! Jupyter through the proxy, from outside, as a user's browser would: status, notebooks, a cell on a kernel.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use uuid::Uuid;

use super::observation::{KernelView, StatusView};

/// Connecting to loopback takes no time; this only bounds a stuck proxy.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// As much of a body is looked at.
const BODY_MAX: usize = 64 * 1024;

/// A kernel runs so many cells, which is half a minute. Starting one takes 1.5 CPU-seconds, and one every 5 s was a sixth of all that a
/// machine with two cores has.
const CELLS_MAX: u32 = 6;

/// The cell: it proves where it runs and that it computes.
const CELL: &str = "import socket; print(socket.gethostname(), sum(range(1000)))";
/// What [`CELL`] must compute.
const SUM: &str = "499500";

/// What became of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// 2xx.
    Acknowledged,
    /// It certainly did not happen.
    Refused(String),
    /// It may have happened.
    Unknown(String),
}

/// A client of Jupyter behind the proxy.
#[derive(Clone)]
pub struct Jupyter {
    http: Client,
    url: String,
    token: String,
    kernel: Arc<Mutex<Option<Kernel>>>,
}

/// A kernel that is kept, and how many cells it has run.
struct Kernel {
    id: String,
    cells: u32,
}

impl fmt::Debug for Jupyter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jupyter").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Jupyter {
    /// A client of the proxy at `url` (`http://127.0.0.1:port`).
    ///
    /// # Errors
    /// If the HTTP client can't be made.
    pub fn new(url: &str, token: &str) -> Result<Self, String> {
        let http = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| format!("no HTTP client: {}", told(&e)))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), kernel: Arc::default() })
    }

    /// `/api/status` with and without the token.
    ///
    /// # Errors
    /// If one of them has no answer within `bound`.
    pub async fn status(&self, bound: Duration) -> Result<StatusView, String> {
        let url = format!("{}/api/status", self.url);
        let with = self.request(Method::GET, "/api/status").timeout(bound);
        let without = self.http.get(url).timeout(bound);
        let (with, without) = tokio::join!(with.send(), without.send());
        Ok(StatusView {
            with_token: with.map_err(|e| told(&e))?.status().as_u16(),
            without_token: without.map_err(|e| told(&e))?.status().as_u16(),
        })
    }

    /// Saves a notebook with one cell that holds `content`, at a path that wasn't used before.
    pub async fn save(&self, path: &str, content: &str, bound: Duration) -> Saved {
        let body = json!({
            "type": "notebook",
            "format": "json",
            "content": {
                "nbformat": 4, "nbformat_minor": 4, "metadata": {},
                "cells": [{"cell_type": "markdown", "metadata": {}, "source": content}],
            },
        });
        let request = self.request(Method::PUT, &format!("/api/contents/{path}"));
        match request.json(&body).timeout(bound).send().await {
            Ok(answer) if answer.status().is_success() => Saved::Acknowledged,
            Ok(answer) if answer.status().is_client_error() => Saved::Refused(answer.status().to_string()),
            Ok(answer) => Saved::Unknown(answer.status().to_string()),
            Err(error) if error.is_connect() => Saved::Refused(told(&error)),
            Err(error) => Saved::Unknown(told(&error)),
        }
    }

    /// Reads a notebook back: the text of its cells. None if there is no such notebook.
    ///
    /// # Errors
    /// If the server doesn't answer, or answers something else.
    pub async fn read(&self, path: &str, bound: Duration) -> Result<Option<String>, String> {
        let request = self.request(Method::GET, &format!("/api/contents/{path}?content=1"));
        let answer = request.timeout(bound).send().await.map_err(|e| told(&e))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(format!("expected 200, found {}", answer.status()));
        }
        let body: Value = answer.json().await.map_err(|e| told(&e))?;
        cell_text(&body["content"]).map(Some)
    }

    /// Runs a cell on a kernel, over its WebSocket: on the one of the last time if there still is one, or else on a new one, which is
    /// kept for some cells.
    ///
    /// # Errors
    /// If a part of that doesn't work within `bound`.
    pub async fn run_cell(&self, bound: Duration) -> Result<KernelView, String> {
        let deadline = Instant::now() + bound;
        let kept = self.kept().take();
        let mut before = String::new();
        if let Some(Kernel { id, cells }) = kept {
            // One that hangs leaves time for another.
            match self.execute_by(&id, Instant::now() + bound / 2).await {
                Ok(seen) => {
                    match cells + 1 < CELLS_MAX {
                        true => *self.kept() = Some(Kernel { id, cells: cells + 1 }),
                        false => self.remove(&id).await,
                    }
                    return Ok(seen);
                }
                // Whoever leads by now never had that kernel.
                Err(why) => {
                    self.remove(&id).await;
                    before = format!(" (after one that was kept: {why})");
                }
            }
        }
        let told = |why| format!("{why}{before}");
        let id = self.start(deadline).await.map_err(told)?;
        let seen = self.execute_by(&id, deadline).await.map_err(told);
        match seen {
            Ok(_) => self.keep(id).await,
            Err(_) => self.remove(&id).await,
        }
        seen
    }

    /// Keeps a kernel for the next cell; one that another cell has kept meanwhile goes.
    async fn keep(&self, id: String) {
        let other = self.kept().replace(Kernel { id, cells: 1 });
        if let Some(other) = other {
            self.remove(&other.id).await;
        }
    }

    /// Removes the kernel that is kept.
    pub async fn remove_kept(&self) {
        let kept = self.kept().take();
        if let Some(Kernel { id, .. }) = kept {
            self.remove(&id).await;
        }
    }

    /// Starts a kernel, runs a cell on it, and removes it, and the one that was kept as well.
    ///
    /// # Errors
    /// If a part of that doesn't work within `bound`.
    pub async fn run_new_cell(&self, bound: Duration) -> Result<KernelView, String> {
        let deadline = Instant::now() + bound;
        self.remove_kept().await;
        let id = self.start(deadline).await?;
        let seen = self.execute_by(&id, deadline).await;
        self.remove(&id).await;
        seen
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kernel>> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a kernel and returns its id.
    async fn start(&self, deadline: Instant) -> Result<String, String> {
        let request = self.request(Method::POST, "/api/kernels");
        let bound = deadline.saturating_duration_since(Instant::now());
        let request = request.json(&json!({"name": "python3"})).timeout(bound);
        let answer = request.send().await.map_err(|e| told(&e))?;
        if answer.status() != StatusCode::CREATED {
            return Err(format!("a new kernel: expected 201, found {}", answer.status()));
        }
        let kernel: Value = answer.json().await.map_err(|e| told(&e))?;
        Ok(kernel["id"].as_str().ok_or("the kernel has no id")?.to_owned())
    }

    /// A kernel that stays would eat the node's memory.
    async fn remove(&self, kernel: &str) {
        let gone = self.request(Method::DELETE, &format!("/api/kernels/{kernel}"));
        if let Err(error) = gone.timeout(CONNECT_MAX).send().await {
            tracing::debug!(kernel, why = told(&error), "kernel not removed");
        }
    }

    async fn execute_by(&self, kernel: &str, deadline: Instant) -> Result<KernelView, String> {
        let text = timeout_at(deadline, self.execute(kernel)).await;
        let text = text.map_err(|_| "the cell did not end in time".to_owned())??;
        let mut words = text.split_whitespace();
        Ok(KernelView { hostname: words.next().unwrap_or_default().to_owned(), computed: words.next() == Some(SUM) })
    }

    /// Runs [`CELL`] and returns what it printed.
    async fn execute(&self, kernel: &str) -> Result<String, String> {
        let session = Uuid::new_v4().simple().to_string();
        let base = self.url.replacen("http", "ws", 1);
        let url = format!("{base}/api/kernels/{kernel}/channels?session_id={session}");
        let mut request = url.into_client_request().map_err(|e| e.to_string())?;
        let mut token = HeaderValue::from_str(&format!("token {}", self.token))
            .map_err(|_| "the token is no header value".to_owned())?;
        token.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, token);
        let (mut socket, _) =
            tokio_tungstenite::connect_async(request).await.map_err(|e| format!("the kernel's WebSocket: {e}"))?;
        let id = Uuid::new_v4().simple().to_string();
        let message = execute_request(&id, &session).to_string();
        let sent = socket.send(Message::text(message)).await;
        sent.map_err(|e| format!("the kernel's WebSocket: {e}"))?;
        let mut cell = Cell::new(id);
        // Bounded by the caller's deadline.
        while let Some(message) = socket.next().await {
            let message = message.map_err(|e| format!("the kernel's WebSocket: {e}"))?;
            if let Message::Text(text) = message
                && let Some(done) = cell.on(&text)?
            {
                let _ = socket.close(None).await;
                return Ok(done);
            }
        }
        Err("the kernel's WebSocket ended before the cell did".to_owned())
    }

    /// Status and (the beginning of) the body of a path through the proxy, with the token; or of a whole URL, without.
    ///
    /// # Errors
    /// If there is no answer within `bound`.
    pub async fn get(&self, url: &str, bound: Duration) -> Result<(u16, String), String> {
        let request = if url.starts_with('/') { self.request(Method::GET, url) } else { self.http.get(url) };
        let mut answer = request.timeout(bound).send().await.map_err(|e| told(&e))?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| told(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_MAX {
                body.truncate(BODY_MAX);
                break;
            }
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header(AUTHORIZATION, format!("token {}", self.token))
    }
}

/// Text of a notebook's cells.
///
/// # Errors
/// If `notebook` isn't one.
pub fn cell_text(notebook: &Value) -> Result<String, String> {
    let cells = notebook["cells"].as_array().ok_or("this is not a notebook: it has no cells")?;
    // nbformat on disk splits a source into lines.
    let text = |cell: &Value| match &cell["source"] {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<String>(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    Ok(cells.iter().map(text).collect())
}

fn execute_request(id: &str, session: &str) -> Value {
    json!({
        "channel": "shell",
        "header": {
            "msg_id": id, "username": "stormbed", "session": session,
            "msg_type": "execute_request", "version": "5.3", "date": "",
        },
        "parent_header": {}, "metadata": {}, "buffers": [],
        "content": {
            "code": CELL, "silent": false, "store_history": false,
            "user_expressions": {}, "allow_stdin": false, "stop_on_error": true,
        },
    })
}

/// Collects a cell's messages until it is both answered and idle.
#[derive(Debug)]
struct Cell {
    id: String,
    out: String,
    replied: bool,
    idle: bool,
}

impl Cell {
    fn new(id: String) -> Self {
        Self { id, out: String::new(), replied: false, idle: false }
    }

    /// Takes a message; returns the output once the cell is done.
    fn on(&mut self, text: &str) -> Result<Option<String>, String> {
        let message: Value = serde_json::from_str(text).map_err(|e| format!("not a kernel message: {e}"))?;
        if message["parent_header"]["msg_id"] != self.id.as_str() {
            return Ok(None);
        }
        let content = &message["content"];
        match message["msg_type"].as_str().or_else(|| message["header"]["msg_type"].as_str()) {
            Some("stream") => self.out += content["text"].as_str().unwrap_or_default(),
            Some("error") => return Err(format!("the cell failed: {}", content["evalue"])),
            Some("status") => self.idle |= content["execution_state"] == "idle",
            Some("execute_reply") => self.replied = true,
            _ => {}
        }
        Ok((self.replied && self.idle).then(|| std::mem::take(&mut self.out)))
    }
}

/// An HTTP error with its causes; the URL is left out because every message has its context already.
fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if !text.is_empty() {
            text += ": ";
        }
        text += &inner.to_string();
        cause = inner.source();
    }
    if text.is_empty() {
        text = error.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::extract::ws::WebSocketUpgrade;
    use axum::extract::{Path, State};
    use axum::response::{IntoResponse, Response};
    use axum::routing::{any, delete, post};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_cell_is_done_when_answered_and_idle() {
        let mut cell = Cell::new("m".into());
        let message = |kind: &str, content: Value| {
            json!({"msg_type": kind, "parent_header": {"msg_id": "m"}, "content": content}).to_string()
        };
        let foreign = json!({"msg_type": "status", "parent_header": {"msg_id": "x"},
            "content": {"execution_state": "idle"}});
        assert_eq!(cell.on(&foreign.to_string()), Ok(None));
        let busy = message("status", json!({"execution_state": "busy"}));
        assert_eq!(cell.on(&busy), Ok(None));
        let stream = message("stream", json!({"name": "stdout", "text": "storm-s1 499500\n"}));
        assert_eq!(cell.on(&stream), Ok(None));
        let reply = message("execute_reply", json!({"status": "ok"}));
        assert_eq!(cell.on(&reply), Ok(None));
        let idle = message("status", json!({"execution_state": "idle"}));
        assert_eq!(cell.on(&idle), Ok(Some("storm-s1 499500\n".into())));
    }

    #[test]
    fn a_cell_that_raises_is_an_error() {
        let mut cell = Cell::new("m".into());
        let error = json!({"msg_type": "error", "parent_header": {"msg_id": "m"},
            "content": {"evalue": "boom"}});
        assert!(cell.on(&error.to_string()).is_err_and(|e| e.contains("boom")));
    }

    /// A Jupyter that runs every cell on kernels that it knows, and what it was asked for.
    #[derive(Clone, Default)]
    struct Fake {
        kernels: Arc<Mutex<Vec<String>>>,
        started: Arc<AtomicUsize>,
    }

    impl Fake {
        async fn serve(&self) -> Jupyter {
            let router = Router::new()
                .route("/api/kernels", post(Self::start))
                .route("/api/kernels/{id}", delete(Self::end))
                .route("/api/kernels/{id}/channels", any(Self::channels))
                .with_state(self.clone());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            Jupyter::new(&url, "t").unwrap()
        }

        fn running(&self) -> usize {
            self.kernels.lock().unwrap().len()
        }

        fn started(&self) -> usize {
            self.started.load(Ordering::Relaxed)
        }

        async fn start(State(fake): State<Self>) -> (axum::http::StatusCode, String) {
            let id = format!("k{}", fake.started.fetch_add(1, Ordering::Relaxed));
            fake.kernels.lock().unwrap().push(id.clone());
            (axum::http::StatusCode::CREATED, json!({ "id": id }).to_string())
        }

        async fn end(State(fake): State<Self>, Path(id): Path<String>) {
            fake.kernels.lock().unwrap().retain(|known| *known != id);
        }

        async fn channels(State(fake): State<Self>, Path(id): Path<String>, upgrade: WebSocketUpgrade) -> Response {
            if !fake.kernels.lock().unwrap().contains(&id) {
                return axum::http::StatusCode::NOT_FOUND.into_response();
            }
            upgrade.on_upgrade(|mut socket| async move {
                let Some(Ok(asked)) = socket.recv().await else {
                    return;
                };
                let asked: Value = serde_json::from_str(asked.to_text().unwrap()).unwrap();
                let parent = json!({ "msg_id": asked["header"]["msg_id"] });
                let message = |kind: &str, content: Value| {
                    json!({ "msg_type": kind, "parent_header": parent, "content": content }).to_string().into()
                };
                for text in [
                    message("stream", json!({ "text": format!("storm-s1 {SUM}") })),
                    message("execute_reply", json!({})),
                    message("status", json!({ "execution_state": "idle" })),
                ] {
                    socket.send(axum::extract::ws::Message::Text(text)).await.unwrap();
                }
            })
        }
    }

    #[tokio::test]
    async fn a_kernel_runs_some_cells_and_then_another_does() {
        let fake = Fake::default();
        let jupyter = fake.serve().await;
        for _ in 0..CELLS_MAX {
            let seen = jupyter.run_cell(CONNECT_MAX * 5).await.unwrap();
            assert!(seen.computed && seen.hostname == "storm-s1");
        }
        assert_eq!((fake.started(), fake.running()), (1, 0), "it has run its cells");
        jupyter.run_cell(CONNECT_MAX * 5).await.unwrap();
        // Whoever leads now knows nothing of it.
        fake.kernels.lock().unwrap().clear();
        jupyter.run_cell(CONNECT_MAX * 5).await.unwrap();
        assert_eq!((fake.started(), fake.running()), (3, 1));
        jupyter.run_new_cell(CONNECT_MAX * 5).await.unwrap();
        assert_eq!((fake.started(), fake.running()), (4, 0), "a new one, and neither stays");
        jupyter.run_cell(CONNECT_MAX * 5).await.unwrap();
        jupyter.remove_kept().await;
        assert_eq!(fake.running(), 0);
    }

    #[test]
    fn a_notebook_has_the_same_text_from_the_api_and_from_the_disk() {
        let api = json!({"cells": [{"source": "a\nb"}]});
        let disk = json!({"cells": [{"source": ["a\n", "b"]}]});
        assert_eq!(cell_text(&api), cell_text(&disk));
        assert!(cell_text(&json!({})).is_err());
    }
}

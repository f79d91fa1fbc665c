//! Jupyter as a leader runs it, configured by the node agent's own code.
//!
//! Needs Docker and `STORMBED_NODE_IMAGE=<name>:<tag>`, the testbed's node image.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::json;
use stormbed::config::NodeConfig;
use stormbed::node::jupyter;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

const PORT: u16 = 8888;
const TOKEN: &str = "the-token";
/// A Python program's start, and that of six kernels at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Two cores start so many at once in 2 s, long enough to be looked at.
const KERNELS: usize = 6;

fn config(dir: &Path) -> NodeConfig {
    let config = json!({
        "cluster": "storm", "prefix": "storm", "slot": 0, "incarnation": 1, "addresses": {"0": "198.19.0.10"},
        "bootstrap": {"state": "forming", "generation": 1}, "data_lost": false, "data_dir": dir, "shared_dir": dir,
        "secrets": {"dir": dir, "jupyter_token": "token", "operator_key": "operator.pub"},
        "etcd_heartbeat_ms": 100, "etcd_election_ms": 1000, "lease_ttl_s": 5, "jupyter_port": PORT,
    });
    serde_json::from_value(config).expect("a node's configuration")
}

/// Starts a server with what the agent writes into `dir`; returns its URL.
async fn server(dir: &Path) -> (ContainerAsync<GenericImage>, String) {
    std::fs::write(dir.join("token"), TOKEN).expect("a token");
    let command = jupyter::command(&config(dir), dir).expect("the command");
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let image = std::env::var("STORMBED_NODE_IMAGE").expect(
        "set STORMBED_NODE_IMAGE to the testbed's node image, e.g. with `eval \"$(target/debug/stormbed images --print)\"`",
    );
    let (name, tag) = image.split_once(':').unwrap_or((&image, "latest"));
    let server = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_cmd(words.map(|word| word.to_string_lossy()))
        .with_working_dir(dir.to_string_lossy())
        .with_copy_to(dir.to_string_lossy(), dir.to_path_buf())
        .with_label("stormbed.run", "test-jupyter")
        .start()
        .await
        .expect("the node image starts");
    let port = server.get_host_port_ipv4(PORT).await.expect("a published port");
    (server, format!("http://127.0.0.1:{port}"))
}

async fn status(client: &Client, url: &str) -> reqwest::Result<StatusCode> {
    let request = client.get(format!("{url}/api/status")).header("authorization", format!("token {TOKEN}"));
    Ok(request.timeout(PATIENCE).send().await?.status())
}

async fn start_kernel(client: &Client, url: &str) -> StatusCode {
    let request = client.post(format!("{url}/api/kernels")).header("authorization", format!("token {TOKEN}"));
    let answer = request.json(&json!({"name": "python3"})).timeout(PATIENCE).send().await;
    answer.expect("an answer").status()
}

#[tokio::test]
async fn the_server_says_how_it_is_while_kernels_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, url) = server(dir.path()).await;
    let client = Client::new();
    let begin = Instant::now();
    while !matches!(status(&client, &url).await, Ok(StatusCode::OK)) {
        assert!(begin.elapsed() < PATIENCE, "no server within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let starting = join_all((0..KERNELS).map(|_| start_kernel(&client, &url)));
    tokio::pin!(starting);
    let mut looks = 0;
    let started = loop {
        tokio::select! {
            started = &mut starting => break started,
            seen = status(&client, &url) => {
                assert_eq!(seen.expect("an answer"), StatusCode::OK, "look {looks} while kernels start");
                looks += 1;
            }
        }
    };
    assert_eq!(started, [StatusCode::CREATED; KERNELS]);
    assert!(looks > 0, "nobody looked while kernels started");
}

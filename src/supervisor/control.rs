//! The socket behind `stormd supervise status | hold | release`: one JSON line asked, one JSON line answered.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::core::{Signal, Status};

/// Where the supervisor listens.
pub const SOCKET: &str = "/run/stormbed/supervise.sock";
/// A request is a name and a word.
const REQUEST_BYTES_MAX: u64 = 4096;
/// The supervisor answers from memory; longer means that it hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What is asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// List the parts.
    Status,
    /// Keep a part down.
    Hold {
        /// The part.
        part: String,
        /// Sent to it at once if it runs.
        signal: Option<Signal>,
    },
    /// Let a part run again.
    Release {
        /// The part.
        part: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Every part, after the request took effect.
    Parts(Vec<Status>),
    /// Why not.
    Refused(String),
}

/// A request on its way to the supervisor, with the way back.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// Asks the supervisor of this machine.
///
/// # Errors
/// If it isn't there or doesn't answer in time.
pub async fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    let asking = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(serde_json::from_str(&answer)?)
    };
    tokio::time::timeout(ANSWER_MAX, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Serves the socket, handing requests over.
///
/// # Errors
/// If the socket can't be made.
pub fn listen(socket: &Path, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    // A supervisor that was killed leaves its socket where /run isn't in memory.
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(tokio::time::timeout(ANSWER_MAX, answer(stream, asked.clone())));
                }
                // Out of descriptors, for example: nothing to do but wait for some.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

async fn answer(stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(REQUEST_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (back, answer) = oneshot::channel();
            let _ = asked.send((request, back)).await;
            answer.await.unwrap_or_else(|_| Answer::Refused("the supervisor is ending".into()))
        }
        Err(e) => Answer::Refused(format!("not a request: {e}")),
    };
    write.write_all(&serde_json::to_vec(&answer)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_a_killed_supervisor_left_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("supervise.sock");
        for _ in 0..2 {
            let (asked, mut asks) = mpsc::channel::<Asked>(1);
            listen(&socket, asked).unwrap();
            let answering = async {
                let (request, back) = asks.recv().await.unwrap();
                assert_eq!(request, Request::Status);
                back.send(Answer::Parts(Vec::new())).unwrap();
            };
            let (answer, ()) = tokio::join!(ask(&socket, &Request::Status), answering);
            assert_eq!(answer.unwrap(), Answer::Parts(Vec::new()));
            assert!(socket.exists());
        }
    }
}

//! The agent's executors: the socket where they subscribe, and their processes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tracing::warn;

use super::core::Event;
use super::executor::Arguments;
use super::executor::protocol::{self, FromExecutor, ToExecutor};

/// File in the sandbox with an executor's own log.
const LOG: &str = "executor.log";
/// Between two tries to take a connection when the system is short of something.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What comes of an executor.
#[derive(Debug)]
pub enum Report {
    /// It has subscribed on a connection.
    Subscribed(String, Connection),
    /// It says something.
    Said(String, FromExecutor),
    /// The connection of this number has ended.
    Ended(String, u64),
    /// Its process has ended, or couldn't be started.
    Exited(String),
}

/// The way to an executor.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    sender: mpsc::UnboundedSender<ToExecutor>,
}

/// The executors that are connected, by their containers.
#[derive(Debug, Default)]
pub struct Executors(BTreeMap<String, Connection>);

impl Executors {
    /// What the core has to know of it. The end of a connection tells of an executor's end, after everything that it said;
    /// the end of its process tells of one that never connected.
    pub fn on(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::Subscribed(container, connection) => {
                self.0.insert(container.clone(), connection);
                Some(Event::Executor(container.clone(), FromExecutor::Subscribe { container }))
            }
            Report::Said(container, said) => Some(Event::Executor(container, said)),
            Report::Ended(container, number) => {
                let current = self.0.get(&container).is_some_and(|connection| connection.number == number);
                current.then(|| {
                    self.0.remove(&container);
                    Event::ExecutorGone(container)
                })
            }
            Report::Exited(container) => (!self.0.contains_key(&container)).then_some(Event::ExecutorGone(container)),
        }
    }

    /// Sends to an executor. To one that is gone nothing need be said.
    pub fn tell(&self, container: &str, message: ToExecutor) {
        if let Some(connection) = self.0.get(container) {
            let _ = connection.sender.send(message);
        }
    }
}

/// Serves the socket.
///
/// # Errors
/// If the socket can't be made.
pub fn listen(socket: &Path, reports: mpsc::UnboundedSender<Report>) -> io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        for number in 0.. {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(number, stream, reports.clone()));
                }
                Err(error) => {
                    warn!(%error, "no executor can connect");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    });
    Ok(())
}

async fn serve(number: u64, stream: UnixStream, reports: mpsc::UnboundedSender<Report>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let Ok(Some(FromExecutor::Subscribe { container })) = protocol::read(&mut lines).await else {
        warn!("a connection that isn't an executor's");
        return;
    };
    let (sender, mut outbox) = mpsc::unbounded_channel();
    // Nobody listens: the agent ends.
    let _ = reports.send(Report::Subscribed(container.clone(), Connection { number, sender }));
    let speak = async {
        while let Some(message) = outbox.recv().await {
            protocol::write(&mut write, &message).await?;
        }
        Ok(())
    };
    let listen = async {
        while let Some(said) = protocol::read(&mut lines).await? {
            let _ = reports.send(Report::Said(container.clone(), said));
        }
        Ok(())
    };
    let ended: io::Result<()> = tokio::select! {
        ended = speak => ended,
        ended = listen => ended,
    };
    if let Err(error) = ended {
        warn!(container, %error, "the connection to an executor broke");
    }
    let _ = reports.send(Report::Ended(container, number));
}

/// Starts an executor in a process group of its own, with nothing of the agent's: it goes on when the agent ends.
pub fn start(arguments: &Arguments, reports: mpsc::UnboundedSender<Report>) {
    let container = arguments.container.clone();
    let child = spawn(arguments).inspect_err(|error| warn!(container, %error, "its executor can't be started"));
    tokio::spawn(async move {
        if let Ok(mut child) = child {
            match child.wait().await {
                Ok(status) if status.success() => {}
                Ok(status) => warn!(container, %status, "an executor ended early"),
                Err(error) => warn!(container, %error, "an executor's end is unknown"),
            }
        }
        let _ = reports.send(Report::Exited(container));
    });
}

fn spawn(arguments: &Arguments) -> io::Result<tokio::process::Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(arguments.sandbox.join(LOG))?;
    Command::new(std::env::current_exe()?)
        .args(arguments.words())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: u64) -> Connection {
        Connection { number, sender: mpsc::unbounded_channel().0 }
    }

    #[test]
    fn an_executor_is_gone_with_its_last_connection() {
        let mut executors = Executors::default();
        let gone = Some(Event::ExecutorGone("c".into()));
        assert_eq!(executors.on(Report::Exited("c".into())), gone, "it never connected");
        assert!(executors.on(Report::Subscribed("c".into(), connection(1))).is_some());
        assert_eq!(executors.on(Report::Exited("c".into())), None, "what it said last is still to be read");
        assert!(executors.on(Report::Subscribed("c".into(), connection(2))).is_some());
        assert_eq!(executors.on(Report::Ended("c".into(), 1)), None, "of an older connection");
        assert_eq!(executors.on(Report::Ended("c".into(), 2)), gone);
    }
}

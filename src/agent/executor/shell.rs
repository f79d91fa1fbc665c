//! The executor's shell: the connection to the agent, the engine, the clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::core::{Action, Event, Executor};
use super::protocol::{self, FromExecutor};
use super::run::Container;
use super::{Arguments, ExecutorError};
use crate::agent::shell::wall_s;
use crate::clock::Clock;

/// Between two looks for an agent that is away.
const AWAY: Duration = Duration::from_millis(250);
/// With nothing due the loop still looks around this often.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What reaches the loop.
enum Input {
    Core(Event),
    /// A new connection, and the way to send on it.
    Connected(mpsc::UnboundedSender<FromExecutor>),
}

/// Runs one task to its end.
///
/// # Errors
/// See [`ExecutorError`].
pub async fn run(arguments: Arguments) -> Result<(), ExecutorError> {
    let container = Arc::new(Container::new(&arguments.docker_socket, &arguments.container, &arguments.sandbox)?);
    let clock = Clock::start();
    let mut core = Executor::new(arguments.settings(), clock.now());
    // Unbounded, yet bounded by what feeds it: an agent's few messages, and three reports of the container.
    let (inputs, mut inbox) = mpsc::unbounded_channel();
    tokio::spawn(stay_connected(arguments.agent, inputs.clone()));
    let mut agent: Option<mpsc::UnboundedSender<FromExecutor>> = None;
    loop {
        let idle = core.deadline().map_or(IDLE_MAX, |due| due.since(clock.now())).min(IDLE_MAX);
        let event = tokio::select! {
            Some(input) = inbox.recv() => match input {
                Input::Core(event) => event,
                Input::Connected(sender) => {
                    agent = Some(sender);
                    Event::Connected
                }
            },
            () = tokio::time::sleep(idle) => Event::Tick,
        };
        for action in core.on(clock.now(), wall_s(), event) {
            match action {
                Action::Send(message) => {
                    // On a broken connection it is lost, and said again on the next.
                    agent.as_ref().map(|agent| agent.send(message));
                }
                Action::Run(task) => {
                    let (container, inputs) = (container.clone(), inputs.clone());
                    tokio::spawn(async move {
                        // Nobody listens: the executor ends.
                        let report = |progress| drop(inputs.send(Input::Core(Event::Container(progress))));
                        container.run(&task, report).await;
                    });
                }
                Action::Stop(grace) => {
                    info!(?grace, "stops the container");
                    let container = container.clone();
                    tokio::spawn(async move { container.stop(grace).await });
                }
                Action::Exit(Ok(())) => return Ok(()),
                Action::Exit(Err(why)) => return Err(ExecutorError::Unsupported(why)),
            }
        }
    }
}

async fn stay_connected(socket: PathBuf, inputs: mpsc::UnboundedSender<Input>) {
    loop {
        if let Ok(stream) = UnixStream::connect(&socket).await {
            let (sender, outbox) = mpsc::unbounded_channel();
            let _ = inputs.send(Input::Connected(sender));
            if let Err(error) = converse(stream, outbox, &inputs).await {
                warn!(%error, "the connection to the agent broke");
            }
        }
        let _ = inputs.send(Input::Core(Event::AgentLost));
        tokio::time::sleep(AWAY).await;
    }
}

async fn converse(
    stream: UnixStream,
    mut outbox: mpsc::UnboundedReceiver<FromExecutor>,
    inputs: &mpsc::UnboundedSender<Input>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let speak = async {
        while let Some(message) = outbox.recv().await {
            protocol::write(&mut write, &message).await?;
        }
        Ok(())
    };
    let listen = async {
        while let Some(message) = protocol::read(&mut lines).await? {
            let _ = inputs.send(Input::Core(Event::Agent(message)));
        }
        Ok(())
    };
    tokio::select! {
        ended = speak => ended,
        ended = listen => ended,
    }
}

//! Commands in containers on this process's own streams: what `docker exec -it` does.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::{LogsOptionsBuilder, ResizeExecOptionsBuilder};
use futures_util::StreamExt;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use terminal_size::{Height, Width, terminal_size};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

use super::{Engine, EngineError};

/// What the command gets of this process's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// A terminal of its own, joined to this process's.
    Terminal,
    /// Standard input, output and error.
    All,
    /// Standard output and error.
    Output,
    /// Standard output and error, and an input that says nothing and ends with this process.
    Watching,
}

impl Streams {
    /// What suits a command: a terminal if it is to be talked to and there is one; input if it comes from a file or a pipe.
    #[must_use]
    pub fn suit(talk: bool) -> Self {
        match (std::io::stdin().is_terminal(), std::io::stdout().is_terminal()) {
            (true, true) if talk => Self::Terminal,
            (false, _) => Self::All,
            _ => Self::Output,
        }
    }
}

/// A terminal in raw mode: every key goes to the command. Put back when it is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn of_stdin() -> nix::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing is left to be done if the terminal is gone.
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
    }
}

impl Engine {
    /// Runs a command on this process's streams. Returns its exit code.
    ///
    /// A read of standard input may still be under way afterwards: end by `std::process::exit`.
    ///
    /// # Errors
    /// If the engine refuses (the container doesn't run).
    pub async fn attend(&self, container: &str, command: &[&str], streams: Streams) -> Result<i64, EngineError> {
        let what = format!("running `{}` in the container {container}", command.join(" "));
        let failed = |e| EngineError::call(what.clone(), e);
        let terminal = streams == Streams::Terminal;
        let options = CreateExecOptions {
            attach_stdin: Some(streams != Streams::Output),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(terminal),
            cmd: Some(command.iter().map(|s| (*s).to_owned()).collect()),
            ..CreateExecOptions::default()
        };
        let id = self.docker().create_exec(container, options).await.map_err(failed)?.id;
        let start = StartExecOptions { tty: terminal, ..StartExecOptions::default() };
        let StartExecResults::Attached { mut output, mut input } =
            self.docker().start_exec(&id, Some(start)).await.map_err(failed)?
        else {
            return Err(EngineError::Command { what, code: -1, output: "the engine detached it".into() });
        };
        let _raw = if terminal { Raw::of_stdin().ok() } else { None };
        let resizing = terminal.then(|| tokio::spawn(resize(self.clone(), id.clone())));
        let _silent = match streams {
            Streams::Output | Streams::Watching => Some(input),
            Streams::Terminal | Streams::All => {
                // Ends with this process: a read of a terminal can't be called off.
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
                    let _ = input.shutdown().await;
                });
                None
            }
        };
        while let Some(item) = output.next().await {
            if show(item.map_err(failed)?).is_err() {
                // Nobody reads any more (`| head`).
                break;
            }
        }
        if let Some(resizing) = resizing {
            resizing.abort();
        }
        self.exit_code(&id, &what).await
    }

    /// Shows a container's own output: its last lines, and then what comes.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn follow(&self, container: &str, lines: usize) -> Result<(), EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).tail(&lines.to_string()).build();
        let mut stream = self.docker().logs(container, Some(options));
        while let Some(item) = stream.next().await {
            let item = item.map_err(|e| EngineError::call(format!("reading the output of {container}"), e))?;
            if show(item).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn show(item: LogOutput) -> std::io::Result<()> {
    match item {
        LogOutput::StdErr { message } => std::io::stderr().write_all(&message),
        other => {
            let mut out = std::io::stdout();
            out.write_all(&other.into_bytes())?;
            out.flush()
        }
    }
}

/// Tells the command's terminal the size of ours, now and whenever it changes.
async fn resize(engine: Engine, id: String) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else {
        return;
    };
    loop {
        if let Some((Width(width), Height(height))) = terminal_size() {
            let options = ResizeExecOptionsBuilder::new().w(i32::from(width)).h(i32::from(height)).build();
            // A command that has just ended has no terminal.
            let _ = engine.docker().resize_exec(&id, options).await;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

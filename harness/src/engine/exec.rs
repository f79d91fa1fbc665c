//! Commands in containers: run to the end with their output, or attached as a pair of streams.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::StreamReader;

use super::{Engine, EngineError};

/// At most this much output of a command is kept: its end.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i64,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

impl ExecOutput {
    /// The output if the exit code is 0.
    ///
    /// # Errors
    /// [`EngineError::Command`] with the end of what it wrote.
    pub fn success(self, what: &str) -> Result<String, EngineError> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        let said = format!("{}{}", self.stdout, self.stderr);
        let start = said.len().saturating_sub(2_000);
        let start = (start..said.len()).find(|i| said.is_char_boundary(*i)).unwrap_or(0);
        Err(EngineError::Command { what: what.to_owned(), code: self.code, output: said[start..].trim().to_owned() })
    }
}

/// The streams of a command that runs in a container: `docker exec -i`. Dropping `input` closes the command's
/// standard input.
pub struct ExecStream {
    /// The engine's name of this command.
    pub id: String,
    /// The command's standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// The command's standard output. Its standard error goes to this program's log, at level debug.
    pub output: Pin<Box<dyn AsyncRead + Send>>,
}

impl std::fmt::Debug for ExecStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecStream").field("id", &self.id).finish_non_exhaustive()
    }
}

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

impl Engine {
    /// Starts a command with its streams attached.
    ///
    /// # Errors
    /// If the engine refuses (the container doesn't run).
    pub async fn attach(&self, container: &str, command: &[&str]) -> Result<ExecStream, EngineError> {
        let (id, input, output) = self.start_command(container, command).await?;
        let name = command.join(" ");
        let stdout = output.filter_map(move |item| {
            let kept = match item {
                Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => Some(Ok(message)),
                Ok(other) => {
                    tracing::debug!(command = %name, "{}", other.to_string().trim_end());
                    None
                }
                Err(e) => Some(Err(std::io::Error::other(e))),
            };
            std::future::ready(kept)
        });
        Ok(ExecStream { id, input, output: Box::pin(StreamReader::new(stdout)) })
    }

    async fn start_command(&self, container: &str, command: &[&str]) -> Result<(String, Input, Output), EngineError> {
        let what = || format!("running `{}` in the container {container}", command.join(" "));
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|s| (*s).to_owned()).collect()),
            ..CreateExecOptions::default()
        };
        let made = self.docker().create_exec(container, options).await.map_err(|e| EngineError::call(what(), e))?;
        let start = StartExecOptions { output_capacity: Some(64 * 1024), ..StartExecOptions::default() };
        match self.docker().start_exec(&made.id, Some(start)).await {
            Ok(StartExecResults::Attached { output, input }) => Ok((made.id, input, output)),
            Ok(StartExecResults::Detached) => {
                Err(EngineError::Command { what: what(), code: -1, output: "the engine detached it".into() })
            }
            Err(e) => Err(EngineError::call(what(), e)),
        }
    }

    /// Runs a command to its end, with `input` on its standard input, for at most `within`.
    ///
    /// # Errors
    /// If the engine refuses or the time is over; a failing command is an `Ok` with its exit code.
    pub async fn exec(
        &self,
        container: &str,
        command: &[&str],
        input: &[u8],
        within: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let one = futures_util::stream::iter([Ok(Bytes::copy_from_slice(input))]);
        self.exec_streaming(container, command, one, within).await
    }

    /// Like [`Engine::exec`], with a stream as standard input.
    ///
    /// # Errors
    /// As [`Engine::exec`].
    pub async fn exec_streaming(
        &self,
        container: &str,
        command: &[&str],
        input: impl Stream<Item = Result<Bytes, bollard::errors::Error>>,
        within: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let what = format!("running `{}` in the container {container}", command.join(" "));
        tokio::time::timeout(within, self.run_command(container, command, input, &what))
            .await
            .map_err(|_| EngineError::Slow { what: what.clone(), seconds: within.as_secs() })?
    }

    async fn run_command(
        &self,
        container: &str,
        command: &[&str],
        input: impl Stream<Item = Result<Bytes, bollard::errors::Error>>,
        what: &str,
    ) -> Result<ExecOutput, EngineError> {
        let (id, mut stdin, mut output) = self.start_command(container, command).await?;
        let feed = async {
            tokio::pin!(input);
            while let Some(chunk) = input.next().await {
                let chunk = chunk.map_err(|e| EngineError::call(what, e))?;
                // A command may end without reading its input; its exit code tells the story.
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            let _ = stdin.shutdown().await;
            Ok::<(), EngineError>(())
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read = async {
            while let Some(item) = output.next().await {
                match item.map_err(|e| EngineError::call(what, e))? {
                    LogOutput::StdErr { message } => keep_end(&mut err, &message),
                    other => keep_end(&mut out, &other.into_bytes()),
                }
            }
            Ok::<(), EngineError>(())
        };
        tokio::try_join!(feed, read)?;
        let code = self.exit_code(&id, what).await?;
        Ok(ExecOutput {
            code,
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).into_owned(),
        })
    }

    /// The exit code of a command whose output has ended: the engine may note it a moment later.
    pub(super) async fn exit_code(&self, id: &str, what: &str) -> Result<i64, EngineError> {
        // 40 × 25 ms = 1 s: it is a matter of milliseconds.
        for _ in 0..40 {
            let seen = self.docker().inspect_exec(id).await.map_err(|e| EngineError::call(what, e))?;
            if let (Some(false), Some(code)) = (seen.running, seen.exit_code) {
                return Ok(code);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(EngineError::Slow { what: format!("{what} (waiting for its exit code)"), seconds: 1 })
    }
}

fn keep_end(buffer: &mut Vec<u8>, more: &[u8]) {
    buffer.extend_from_slice(more);
    if buffer.len() > 2 * OUTPUT_BYTES_MAX {
        buffer.drain(..buffer.len() - OUTPUT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_shows_the_end_of_what_it_wrote() {
        let output = ExecOutput { code: 3, stdout: "x".repeat(5_000), stderr: "the reason\n".into() };
        let error = output.success("probing").expect_err("it failed");
        let text = error.to_string();
        assert!(text.contains("exit code 3") && text.ends_with("the reason"));
        assert!(text.len() < 2_200);
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let mut buffer = Vec::new();
        for i in 0..20u8 {
            keep_end(&mut buffer, &vec![i; 64 * 1024]);
        }
        assert!(buffer.len() <= 2 * OUTPUT_BYTES_MAX);
        assert_eq!(buffer.last(), Some(&19));
    }
}

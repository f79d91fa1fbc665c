//! `stormd supervise`: as a program, and as the tool that talks to the one that runs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::control::{Answer, Request, SOCKET, ask};
use super::core::Signal;

/// Arguments of `stormd supervise`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// TOML file with what to run (as process 1 of a container).
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Talk to the supervisor that runs on this machine instead.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every part as JSON: name, phase, held, pid, restarts, last end.
    Status,
    /// Keep a part down until it is released.
    Hold {
        /// The part, e.g. `agent`.
        part: String,
        /// Sent to it at once.
        #[arg(long, default_value = "kill")]
        signal: SignalName,
    },
    /// Let a part run again, at once.
    Release {
        /// The part.
        part: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SignalName {
    Kill,
    Term,
    None,
}

/// Runs it.
///
/// # Errors
/// Whatever ended the supervisor, or what it refused.
pub async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let request = match (arguments.command, arguments.config) {
        (None, Some(config)) => return super::enter(&config).await,
        (Some(Command::Hold { part, signal }), _) => Request::Hold {
            part,
            signal: match signal {
                SignalName::Kill => Some(Signal::Kill),
                SignalName::Term => Some(Signal::Term),
                SignalName::None => None,
            },
        },
        (Some(Command::Release { part }), _) => Request::Release { part },
        (Some(Command::Status) | None, _) => Request::Status,
    };
    let answer =
        ask(Path::new(SOCKET), &request).await.map_err(|e| format!("no supervisor answers on {SOCKET}: {e}"))?;
    match answer {
        Answer::Parts(parts) => {
            println!("{}", serde_json::to_string_pretty(&parts)?);
            Ok(())
        }
        Answer::Refused(why) => Err(why.into()),
    }
}

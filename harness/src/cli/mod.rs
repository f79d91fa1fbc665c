//! The commands of `stormbed`, one file each.
//!
//! Exit codes: 0 done or PASS · 1 FAIL · 2 INVALID · 3 broken (the engine, an image, a part that doesn't come up) ·
//! 64 bad arguments or files · 130 interrupted.

mod check;
mod clean;
mod completions;
mod doctor;
mod down;
mod exec;
mod ground;
mod guard;
mod heal;
mod images;
mod interrupt;
mod list;
mod logs;
mod part;
mod play;
mod replay;
mod run;
mod schema;
mod show;
mod ssh;
mod status;
mod up;
mod why;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::engine::Engine;
use crate::run::{Home, Phase, RunError, State};
use crate::topology::TopologyError;

pub use interrupt::interrupted;

/// Bad arguments or a bad file.
pub const EXIT_USAGE: u8 = 64;
/// Ended by Ctrl-C or SIGTERM.
pub const EXIT_INTERRUPTED: u8 = 130;

/// A chaos testbed with its own system under test: starts the whole topology for real, breaks it, and proves that its
/// promises hold again.
#[derive(Debug, Parser)]
#[command(name = "stormbed", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a topology and leave it standing.
    Up(up::Up),
    /// Break a topology as scenario files say, and judge whether its promises hold again.
    Run(run::Run),
    /// Play a run's plan again.
    Replay(replay::Replay),
    /// Tell why a run isn't a PASS.
    Why(why::Tell),
    /// Show the topologies that there are: who runs, who leads, what holds.
    Status(status::Status),
    /// Show what a machine or node wrote.
    Logs(logs::Logs),
    /// Undo every fault that a run which was killed has left on a standing topology.
    Heal(heal::Heal),
    #[command(hide = true)]
    Guard(guard::Guard),
    /// Log in to a node with ssh.
    Ssh(ssh::Ssh),
    /// Run a command on a node or machine.
    Exec(exec::Exec),
    /// Open a shell on a machine or node.
    AttachShell(exec::AttachShell),
    /// List scenarios, faults, targets, invariants, events.
    List(list::List),
    /// Tell whether this machine can run topologies.
    Doctor(doctor::Doctor),
    /// Remove a standing topology.
    Down(down::Down),
    /// Remove the cache volume and all images of the testbed.
    Clean(clean::Clean),
    /// Build the images, if their inputs changed.
    Images(images::Images),
    /// Check scenario files; start nothing.
    Check(check::Check),
    /// Print completions for a shell.
    Completions(completions::Completions),
    #[command(hide = true)]
    Relay(ssh::Relay),
    /// Print the JSON Schema of scenario or configuration files.
    Schema(schema::Schema),
}

/// Runs the program.
pub async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let home = Home::of_user();
    let done = match arguments.command {
        Command::Up(up) => up.run(&home).await,
        Command::Run(run) => run.run(&home).await,
        Command::Replay(replay) => replay.run(&home).await,
        Command::Why(why) => why.run(),
        Command::Status(status) => status.run(&home).await,
        Command::Logs(logs) => logs.run(&home).await,
        Command::Heal(heal) => heal.run(&home).await,
        Command::Guard(guard) => guard.run().await,
        Command::Down(down) => down.run(&home).await,
        Command::Clean(clean) => clean.run(&home).await,
        Command::Images(images) => images.run(&home).await,
        Command::Doctor(doctor) => doctor.run(&home).await,
        Command::Check(check) => check.run(),
        Command::Ssh(ssh) => ssh.run(&home).await,
        Command::Exec(exec) => exec.run(&home).await,
        Command::AttachShell(shell) => shell.run(&home).await,
        Command::Relay(relay) => relay.run(&home).await,
        Command::List(list) => list.run(),
        Command::Completions(completions) => Ok(completions.run()),
        Command::Schema(schema) => Ok(schema.run()),
    };
    match done {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("stormbed: {error}");
            error.exit_code().into()
        }
    }
}

async fn connect() -> Result<Engine, TopologyError> {
    Ok(Engine::connect().await?)
}

/// The run that a command without a run's id means: the only one that is up, be it that it stands or that a scenario runs on it.
fn the_standing(home: &Home, wanted: Option<&str>) -> Result<String, TopologyError> {
    if let Some(id) = wanted {
        let known = home.runs()?.iter().any(|run| run == id);
        return if known { Ok(id.to_owned()) } else { Err(RunError::Unknown { id: id.to_owned() }.into()) };
    }
    let mut ids = up_in(home, &[Phase::Standing, Phase::Running])?;
    match (ids.pop(), ids.is_empty()) {
        (Some(id), true) => Ok(id),
        (None, _) => Err(RunError::NoneStands.into()),
        (Some(last), false) => {
            let ids = format!("{}, {last}", ids.join(", "));
            Err(RunError::SeveralStand { ids }.into())
        }
    }
}

fn standing(home: &Home) -> Result<Vec<String>, TopologyError> {
    up_in(home, &[Phase::Standing])
}

fn up_in(home: &Home, phases: &[Phase]) -> Result<Vec<String>, TopologyError> {
    let mut ids = home.runs()?;
    ids.retain(|id| State::read(&home.folder(id)).is_ok_and(|s| phases.contains(&s.phase)));
    Ok(ids)
}

/// Prints what happens, with the seconds since the command began, to standard error: standard output is for results.
fn teller() -> impl Fn(&str) + Sync {
    let begin = Instant::now();
    move |line: &str| eprintln!("{:6.1} s  {line}", begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Their output is another program's, or a format of its own.
    const NO_JSON: [&str; 5] = ["ssh", "exec", "attach-shell", "completions", "schema"];

    #[test]
    fn every_command_with_a_result_has_it_as_json_and_the_documentation_tells_its_shape() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
        let docs = std::fs::read_to_string(path).expect("the documentation is in the repository");
        let all = Arguments::command();
        let shown: Vec<_> = all.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        assert!(shown.len() > NO_JSON.len());
        for command in shown {
            let name = command.get_name();
            let has = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
            assert_eq!(has, !NO_JSON.contains(&name), "--json of {name}");
            assert!(!has || docs.contains(&format!("| `{name} --json` |")), "docs/commands.md: {name} --json");
        }
    }
}

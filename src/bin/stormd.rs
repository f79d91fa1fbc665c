//! `stormd`: every program of the system in one binary; the first argument says which.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stormbed::framework::FrameworkError;
use stormbed::{agent, calico, config, framework, master, node, outpost, proxy, supervisor};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The programs of Stormbed's system under test.
#[derive(Debug, Parser)]
#[command(name = "stormd", version, about)]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

/// Which program to run.
#[derive(Debug, Subcommand)]
enum Program {
    /// The embedded Mesos master.
    Master(ConfigFile),
    /// The embedded Mesos agent.
    Agent(ConfigFile),
    /// Runs one DOCKER task; started by the agent.
    #[command(hide = true)]
    DockerExecutor(agent::executor::Arguments),
    /// The scheduler that keeps the cluster's slots running.
    Framework(ConfigFile),
    /// The agent inside a node container; configured by the environment variable `STORMBED_NODE`.
    Node,
    /// The way in from outside: follows the leader.
    Proxy(ConfigFile),
    /// The Docker network and IPAM plugin.
    Calico(ConfigFile),
    /// Process 1 of a container of the topology.
    Supervise(stormbed::supervisor::cli::Arguments),
    /// The testbed's probes and faults, over standard input and output.
    Outpost,
    /// Takes a control group's memory until the kernel ends somebody; started by the outpost.
    #[command(hide = true)]
    EatMemory {
        /// Directory of the control group.
        #[arg(long, value_name = "DIRECTORY")]
        group: PathBuf,
        /// It is of version 2.
        #[arg(long)]
        unified: bool,
        /// So often the kernel has ended somebody there before.
        #[arg(long)]
        before: u64,
        /// Whom it is to end.
        #[arg(long, value_name = "PID")]
        victim: u32,
        /// When that one started, in clock ticks.
        #[arg(long, value_name = "TICKS")]
        started: u64,
    },
}

/// Where a program's configuration lies.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// TOML file with the program's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Whatever ended a program early; `main` prints its chain.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,zookeeper_client=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let program = Arguments::parse().program;
    let ended = runtime(&program).map_err(Failure::from).and_then(|runtime| runtime.block_on(run(program)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("stormd: {failure}");
            let mut cause = failure.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            status(&failure)
        }
    }
}

/// A program that stops because its protocol says so has a status of its own.
fn status(failure: &Failure) -> ExitCode {
    match failure.downcast_ref::<FrameworkError>() {
        Some(error) if error.is_deposition() => ExitCode::from(framework::EXIT_DEPOSED),
        _ => ExitCode::FAILURE,
    }
}

/// A thread for each CPU; an executor has little to do, and there is one for each task.
fn runtime(program: &Program) -> std::io::Result<tokio::runtime::Runtime> {
    match program {
        Program::DockerExecutor(_) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    }
}

/// Completes when the program is told to stop.
async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        // The signal's own effect stays: it ends the process.
        Err(_) => std::future::pending().await,
    }
}

/// Runs one program to its end; one line each.
async fn run(program: Program) -> Result<(), Failure> {
    match program {
        Program::Master(file) => Ok(master::run(config::load(&file.config)?, terminated()).await?),
        Program::Agent(file) => Ok(agent::run(config::load(&file.config)?).await?),
        Program::DockerExecutor(arguments) => Ok(agent::executor::run(arguments).await?),
        Program::Framework(file) => Ok(framework::run(config::load(&file.config)?, terminated()).await?),
        Program::Node => Ok(node::run(node::config_from_environment()?).await?),
        Program::Proxy(file) => Ok(proxy::run(config::load(&file.config)?).await?),
        Program::Calico(file) => Ok(calico::run(config::load(&file.config)?).await?),
        Program::Supervise(arguments) => supervisor::cli::run(arguments).await,
        Program::Outpost => Ok(outpost::run().await?),
        Program::EatMemory { group, unified, before, victim, started } => {
            let victim = outpost::processes::ProcessView { pid: victim, started_ticks: started };
            Ok(outpost::oom::eat_memory(&group, unified, before, victim)?)
        }
    }
}

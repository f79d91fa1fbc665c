//! `stormbed exec` and `stormbed attach-shell`

use super::connect;
use super::ground::Ground;
use super::part::Part;
use crate::engine::terminal::Streams;
use crate::run::Home;
use crate::topology::TopologyError;

/// Run a command on a node or machine; its exit code is passed on.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// A node (`storm-0`, `slot-3`) or machine (`host-1`).
    part: Part,
    /// The run; the only one that is up when absent.
    #[arg(long)]
    run: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        attend(home, self.run.as_deref(), &self.part, &command, Streams::suit(false)).await
    }
}

/// Open a shell on a machine or node: as root, past ssh. Without a terminal it reads commands from standard input.
#[derive(Debug, clap::Args)]
pub struct AttachShell {
    /// A machine (`host-1`, `master-2`, `edge`) or node (`storm-0`, `slot-3`).
    part: Part,
    /// The run; the only one that is up when absent.
    #[arg(long)]
    run: Option<String>,
}

impl AttachShell {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        attend(home, self.run.as_deref(), &self.part, &["bash"], Streams::suit(true)).await
    }
}

async fn attend(
    home: &Home,
    run: Option<&str>,
    part: &Part,
    command: &[&str],
    streams: Streams,
) -> Result<u8, TopologyError> {
    let ground = Ground::find(connect().await?, home, run).await?;
    let spot = ground.spot(part).await?;
    let flags: &[&str] = match streams {
        Streams::Terminal => &["-i", "-t"],
        Streams::All => &["-i"],
        Streams::Output | Streams::Watching => &[],
    };
    let code = ground.engine.attend(&spot.container, &spot.command(command, flags), streams).await?;
    // Not by returning: the runtime would wait for the read of standard input.
    std::process::exit(i32::try_from(code).unwrap_or(1))
}

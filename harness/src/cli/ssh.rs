//! `stormbed ssh`, and the relay that carries it: nodes' addresses are known inside of the topology only.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::connect;
use super::ground::Ground;
use super::part::Part;
use crate::engine::EngineError;
use crate::engine::terminal::Streams;
use crate::run::{Home, RunError};
use crate::topology::TopologyError;
use crate::topology::secrets::OPERATOR_KEY_FILE;

/// The machine that has routes to all nodes and that nothing breaks.
const THROUGH: &str = "edge";
/// The user who logs in.
const USER: &str = "root";
/// Asking a node for its host key.
const SCAN_MAX: Duration = Duration::from_secs(10);
/// Copies both ways between this process and a port; ends when either side has nothing more to say.
const RELAY: &str = r#"exec 3<>"/dev/tcp/$0/$1" && { cat <&3 & cat >&3; }"#;

/// Log in to a node with ssh, as root, with the topology's own key and the node's real host key.
#[derive(Debug, clap::Args)]
pub struct Ssh {
    /// The node: `storm-0` (the etcd leader), `slot-3`.
    node: Part,
    /// The run; the only one that is up when absent.
    #[arg(long)]
    run: Option<String>,
    /// A command to run there instead of a shell; its exit code is passed on.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Ssh {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let ground = Ground::find(connect().await?, home, self.run.as_deref()).await?;
        let Part::Node(name) = self.node else {
            return Err(TopologyError::NoNode);
        };
        let node = ground.node(name).await?;
        let spot = ground.spot(&self.node).await?;
        // Through the engine, so that nobody on the way can pretend to be the node.
        let address = node.address.to_string();
        let scan = spot.command(&["ssh-keyscan", "-t", "ed25519", &address], &[]);
        let keys =
            ground.engine.exec(&spot.container, &scan, b"", SCAN_MAX).await?.success("asking for the host key")?;
        let known = ground.folder.join("known_hosts");
        std::fs::write(&known, keys).map_err(RunError::file(&known))?;
        let program = std::env::current_exe().map_err(RunError::file("stormbed"))?;
        let run = &ground.plan.run;
        let relay = format!("'{}' relay --run {run} %h %p", program.display());
        let options = [
            format!("ProxyCommand={relay}"),
            format!("UserKnownHostsFile={}", known.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ];
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-i"]).arg(ground.folder.join(OPERATOR_KEY_FILE));
        options.iter().for_each(|option| {
            ssh.args(["-o", option]);
        });
        ssh.arg(format!("{USER}@{address}")).args(&self.command);
        // From here on this process is ssh.
        let error = ssh.exec();
        let output = format!("{error}; install openssh-client, or use `stormbed attach-shell`");
        Err(EngineError::Command { what: "ssh".into(), code: -1, output }.into())
    }
}

/// Carry a connection to an address inside of a topology: for ssh's ProxyCommand.
#[derive(Debug, clap::Args)]
pub struct Relay {
    /// The run.
    #[arg(long)]
    run: String,
    /// An address inside.
    address: String,
    /// A port there.
    port: u16,
}

impl Relay {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let ground = Ground::find(connect().await?, home, Some(&self.run)).await?;
        let port = self.port.to_string();
        let command = ["bash", "-c", RELAY, &self.address, &port];
        let code = ground.engine.attend(ground.machine(THROUGH)?, &command, Streams::All).await?;
        // Not by returning: the runtime would wait for the read of standard input.
        std::process::exit(i32::try_from(code).unwrap_or(1))
    }
}

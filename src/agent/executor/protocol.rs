//! What an executor and its agent say to each other: one JSON document per line, on a Unix socket in the agent's work directory.
//!
//! ```text
//! executor ── SUBSCRIBE container ─────────────► agent     first line of every connection
//!          ◄─ LAUNCH task ──────────────────────           once; not after a restart of the agent
//!          ── UPDATE 1: STARTING ──────────────►
//!          ◄─ ACKNOWLEDGED 1 ───────────────────           the agent has written it down
//!          ◄─ KILL | SHUTDOWN ──────────────────
//! ```
//! The end of the connection is the end of the other side. Updates are numbered from 1; after a new connection the
//! executor says again what wasn't acknowledged, and the agent knows by the number what it has already.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader, Lines};

use crate::mesos::types::{KillPolicy, TaskInfo, TaskStatus};

/// The socket's name in the agent's work directory.
pub const SOCKET: &str = "executors.sock";

/// Executor → agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FromExecutor {
    /// The executor of this container is here.
    Subscribe {
        /// The container's id.
        container: String,
    },
    /// The task's state has changed.
    Update {
        /// 1, 2, 3 …
        number: u64,
        /// Without what the agent adds: its id, a uuid, the container.
        status: Box<TaskStatus>,
    },
}

/// Agent → executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ToExecutor {
    /// Run this task.
    Launch {
        /// The task.
        task: Box<TaskInfo>,
        /// Whether its framework wants to be told of TASK_KILLING.
        tells_killing: bool,
    },
    /// Kill the task; may be repeated, the later policy wins.
    Kill {
        /// From the KILL call; overrides the task's.
        policy: Option<KillPolicy>,
    },
    /// Stop the task and end. Without a task, just end.
    Shutdown,
    /// The agent keeps this update and those before it.
    Acknowledged {
        /// Its number.
        number: u64,
    },
}

impl ToExecutor {
    /// For logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::Kill { .. } => "kill",
            Self::Shutdown => "shutdown",
            Self::Acknowledged { .. } => "acknowledged",
        }
    }
}

/// Writes a message.
///
/// # Errors
/// If the other side is gone.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Reads the next message; none at the end of the connection.
///
/// # Errors
/// If the connection broke, or the line isn't a message.
pub async fn read<M: DeserializeOwned, R>(from: &mut Lines<BufReader<R>>) -> std::io::Result<Option<M>>
where
    R: tokio::io::AsyncRead + Unpin,
{
    match from.next_line().await? {
        Some(line) => Ok(Some(serde_json::from_str(&line)?)),
        None => Ok(None),
    }
}

//! Acts: what a runner can have an outpost do to its machine.

use serde::{Deserialize, Serialize};

use super::cut::Cut;

/// A fault that an outpost makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// SIGKILL to a container's process 1 through the engine. Has no undo: the system must bring the slot back.
    KillContainer {
        /// Full id.
        container: String,
    },
    /// Freeze a container; undone by thawing it.
    PauseContainer {
        /// Full id.
        container: String,
    },
    /// SIGKILL to the process of a part of this machine, which its supervisor then keeps down; undone by letting it run again.
    KillPart {
        /// The part, e.g. `agent`.
        part: String,
    },
    /// Drop packets; undone by removing the rules.
    Cut(Cut),
}

//! Acts: what a runner can have an outpost do to its machine.

use serde::{Deserialize, Serialize};

use super::cut::Cut;
use super::link::Link;
use super::processes::ProcessView;
use super::syncs::{Program, Syncs};
use super::tamper::Tamper;
use crate::supervisor::core::Signal;

/// A fault that an outpost makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// SIGKILL to a container's process 1 through the engine. Has no undo: the system must bring the slot back.
    KillContainer {
        /// Full id.
        container: String,
    },
    /// SIGTERM to a container's process 1 through the engine, and what follows from it. Has no undo either.
    StopContainer {
        /// Full id.
        container: String,
    },
    /// Freeze a container; undone by thawing it.
    PauseContainer {
        /// Full id.
        container: String,
    },
    /// End the process of a part of this machine, which its supervisor then keeps down; undone by letting it run again.
    DownPart {
        /// The part, e.g. `agent`.
        part: String,
        /// How it is told.
        signal: Signal,
    },
    /// SIGKILL to the process of a part of this machine, and start it again at once. Has no undo.
    RestartPart {
        /// The part.
        part: String,
    },
    /// End a process that somebody else on this machine starts again. Has no undo.
    EndProcess {
        /// Which.
        process: ProcessView,
        /// How it is told.
        signal: Signal,
    },
    /// SIGSTOP to a process; undone by SIGCONT, if it is still the same process.
    FreezeProcess {
        /// Which.
        process: ProcessView,
    },
    /// End the process of this machine's brick; undone by having glusterd start it.
    DownBrick {
        /// Which process.
        process: ProcessView,
        /// How it is told.
        signal: Signal,
    },
    /// SIGKILL to the process of this machine's brick, and start it again at once. Has no undo.
    RestartBrick {
        /// Which process.
        process: ProcessView,
    },
    /// Drop packets; undone by removing the rules.
    Cut(Cut),
    /// Drop a random share of packets; undone likewise.
    Lose {
        /// Of which.
        cut: Box<Cut>,
        /// How many of a hundred.
        percent: u8,
    },
    /// Let packets arrive late; undone likewise, and what still waits arrives at once.
    Slow {
        /// Which.
        cut: Box<Cut>,
        /// How late.
        link: Link,
    },
    /// The disk of this machine's brick is full; undone by freeing it.
    FillDisk,
    /// A container has little processor time; undone by setting its limit back.
    SlowCpu {
        /// Full id.
        container: String,
        /// Share of one core that it has.
        percent: u8,
    },
    /// A program's disk is slow, or fails; undone by letting go of the program.
    BadDisk {
        /// Which.
        program: Program,
        /// What becomes of its syncs.
        syncs: Syncs,
    },
    /// The kernel ends a process of a container for want of memory. Has no undo.
    OutOfMemory {
        /// Full id.
        container: String,
        /// Which process; its process 1 when left out.
        process: Option<ProcessView>,
    },
    /// Damage what a node keeps. Has no undo: the system must heal it.
    Tamper(Tamper),
}

impl Act {
    /// The packets that it is about.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        match self {
            Self::Cut(cut) => Some(cut),
            Self::Lose { cut, .. } | Self::Slow { cut, .. } => Some(cut),
            _ => None,
        }
    }

    /// Somebody must end it. What ends by itself, or what the system must bring back, has no undo.
    #[must_use]
    pub fn has_undo(&self) -> bool {
        match self {
            Self::PauseContainer { .. }
            | Self::DownPart { .. }
            | Self::FreezeProcess { .. }
            | Self::DownBrick { .. }
            | Self::FillDisk
            | Self::SlowCpu { .. }
            | Self::BadDisk { .. }
            | Self::Cut(_)
            | Self::Lose { .. }
            | Self::Slow { .. } => true,
            Self::KillContainer { .. }
            | Self::StopContainer { .. }
            | Self::RestartPart { .. }
            | Self::EndProcess { .. }
            | Self::OutOfMemory { .. }
            | Self::RestartBrick { .. }
            | Self::Tamper(_) => false,
        }
    }
}

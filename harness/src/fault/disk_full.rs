//! `disk-full`: a brick of the shared volume has no space left and refuses what needs some, with ENOSPC. Nothing is filled: its reserve
//! of free space becomes the whole disk. Undone by taking that back.
//!
//! Of a minority the volume hardly notices: the other bricks take every file, and the self-heal brings it here.

use stormbed::outpost::protocol::Act;

use super::Victim;
use super::work::Work;

/// What fills the disk of one brick.
pub(super) fn work(fault: &str, victim: &Victim) -> Work {
    Work::at_victim(fault, victim, Act::FillDisk)
}

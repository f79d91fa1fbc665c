//! `blackout`: every machine of the topology is killed at the same moment, and all of them are started at the same moment, with
//! their data: a power cut.
//!
//! It is a kill of each, and undone like one: hosts are given their secrets again.

use super::Victim;
use super::work::{Deed, Work};

/// What switches one machine off.
pub(super) fn work(victim: &Victim) -> Work {
    Work::outside(victim, Deed::Kill)
}

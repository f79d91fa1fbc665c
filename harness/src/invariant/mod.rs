//! What must hold: pure functions of what was seen.

use serde::{Deserialize, Serialize};

/// What an invariant says of one observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "judgement", content = "why", rename_all = "kebab-case")]
pub enum Judgement {
    /// It holds.
    Holds,
    /// It is broken, and this is what shows it.
    Broken(String),
    /// The evidence doesn't suffice to tell.
    Unknown(String),
}

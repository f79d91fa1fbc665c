//! Whether this machine can run topologies: what is there, what is missing, and what each missing thing costs.
//!
//! # Layout
//! * [`judge`]: what recorded texts mean; pure.
//! * [`look`]: where the texts come from.

pub mod judge;
pub mod look;

use serde::Serialize;

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is there.
    Ok,
    /// It isn't, or could not be asked; the rest works, at a cost.
    Costs,
    /// It isn't, and no topology can run.
    Missing,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Costs => "costs",
            Self::Missing => "missing",
        })
    }
}

/// One thing that a topology needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What its lack costs, and what to do; empty when all is well.
    pub advice: String,
}

impl Check {
    /// It is there.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), advice: String::new() }
    }

    /// It isn't, at a cost.
    pub fn costs(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Costs, found: found.into(), advice: advice.into() }
    }

    /// It isn't, and nothing runs without it.
    pub fn missing(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Missing, found: found.into(), advice: advice.into() }
    }
}

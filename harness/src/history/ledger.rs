//! The ledger's account: what was acknowledged, and what was found at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;

/// What came of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpOutcome {
    /// It surely happened: it must be there at the end.
    Acknowledged,
    /// It surely did not happen (refused before it was sent).
    Refused,
    /// It may have happened: it may be there at the end.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Unique name: the etcd key or the file's name.
    pub item: String,
    /// It began after this moment.
    pub begin: Millis,
    /// Its outcome was known before this one.
    pub end: Millis,
    /// What came of it.
    pub outcome: OpOutcome,
}

/// Operations of one kind, and what was found at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindOutcome {
    /// In the order in which they began.
    pub ops: Vec<Op>,
    /// Items found at the end with the content that was written; none = the final reading failed.
    pub found: Option<Vec<String>>,
    /// Items found at the end with another content than was written.
    pub altered: Vec<String>,
}

/// By kind: `etcd`, `file`, later `notebook`.
pub type LedgerOutcome = BTreeMap<String, KindOutcome>;

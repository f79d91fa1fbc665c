//! The cases about calls that the framework and the scenarios never make. The master refuses those calls in Mesos's own way;
//! that is what such a case still checks: it is replayed, and at the calls in question the refusal is expected instead.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// At most so many cases may be refused.
pub const REFUSED_MAX: usize = 20;

/// Why a case is refused, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The reason.
    pub reason: String,
    /// What is answered instead, by the request's number. Without any the case isn't replayed at all.
    #[serde(default)]
    pub instead: BTreeMap<String, Answer>,
    /// Requests whose answer may lack members that the recording has; others it must not have.
    #[serde(default)]
    pub incomplete: Vec<u64>,
    /// The refusal of this request is the last thing that is compared.
    #[serde(default)]
    pub last: Option<u64>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Reads the list: `[case-name] reason = "…"`. An absent file is an empty list.
///
/// # Errors
/// If it isn't such a list, is too long, or names a case that doesn't exist.
pub fn read(path: &Path, cases: &[String]) -> Result<BTreeMap<String, Refused>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    parse(&text, cases).map_err(|why| format!("{}: {why}", path.display()))
}

fn parse(text: &str, cases: &[String]) -> Result<BTreeMap<String, Refused>, String> {
    let list: BTreeMap<String, Refused> = toml::from_str(text).map_err(|e| e.to_string())?;
    if list.len() > REFUSED_MAX {
        return Err(format!("{} cases are refused, {REFUSED_MAX} may be", list.len()));
    }
    match list.keys().find(|name| !cases.contains(name)) {
        Some(unknown) => Err(format!("there is no case {unknown}")),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_short_and_true() {
        let cases = ["a".to_owned(), "b".to_owned()];
        assert_eq!(parse("[a]\nreason = 'x'", &cases).map(|list| list.len()), Ok(1));
        assert!(parse("[c]\nreason = 'x'", &cases).is_err_and(|why| why.contains('c')));
        assert!(parse("[a]", &cases).is_err(), "no reason");
        let many: String = (0..=REFUSED_MAX).map(|n| format!("[c{n}]\nreason = 'x'\n")).collect();
        assert!(parse(&many, &cases).is_err_and(|why| why.contains("refused")));
    }
}

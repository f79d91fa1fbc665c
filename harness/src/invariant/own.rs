//! Invariants of the user's own: an answer over HTTP that must be so, asked for again and again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::{Judged, Name};
use crate::observe::observation::Probe;

/// An invariant of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Its name.
    pub name: Name,
    /// What it promises, in a sentence.
    pub about: String,
    /// What excuses this built-in one excuses it too.
    pub like: Option<Name>,
    /// Time between two questions.
    pub every_ms: u64,
    /// An answer takes at most this long.
    pub within_ms: u64,
    /// The question.
    pub http: Http,
}

/// A question over HTTP, and the answer that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// A path through the proxy, with Jupyter's token; or a whole URL of this machine's loopback, without.
    pub url: String,
    /// The right status.
    pub status: u16,
    /// A regular expression that is found in the right body.
    pub body: Option<String>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body is right.
    pub matches: bool,
    /// The body's beginning.
    pub start: String,
}

/// What the newest answer says. Nobody who answers in time is as bad as a wrong answer.
#[must_use]
pub fn judge(own: &Own, answer: Option<&Probe<Answer>>) -> Judged {
    let mut evidence = Evidence::default();
    let url = &own.http.url;
    match answer {
        None => evidence.unknown(format!("{url} was not asked yet")),
        Some(probe) => {
            evidence.uses(probe);
            match &probe.result {
                Err(why) => evidence.broken(format!("{url}: {why}")),
                Ok(answer) => {
                    evidence.expect(&format!("{url}: status"), &own.http.status, &answer.status);
                    if let (false, Some(wanted)) = (answer.matches, &own.http.body) {
                        evidence
                            .broken(format!("{url}: expected a body that has /{wanted}/, found {:?}", answer.start));
                    }
                }
            }
        }
    }
    Judged { fast: Some(evidence.part()), ..Judged::default() }
}

/// One text for each name: names are few, short, and as many as files give.
pub(super) fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = String::leak(name.to_owned());
    names.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;

    use super::*;
    use crate::invariant::Judgement;

    fn own() -> Own {
        let http = Http { url: "/api/kernels".into(), status: 200, body: Some("^\\[".into()) };
        let like = Some(Name::Jupyter);
        Own { name: Name::of("kernels"), about: String::new(), like, every_ms: 500, within_ms: 1_000, http }
    }

    fn judged(result: Result<(u16, bool), &str>) -> Judgement {
        let answer = |(status, matches)| Answer { status, matches, start: "{".into() };
        let probe = Probe { begin: Millis(1), end: Millis(2), result: result.map(answer).map_err(str::to_owned) };
        judge(&own(), Some(&probe)).overall()
    }

    #[test]
    fn a_wrong_answer_and_none_break_it() {
        assert_eq!(judged(Ok((200, true))), Judgement::Holds);
        let why = |judgement| match judgement {
            Judgement::Broken(why) => why,
            other => panic!("expected it broken, found {other:?}"),
        };
        assert_eq!(why(judged(Ok((503, true)))), "/api/kernels: status: expected 200, found 503");
        assert!(why(judged(Ok((200, false)))).contains("expected a body that has /^\\[/, found \"{\""));
        assert_eq!(why(judged(Err("no answer in time"))), "/api/kernels: no answer in time");
        assert!(matches!(judge(&own(), None).overall(), Judgement::Unknown(_)));
    }

    #[test]
    fn names_are_the_same_wherever_they_are_read() {
        assert_eq!(Name::of("kernels"), Name::of(&String::from("kernels")));
        assert_eq!(Name::of("jupyter"), Name::Jupyter);
        let text = serde_json::to_string(&own()).expect("plain data");
        assert_eq!(serde_json::from_str::<Own>(&text).expect("it was just written"), own());
    }
}

//! Invariants of the user's own: an answer over HTTP, or a command's, that must be so, asked for again and again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::{Judged, Name};
use crate::fault::Target;
use crate::observe::observation::{Asked, Probe};

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
    #[serde(flatten)]
    pub question: Question,
}

/// What is asked, and the answer that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Over HTTP.
    Http(Http),
    /// A command in a role's container.
    Exec(Exec),
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

/// A command in the container of whoever holds a role, and the answer that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The role.
    pub on: Target,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The right exit code.
    pub exit: u8,
    /// A regular expression that is found in the right output.
    pub output: Option<String>,
}

/// As messages name the question.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Http(http) => f.write_str(&http.url),
            // What follows a shell's `-c` is the whole line.
            Question::Exec(exec) => {
                let line = match exec.command.as_slice() {
                    [_, flag, line] if flag == "-c" => line.clone(),
                    words => words.join(" "),
                };
                write!(f, "`{line}` on {}", exec.on)
            }
        }
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status, or exit code.
    pub code: i32,
    /// The body, or the output, is right.
    pub matches: bool,
    /// The beginning of the body or output.
    pub start: String,
    /// Whose command it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What the newest answer says. Nobody who answers in time is as bad as a wrong answer, and so is nobody who holds the role; that
/// the runner could not ask says nothing.
#[must_use]
pub fn judge(own: &Own, answer: Option<&Probe<Result<Answer, String>>>) -> Judged {
    let mut evidence = Evidence::default();
    let question = &own.question;
    match answer {
        None => evidence.unknown(format!("{question} was not asked yet")),
        Some(probe) => {
            evidence.uses(probe);
            let result: &Asked<Answer> = &probe.result;
            match result {
                Err(why) => evidence.unknown(format!("{question} could not be asked: {why}")),
                Ok(Err(why)) => evidence.broken(format!("{question}: {why}")),
                Ok(Ok(answer)) => expect(&mut evidence, question, answer),
            }
        }
    }
    Judged { fast: Some(evidence.part()), ..Judged::default() }
}

fn expect(evidence: &mut Evidence, question: &Question, answer: &Answer) {
    let by = answer.by.as_ref().map_or(String::new(), |by| format!(" ({by})"));
    let start = &answer.start;
    let (code, expected, text, wanted) = match question {
        Question::Http(http) => ("status", i32::from(http.status), "body", &http.body),
        Question::Exec(exec) => ("exit code", i32::from(exec.exit), "output", &exec.output),
    };
    if answer.code != expected {
        let said = if start.is_empty() { String::new() } else { format!(": {start:?}") };
        evidence.broken(format!("{question}{by}: {code}: expected {expected}, found {}{said}", answer.code));
    } else if let (false, Some(wanted)) = (answer.matches, wanted) {
        evidence.broken(format!("{question}{by}: expected {text} with /{wanted}/, found {start:?}"));
    }
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
    use crate::fault::{Role, TargetClass};
    use crate::invariant::Judgement;

    fn asking(question: Question) -> Own {
        let like = Some(Name::Jupyter);
        Own { name: Name::of("kernels"), about: String::new(), like, every_ms: 500, within_ms: 1_000, question }
    }

    fn own() -> Own {
        asking(Question::Http(Http { url: "/api/kernels".into(), status: 200, body: Some("^\\[".into()) }))
    }

    fn command() -> Own {
        let on = Target::new(TargetClass::Node, Role::Leader);
        let command = ["sh", "-c", "cat /shared/x"].map(str::to_owned).to_vec();
        asking(Question::Exec(Exec { on, command, exit: 0, output: Some("^x$".into()) }))
    }

    fn judged(own: &Own, result: Result<Result<(i32, bool), &str>, &str>) -> Judgement {
        let by = matches!(own.question, Question::Exec(_)).then(|| "storm-s3".to_owned());
        let answer = |(code, matches)| Answer { code, matches, start: "{".into(), by };
        let result = result.map(|answered| answered.map(answer).map_err(str::to_owned)).map_err(str::to_owned);
        let probe = Probe { begin: Millis(1), end: Millis(2), result };
        judge(own, Some(&probe)).overall()
    }

    fn broken(judgement: Judgement) -> String {
        match judgement {
            Judgement::Broken(why) => why,
            other => panic!("expected it broken, found {other:?}"),
        }
    }

    #[test]
    fn a_wrong_answer_and_none_break_it() {
        assert_eq!(judged(&own(), Ok(Ok((200, true)))), Judgement::Holds);
        let why = broken(judged(&own(), Ok(Ok((503, true)))));
        assert_eq!(why, "/api/kernels: status: expected 200, found 503: \"{\"");
        let why = broken(judged(&own(), Ok(Ok((200, false)))));
        assert_eq!(why, "/api/kernels: expected body with /^\\[/, found \"{\"");
        assert_eq!(broken(judged(&own(), Ok(Err("no answer in time")))), "/api/kernels: no answer in time");
        assert!(matches!(judge(&own(), None).overall(), Judgement::Unknown(_)));
    }

    #[test]
    fn a_command_is_judged_by_exit_code_and_output() {
        assert_eq!(judged(&command(), Ok(Ok((0, true)))), Judgement::Holds);
        let why = broken(judged(&command(), Ok(Ok((1, true)))));
        assert_eq!(why, "`cat /shared/x` on node leader (storm-s3): exit code: expected 0, found 1: \"{\"");
        let why = broken(judged(&command(), Ok(Ok((0, false)))));
        assert_eq!(why, "`cat /shared/x` on node leader (storm-s3): expected output with /^x$/, found \"{\"");
    }

    #[test]
    fn what_could_not_be_asked_tells_nothing() {
        let judgement = judged(&command(), Err("no outpost on host-1"));
        assert!(matches!(&judgement, Judgement::Unknown(why) if why.contains("no outpost on host-1")), "{judgement:?}");
    }

    #[test]
    fn names_are_the_same_wherever_they_are_read() {
        assert_eq!(Name::of("kernels"), Name::of(&String::from("kernels")));
        assert_eq!(Name::of("jupyter"), Name::Jupyter);
        for own in [own(), command()] {
            let text = serde_json::to_string(&own).expect("plain data");
            assert_eq!(serde_json::from_str::<Own>(&text).expect("it was just written"), own);
        }
    }

    #[test]
    fn a_plan_from_before_commands_is_read_as_it_was_written() {
        let text = "{\"name\":\"k\",\"about\":\"\",\"like\":null,\"every_ms\":500,\"within_ms\":1000,\
                    \"http\":{\"url\":\"/api\",\"status\":200,\"body\":null}}";
        let own: Own = serde_json::from_str(text).expect("it is read");
        assert_eq!(own.question.to_string(), "/api");
    }
}

//! The meaning of invariants of the user's own.

use regex::Regex;

use super::duration::format_ms;
use super::file::{ExecKeys, HttpKeys, InvariantKeys};
use super::physics::Limits;
use super::read_target::read_target;
use crate::document::diagnose::Diagnosis;
use crate::document::place::Place;
use crate::fault::{Role, Target, TargetClass};
use crate::invariant::Name;
use crate::invariant::own::{Exec, Http, Own, Question};

/// Between two answers no more time may pass than between two ticks with evidence.
const EVIDENCE_MS: u64 = 2_000;
const EVERY_MS: u64 = 500;
/// A command costs more than a request.
const EVERY_COMMAND_MS: u64 = 1_000;
const WITHIN_MS: u64 = 1_000;

/// The invariant that these keys mean; `others` are those before it.
pub(super) fn read_invariant(
    keys: &InvariantKeys,
    at: &Place,
    others: &[Own],
    limits: &Limits,
    d: &mut Diagnosis<'_>,
) -> Own {
    let name = keys.name.0.as_str();
    let taken = Name::ALL.iter().map(|name| name.as_str()).chain(["all", "rejoin"]).any(|taken| taken == name);
    if taken {
        d.at(&at.key("name"), format!("'{name}' has a meaning already"), "give it a name of its own");
    } else if others.iter().any(|other| other.name.as_str() == name) {
        d.at(&at.key("name"), format!("there are two invariants called '{name}'"), "give each a name of its own");
    }
    let question = read_question(keys, at, limits, d);
    let usual_ms = if matches!(question, Question::Exec(_)) { EVERY_COMMAND_MS } else { EVERY_MS };
    let every_ms = keys.every.as_ref().map_or(usual_ms, |time| time.0);
    let within_ms = keys.within.as_ref().map_or(WITHIN_MS, |time| time.0);
    if every_ms + within_ms > EVIDENCE_MS {
        let key = if keys.every.is_some() { "every" } else { "within" };
        let message = format!(
            "'every' and 'within' ({} and {} when left out) are more than 2s together",
            format_ms(usual_ms),
            format_ms(WITHIN_MS)
        );
        d.at(
            &at.key(key),
            message,
            "evidence that is older than 2s counts as missing: ask more often, or wait for less time",
        );
    }
    Own {
        name: Name::of(name),
        about: keys.about.clone().unwrap_or_default(),
        like: keys.like.map(|like| like.0),
        every_ms,
        within_ms,
        question,
    }
}

fn read_question(keys: &InvariantKeys, at: &Place, limits: &Limits, d: &mut Diagnosis<'_>) -> Question {
    // Stands for what is missing; the mistake has been told, and there will be no scenario.
    let nothing = || Http { url: String::new(), status: 200, body: None };
    match (&keys.http, &keys.exec) {
        (Some(http), None) => Question::Http(read_http(http, &at.key("http"), d)),
        (None, Some(exec)) => Question::Exec(read_exec(exec, &at.key("exec"), limits, d)),
        (Some(http), Some(exec)) => {
            d.at(
                &at.key("exec"),
                "this invariant has two questions, 'http' and 'exec'",
                "leave one of them out, or make two invariants of it",
            );
            read_exec(exec, &at.key("exec"), limits, d);
            Question::Http(read_http(http, &at.key("http"), d))
        }
        // What is there and wrong has been told.
        (None, None) if d.has(&at.key("http")) || d.has(&at.key("exec")) => Question::Http(nothing()),
        (None, None) => {
            let example = "for example: http = { url = \"/api/kernels\" }, or exec = { on = { node = \"leader\" }, command = [\"true\"] }";
            d.at(&at.key("name"), format!("the invariant '{}' asks nothing", keys.name.0), example);
            Question::Http(nothing())
        }
    }
}

fn read_http(keys: &HttpKeys, at: &Place, d: &mut Diagnosis<'_>) -> Http {
    read_pattern(keys.body.as_deref(), "body", at, d);
    let url = &keys.url;
    if !url.starts_with('/') && !is_loopback(url) {
        d.at(
            &at.key("url"),
            format!("'{url}' is neither a path nor on this machine's loopback"),
            "a path such as \"/api/kernels\" goes through the proxy; or http://127.0.0.1:PORT/…",
        );
    }
    Http { url: url.clone(), status: keys.status.unwrap_or(200), body: keys.body.clone() }
}

fn read_exec(keys: &ExecKeys, at: &Place, limits: &Limits, d: &mut Diagnosis<'_>) -> Exec {
    read_pattern(keys.output.as_deref(), "output", at, d);
    let words = || keys.command.iter().flatten();
    if keys.command.first().is_some_and(|word| word.as_ref().is_some_and(String::is_empty)) {
        d.at(&at.key("command").item(0), "the program has no name", "for example: command = [\"sh\", \"-c\", \"…\"]");
    }
    if let Some(bad) = keys.command.iter().position(|word| word.as_ref().is_some_and(|word| word.contains('\0'))) {
        d.at(&at.key("command").item(bad), "a command's word can't hold the character \\u0000", "leave it out");
    }
    let beside = at.key("on").key("same-host-as");
    if d.has(&beside) {
        d.at(&beside, "an invariant has no previous step", "name the host: { host = \"of-leader\" }, or { host = 2 }");
    }
    let on = read_target(&keys.on, &at.key("on"), limits, true, d);
    Exec {
        on: on.unwrap_or(Target::new(TargetClass::Node, Role::Any)),
        command: words().cloned().collect(),
        exit: keys.exit.unwrap_or(0),
        output: keys.output.clone(),
    }
}

fn read_pattern(pattern: Option<&str>, key: &str, at: &Place, d: &mut Diagnosis<'_>) {
    if let Some(Err(error)) = pattern.map(Regex::new) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        d.at(
            &at.key(key),
            format!("{key} is not a regular expression: {why}"),
            format!("for example: {key} = \"^\\\\[\"; a plain word is one too"),
        );
    }
}

/// Scenario files may come from anywhere: they ask nobody but this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

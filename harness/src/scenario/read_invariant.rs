//! The meaning of invariants of the user's own.

use regex::Regex;

use super::file::{HttpKeys, InvariantKeys};
use crate::document::diagnose::Diagnosis;
use crate::document::place::Place;
use crate::invariant::Name;
use crate::invariant::own::{Http, Own};

/// Between two answers no more time may pass than between two ticks with evidence.
const EVIDENCE_MS: u64 = 2_000;
const EVERY_MS: u64 = 500;
const WITHIN_MS: u64 = 1_000;

/// The invariant that these keys mean; `others` are those before it.
pub(super) fn read_invariant(keys: &InvariantKeys, at: &Place, others: &[Own], d: &mut Diagnosis<'_>) -> Own {
    let name = keys.name.0.as_str();
    let taken = Name::ALL.iter().map(|name| name.as_str()).chain(["all", "rejoin"]).any(|taken| taken == name);
    if taken {
        d.at(&at.key("name"), format!("'{name}' has a meaning already"), "give it a name of its own");
    } else if others.iter().any(|other| other.name.as_str() == name) {
        d.at(&at.key("name"), format!("there are two invariants called '{name}'"), "give each a name of its own");
    }
    let every_ms = keys.every.as_ref().map_or(EVERY_MS, |time| time.0);
    let within_ms = keys.within.as_ref().map_or(WITHIN_MS, |time| time.0);
    if every_ms + within_ms > EVIDENCE_MS {
        let key = if keys.every.is_some() { "every" } else { "within" };
        let message = "'every' and 'within' (500ms and 1s when left out) are more than 2s together";
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
        http: read_http(&keys.http, &at.key("http"), d),
    }
}

fn read_http(keys: &HttpKeys, at: &Place, d: &mut Diagnosis<'_>) -> Http {
    if let Some(Err(error)) = keys.body.as_deref().map(Regex::new) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        d.at(
            &at.key("body"),
            format!("body is not a regular expression: {why}"),
            "for example: body = \"^\\\\[\"; a plain word is one too",
        );
    }
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

/// Scenario files may come from anywhere: they ask nobody but this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

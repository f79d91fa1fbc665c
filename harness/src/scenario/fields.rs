//! Reading TOML tables key by key, so that every mistake knows its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnose::Diagnosis;
use super::duration;

/// A value with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A table whose keys are known, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a, 'i> {
    table: &'a DeTable<'i>,
    /// Where the table stands.
    pub at: Range<usize>,
    /// What it is, for messages.
    pub what: String,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// A table; keys that aren't allowed are mistakes.
    pub fn of(
        table: &'a DeTable<'i>,
        at: Range<usize>,
        what: impl Into<String>,
        allowed: &[&str],
        d: &mut Diagnosis<'_>,
    ) -> Self {
        let what = what.into();
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !allowed.contains(&name) {
                d.unknown(key.span(), &format!("key of {what}"), name, allowed);
            }
        }
        Self { table, at, what }
    }

    /// The table in a value; anything else is a mistake.
    pub fn in_value(
        value: &'a Value<'i>,
        what: impl Into<String>,
        allowed: &[&str],
        d: &mut Diagnosis<'_>,
    ) -> Option<Self> {
        let what = what.into();
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::of(table, value.span(), what, allowed, d)),
            other => {
                d.mistake(
                    value.span(),
                    format!("{what} must be a table, found {}", kind(other)),
                    format!("keys: {}", allowed.join(", ")),
                );
                None
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&'a Value<'i>> {
        self.table.get(key)
    }

    /// The first key and value; a table with exactly one key says what it is by that key.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Value<'i>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str, help: &str, d: &mut Diagnosis<'_>) -> Option<&'a Value<'i>> {
        let value = self.get(key);
        if value.is_none() {
            d.mistake(first_line(&self.at), format!("{} has no '{key}'", self.what), help.to_owned());
        }
        value
    }

    pub fn ms(&self, key: &str, d: &mut Diagnosis<'_>) -> Option<u64> {
        ms(self.get(key)?, key, d)
    }
}

/// A mark for a whole table covers its first character only: underlining a screenful helps nobody.
fn first_line(at: &Range<usize>) -> Range<usize> {
    at.start..at.start + 1
}

/// A text.
pub(super) fn text<'a>(value: &'a Value<'_>, what: &str, d: &mut Diagnosis<'_>) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        d.mistake(
            value.span(),
            format!("{what} must be a text, found {}", kind(value.get_ref())),
            format!("{what} = \"…\""),
        );
    }
    text
}

/// A time.
pub(super) fn ms(value: &Value<'_>, what: &str, d: &mut Diagnosis<'_>) -> Option<u64> {
    let Some(text) = value.get_ref().as_str() else {
        d.mistake(
            value.span(),
            format!("{what} must be a time, found {}", kind(value.get_ref())),
            format!("allowed: {}", duration::ALLOWED),
        );
        return None;
    };
    match duration::parse_ms(text) {
        // What lasts no time does nothing, and what must hold at once was never broken.
        Ok(0) => {
            d.mistake(
                value.span(),
                format!("{what} must be more than no time"),
                format!("allowed: {}", duration::ALLOWED),
            );
            None
        }
        Ok(ms) => Some(ms),
        Err(why) => {
            d.mistake(value.span(), format!("{what}: {why}"), format!("allowed: {}", duration::ALLOWED));
            None
        }
    }
}

/// A whole number between two bounds.
pub(super) fn number(value: &Value<'_>, what: &str, low: u64, high: u64, d: &mut Diagnosis<'_>) -> Option<u64> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            u64::from_str_radix(&digits, number.radix()).ok()
        }
        _ => None,
    };
    let found = number.filter(|number| (low..=high).contains(number));
    if found.is_none() {
        d.mistake(value.span(), format!("{what} must be a whole number from {low} to {high}"), None);
    }
    found
}

/// A list.
pub(super) fn list<'a, 'i>(value: &'a Value<'i>, what: &str, d: &mut Diagnosis<'_>) -> Option<Vec<&'a Value<'i>>> {
    match value.get_ref() {
        DeValue::Array(items) => Some(items.iter().collect()),
        other => {
            d.mistake(value.span(), format!("{what} must be a list, found {}", kind(other)), format!("{what} = [ … ]"));
            None
        }
    }
}

/// One of several names.
pub(super) fn choice<T: Copy>(
    value: &Value<'_>,
    what: &str,
    allowed: &[(&str, T)],
    d: &mut Diagnosis<'_>,
) -> Option<T> {
    let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
    let Some(found) = value.get_ref().as_str() else {
        d.mistake(
            value.span(),
            format!("{what} must be a name, found {}", kind(value.get_ref())),
            format!("allowed: {}", names.join(", ")),
        );
        return None;
    };
    let chosen = allowed.iter().find(|(name, _)| *name == found);
    if chosen.is_none() {
        d.unknown(value.span(), what, found, &names);
    }
    chosen.map(|(_, value)| *value)
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

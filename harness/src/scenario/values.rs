//! Values of scenario files that are texts of a form: times, names, shares.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::duration::{self, parse_ms, parse_range_ms};
use crate::document::grammar::{Format, LABEL};
use crate::fault::words::{FAULTS, PEERS, WHATS};
use crate::fault::{FaultKind, Peers};

/// The forms, as the schema names them.
pub const FORMATS: &[Format] = &[
    Format { name: "time", check: |text| time(text).map(drop), allowed: duration::ALLOWED },
    Format {
        name: "times",
        check: |text| times(text).map(drop),
        allowed: "a range of times such as \"2s..8s\", or one time",
    },
    LABEL,
    Format {
        name: "share",
        check: |text| share(text).map(drop),
        allowed: "a whole percentage from \"1%\" to \"100%\"",
    },
];

fn time(text: &str) -> Result<u64, String> {
    match parse_ms(text)? {
        // What lasts no time does nothing, and what must hold at once was never broken.
        0 => Err("it must be more than no time".to_owned()),
        ms => Ok(ms),
    }
}

fn times(text: &str) -> Result<(u64, u64), String> {
    match parse_range_ms(text)? {
        (0, _) => Err("there must be some time in between".to_owned()),
        range => Ok(range),
    }
}

fn share(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    number.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| format!("'{text}' is not a share"))
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal, $pattern:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(pub $inner);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let parse: fn(String) -> Result<$inner, String> = $parse;
                parse(text).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}

text_value!(
    /// A time in milliseconds, written as a whole number with a unit.
    Time(u64), "time", "^[0-9]+(ms|s|m|h)$", |text| time(&text)
);
text_value!(
    /// Both ends of a range of times in milliseconds.
    Times((u64, u64)), "times", r"^[0-9]+(ms|s|m|h)(\.\.[0-9]+(ms|s|m|h))?$", |text| times(&text)
);
text_value!(
    /// A name.
    Label(String), "label", "^[a-z]([a-z0-9-]*[a-z0-9])?$", |text| (LABEL.check)(&text).map(|()| text)
);
text_value!(
    /// A share in percent.
    Share(u8), "share", "^[0-9]+%$", |text| share(&text)
);

/// Words of a table as a schema: each with what it means.
pub fn words_schema<'a>(title: &str, words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Schema {
    let choices: Vec<_> =
        words.into_iter().map(|(word, about)| serde_json::json!({ "const": word, "description": about })).collect();
    json_schema!({ "type": "string", "title": title, "oneOf": choices })
}

macro_rules! word_value {
    ($(#[$doc:meta])* $name:ident($inner:ty), $title:literal, $rows:ident, $field:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(pub $inner);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let row = $rows.iter().find(|row| row.word == text);
                row.map(|row| Self(row.$field)).ok_or_else(|| format!("unknown {} '{text}'", $title))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                words_schema($title, $rows.iter().map(|row| (row.word, row.about)))
            }
        }
    };
}

word_value!(
    /// A kind of fault.
    FaultWord(FaultKind), "fault", FAULTS, kind
);
word_value!(
    /// Whom an isolated machine can't reach.
    PeersWord(Peers), "value of 'from'", PEERS, peers
);

word_value!(
    /// What a fault is about: that fault, with this.
    WhatWord(FaultKind), "value of 'what'", WHATS, kind
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_say_what_is_wrong() {
        assert_eq!(time("15s"), Ok(15_000));
        assert!(time("0s").is_err_and(|why| why.contains("no time")));
        assert_eq!(share("50%"), Ok(50));
        assert!(share("0%").is_err() && share("101%").is_err() && share("50").is_err());
        let label = LABEL.check;
        assert!(label("a-1").is_ok() && label("1a").is_err() && label("a-").is_err() && label("").is_err());
    }
}

//! Values of scenario files that are texts of a form: times, names, shares.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::duration::{self, parse_ms, parse_range_ms};
use crate::document::grammar::{Format, LABEL};
use stormbed::outpost::cut::Way;

use crate::fault::whats::WHATS;
use crate::fault::words::{FAULTS, PEERS, SPLITS, WAYS};
use crate::fault::{FaultKind, Peers, Split};

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
    Format { name: "rate", check: |text| rate(text).map(drop), allowed: RATES },
];

/// Rates that can be asked for, and that a link in user space keeps up with.
const RATES: &str = "a whole number from 64kbit to 1000mbit, such as \"8mbit\"";

fn rate(text: &str) -> Result<u32, String> {
    let units = [("kbit", 1), ("mbit", 1_000)];
    let read = units.iter().find_map(|(unit, kbit)| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(*kbit));
    read.filter(|kbit| (64..=1_000_000).contains(kbit)).ok_or_else(|| format!("'{text}' is not such a rate"))
}

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

text_value!(
    /// A rate in kilobits per second.
    Rate(u32), "rate", "^[0-9]+(kbit|mbit)$", |text| rate(&text)
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
    /// Which packets are dropped.
    WayWord(Way), "value of 'way'", WAYS, way
);
word_value!(
    /// Who doesn't reach whom in a partition.
    SplitWord(Split), "value of 'shape'", SPLITS, split
);

word_value!(
    /// What a fault is about: that fault, with this.
    WhatWord(FaultKind), "value of 'what'", WHATS, kind
);

/// One kind of peer, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum FromKeys {
    /// One.
    One(PeersWord),
    /// Several.
    Several(Vec<Option<PeersWord>>),
}

impl JsonSchema for FromKeys {
    fn schema_name() -> Cow<'static, str> {
        "FromKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = generator.subschema_for::<PeersWord>();
        let several = serde_json::json!({
            "type": "array", "title": "a list of peers", "items": word, "minItems": 1, "uniqueItems": true,
            "examples": ["[\"masters\", \"zookeeper\"]"],
        });
        json_schema!({ "title": "value of 'from'", "anyOf": [word, several] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_say_what_is_wrong() {
        assert_eq!(time("15s"), Ok(15_000));
        assert!(time("0s").is_err_and(|why| why.contains("no time")));
        assert_eq!(share("50%"), Ok(50));
        assert!(share("0%").is_err() && share("101%").is_err() && share("50").is_err());
        assert_eq!((rate("8mbit"), rate("512kbit")), (Ok(8_000), Ok(512)));
        assert!(["63kbit", "8 mbit", "8mb", "5000000mbit"].iter().all(|text| rate(text).is_err()));
        let label = LABEL.check;
        assert!(label("a-1").is_ok() && label("1a").is_err() && label("a-").is_err() && label("").is_err());
    }
}

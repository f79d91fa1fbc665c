//! What Mesos's JSON reader lets pass, and how enums are written.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::Value;

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose<T> {
    Plain(T),
    Text(String),
}

/// A number or bool that may come as a string.
pub(super) fn loose<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + DeserializeOwned,
{
    match Loose::deserialize(deserializer)? {
        Loose::Plain(value) => Ok(value),
        Loose::Text(text) => {
            text.parse().map_err(|_| D::Error::custom(format!("'{text}' is neither a number nor a bool")))
        }
    }
}

/// The same for an optional field.
pub(super) fn loose_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + DeserializeOwned,
{
    loose(deserializer).map(Some)
}

/// Removes every member that is `null`: in Mesos's JSON that means "not set".
pub fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// An enum whose variants have names on the wire; names from a newer Mesos read as `Unrecognised`.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $wire:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $wire, "`")]
                #[serde(rename = $wire)]
                $variant,
            )*
            /// A name that this library doesn't know.
            #[serde(other)]
            Unrecognised,
        }

        impl $name {
            /// The name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                    Self::Unrecognised => "UNRECOGNISED",
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use wire_enum;

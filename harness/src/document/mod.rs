//! Reading the TOML files that people write: scenarios and configurations.
//!
//! The types of a file are its only description. [`schemars`] makes a JSON Schema of them ([`grammar::Grammar`]); the same schema
//! is printed by `stormbed schema`, checks the file (`check`) and names what is allowed. So a key, a word or a bound that is
//! added to a type is known everywhere at once.
//!
//! ```text
//! text ─► TOML with places ─► check against the schema ─► what is right of it ─► the type ─► what only its meaning tells
//!              └──────────────── mistakes, each with file, line and column, all at once ◄──────────────┘
//! ```

mod check;
pub mod diagnose;
pub mod grammar;
pub mod place;

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod document_tests;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::DeTable;

use diagnose::{Diagnosis, Mistakes};
use grammar::Grammar;

/// The longest file that is read. The shipped ones have less than a kilobyte.
pub const BYTES_MAX: usize = 128 * 1024;

/// Reads a file's text, if it is one that can be read at all.
///
/// # Errors
/// What to tell the user: the file, what is wrong with it, what to do.
pub fn text_of(path: &Path, kind: &str) -> Result<String, String> {
    let name = path.display();
    let refused = |why: String| format!("{name}: {why}");
    let meta = std::fs::metadata(path).map_err(|error| refused(format!("{error}; give an existing {kind}")))?;
    if meta.is_dir() {
        return Err(refused(format!("it is a directory; give a {kind}, for example {name}/*.toml")));
    }
    if meta.len() > BYTES_MAX as u64 {
        return Err(refused(too_long(meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(format!("{error}; give a {kind} that you may read")))?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        refused(format!("line {line} is not UTF-8 text; give a {kind}"))
    })
}

fn too_long(bytes: u64) -> String {
    format!("it has {bytes} bytes; expected at most {BYTES_MAX}: is it the file you mean?")
}

/// Reads a document in two passes: its structure by the grammar, and its meaning by `mean`, which gets what is right of the
/// structure and may find more mistakes. The value comes only if there are none.
/// In lists, what is wrong is null, so that everything else keeps its place.
///
/// # Errors
/// All mistakes of the file, in its order.
pub fn read<T>(
    file: &str,
    text: &str,
    kind: &'static str,
    grammar: &Grammar,
    mean: impl FnOnce(Value, &mut Diagnosis<'_>) -> Option<T>,
) -> Result<(T, Vec<diagnose::Mistake>), Mistakes> {
    let mut d = Diagnosis::of(file, text, kind);
    if text.len() > BYTES_MAX {
        d.mistake(0..1, too_long(text.len() as u64), None);
        return d.finish(None);
    }
    if let Some(at) = place::too_deep(text) {
        d.mistake(
            at..at + 1,
            "this is nested too deeply",
            "close a bracket before here, or use shorter keys".to_owned(),
        );
        return d.finish(None);
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        d.not_toml(&error);
    }
    if !d.clean() {
        return d.finish(None);
    }
    let right = grammar.check(&root, &mut d);
    d.places = Some(&root);
    let value = mean(right, &mut d);
    d.finish(value)
}

/// What is right of a structure as its type; a difference between type and schema is our own mistake, and is told as one.
pub fn typed<T: DeserializeOwned>(right: Value, place: &place::Place, d: &mut Diagnosis<'_>) -> Option<T> {
    match serde_json::from_value(right) {
        Ok(value) => Some(value),
        // Where something was left out because of a mistake, that mistake has been told.
        Err(_) if !d.clean() => None,
        Err(error) => {
            d.at(
                place,
                format!("this can't be read: {error}"),
                "this is a mistake of stormbed itself: please report it".to_owned(),
            );
            None
        }
    }
}

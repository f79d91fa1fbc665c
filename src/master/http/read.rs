//! From a body to a call, with Mesos's words for what doesn't fit.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::super::core::Refusal;
use crate::mesos::types::strip_nulls;

/// Reads a body as JSON that fits `T`.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut value = parse(body).map_err(|why| Refusal::new(400, format!("Failed to parse body into JSON: {why}")))?;
    let unfit =
        |why: &dyn std::fmt::Display| Refusal::new(400, format!("Failed to convert JSON into Call protobuf: {why}"));
    if !value.is_object() {
        return Err(unfit(&"Expecting a JSON object"));
    }
    strip_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| unfit(&error))
}

fn parse(body: &[u8]) -> Result<Value, String> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(syntax_error(body, &error)),
        None => return Err("syntax error at line 1 near: ".to_owned()),
    };
    let rest = String::from_utf8_lossy(&body[values.byte_offset()..]).into_owned();
    if rest.trim().is_empty() {
        Ok(value)
    } else {
        Err(format!("Parsed JSON included non-whitespace trailing characters: {rest}"))
    }
}

/// The place, and the rest of its line from there.
fn syntax_error(body: &[u8], error: &serde_json::Error) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let near = match error.classify() {
        Category::Eof => "",
        _ => line.get(error.column().saturating_sub(1)..).unwrap_or_default(),
    };
    format!("syntax error at line {} near: {near}", error.line().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies of the recording `transport-bad-json` and what Mesos said.
    #[test]
    fn the_parser_speaks_as_recorded() {
        for (body, said) in [
            ("", "syntax error at line 1 near: "),
            (" ", "syntax error at line 1 near: "),
            ("{", "syntax error at line 1 near: "),
            ("}", "syntax error at line 1 near: }"),
            ("nonsense", "syntax error at line 1 near: onsense"),
            ("{\"type\":}", "syntax error at line 1 near: }"),
            ("{\"type\":\"SUBSCRIBE\"", "syntax error at line 1 near: "),
            ("{\"type\":\"SUBSCRIBE\"}{}", "Parsed JSON included non-whitespace trailing characters: {}"),
            ("{'type':'SUBSCRIBE'}", "syntax error at line 1 near: 'type':'SUBSCRIBE'}"),
            ("{\"type\":\"SUBSCRIBE\",}", "syntax error at line 1 near: }"),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(said.to_owned()), "{body}");
        }
    }
}

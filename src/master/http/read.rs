//! From a body to a call, with Mesos's words for what doesn't fit.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::super::core::Refusal;
use super::convert::convert;

/// Reads a body as a message of the v1 API: `name` as in `messages.txt`.
pub(super) fn read_message<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, Refusal> {
    let message = convert(name, json(body)?).map_err(unfit)?;
    serde_json::from_value(message).map_err(unfit)
}

/// Reads a body as JSON that fits `T`, for what isn't of Mesos's API.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_value(json(body)?).map_err(unfit)
}

fn json(body: &[u8]) -> Result<Value, Refusal> {
    parse(&String::from_utf8_lossy(body))
        .map_err(|why| Refusal::new(400, format!("Failed to parse body into JSON: {why}")))
}

fn unfit(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, format!("Failed to convert JSON into Call protobuf: {why}"))
}

/// Reads JSON; what is wrong with it is told in the words of Mesos's parser.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(syntax_error(text, &error)),
        None => return Err("syntax error at line 1 near: ".to_owned()),
    };
    let rest = &text[values.byte_offset()..];
    if rest.trim().is_empty() {
        return Ok(value);
    }
    // Behind a number the parser has read on by one.
    let rest = if value.is_number() { rest.get(1..).unwrap_or_default() } else { rest };
    Err(format!("Parsed JSON included non-whitespace trailing characters: {rest}"))
}

/// The place, and the rest of its line from there.
fn syntax_error(text: &str, error: &serde_json::Error) -> String {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let escape = line.get(..error.column()).and_then(|before| before.rfind("\\u"));
    let near = match (error.classify(), escape) {
        (Category::Eof, _) => "",
        // The first character that is no digit of the escape, not the last.
        (_, Some(escape)) if error.to_string().starts_with("invalid escape") => {
            line[escape + 2..].trim_start_matches(|c: char| c.is_ascii_hexdigit())
        }
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
            ("{\"type\":\"a\\u00zz\"}", "syntax error at line 1 near: zz\"}"),
            ("0,5", "Parsed JSON included non-whitespace trailing characters: 5"),
        ] {
            assert_eq!(parse(body), Err(said.to_owned()), "{body}");
        }
    }
}

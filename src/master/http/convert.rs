//! From JSON to a message of the v1 API, as Mesos's own converter does it: what it lets pass is made regular, and what it
//! doesn't is refused in its words. What the messages are made of stands in `messages.txt`.
//!
//! Lenient: unknown fields and nulls count as absent, as do unknown names in optional enums; numbers and booleans may come as
//! text; a single thing stands for a list of one. Fields are looked at in alphabetical order, the first that doesn't fit is
//! named; what is missing is listed all together.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::read::parse;

/// A message's fields, in the order of their numbers.
type Message = Vec<Field>;

#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    rule: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Optional,
    Required,
    Repeated,
}

#[derive(Debug)]
enum Kind {
    Text,
    Bytes,
    Bool,
    Number,
    Enum(Vec<&'static str>),
    Message(&'static str),
    Any,
}

static MESSAGES: LazyLock<BTreeMap<&'static str, Message>> = LazyLock::new(|| {
    let lines = include_str!("messages.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(message).collect()
});

fn message(line: &'static str) -> (&'static str, Message) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    (name, words.map(field).collect())
}

fn field(word: &'static str) -> Field {
    let (name, kind) = word.split_once(':').unwrap_or((word, "any"));
    let (kind, rule) = match (kind.strip_suffix('!'), kind.strip_suffix('*')) {
        (Some(kind), _) => (kind, Rule::Required),
        (_, Some(kind)) => (kind, Rule::Repeated),
        _ => (kind, Rule::Optional),
    };
    let values = kind.strip_prefix("enum(").and_then(|values| values.strip_suffix(')'));
    let kind = match (kind, values) {
        (_, Some(values)) => Kind::Enum(values.split(',').collect()),
        ("string", _) => Kind::Text,
        ("bytes", _) => Kind::Bytes,
        ("bool", _) => Kind::Bool,
        ("number", _) => Kind::Number,
        ("any", _) => Kind::Any,
        (message, _) => Kind::Message(message),
    };
    Field { name, kind, rule }
}

/// Makes JSON regular, as a message of this name.
///
/// # Errors
/// In Mesos's words.
pub(super) fn convert(name: &str, value: Value) -> Result<Value, String> {
    let Value::Object(map) = value else {
        return Err("Expecting a JSON object".to_owned());
    };
    let map = object(name, map)?;
    let mut missing = Vec::new();
    list_missing(name, &map, "", &mut missing);
    if missing.is_empty() { Ok(map.into()) } else { Err(format!("Missing required fields: {}", missing.join(", "))) }
}

fn fields(name: &str) -> &'static [Field] {
    MESSAGES.get(name).map_or(&[], Vec::as_slice)
}

fn object(name: &str, map: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut regular = Map::new();
    for (key, value) in map {
        let field = fields(name).iter().find(|field| field.name == key);
        let (Some(field), false) = (field, value.is_null()) else {
            continue;
        };
        if let Some(value) = field.value(value)? {
            regular.insert(key, value);
        }
    }
    Ok(regular)
}

impl Field {
    /// The regular form; none if the field counts as absent.
    fn value(&self, value: Value) -> Result<Option<Value>, String> {
        match (self.rule, value) {
            (Rule::Repeated, Value::Array(items)) => {
                let items: Result<Vec<_>, _> = items.into_iter().map(|item| self.one(item)).collect();
                Ok(Some(items?.into_iter().flatten().collect()))
            }
            (Rule::Repeated, value) => Ok(self.one(value)?.map(|one| Value::Array(vec![one]))),
            (_, value) => self.one(value),
        }
    }

    fn one(&self, value: Value) -> Result<Option<Value>, String> {
        let name = self.name;
        match (&self.kind, value) {
            (Kind::Any, value) => Ok(Some(value)),
            (Kind::Message(message), Value::Object(map)) => Ok(Some(object(message, map)?.into())),
            (Kind::Enum(values), Value::String(text)) => match (values.contains(&text.as_str()), self.rule) {
                (true, _) => Ok(Some(text.into())),
                (false, Rule::Required) => Err(format!("Failed to find enum for '{text}' of field '{name}'")),
                (false, _) => Ok(None),
            },
            (Kind::Text, value @ Value::String(_)) => Ok(Some(value)),
            (Kind::Bytes, Value::String(text)) => match text.chars().find(|c| !is_base64(*c)) {
                Some(bad) => Err(format!("Failed to base64 decode bytes field '{name}': Invalid character '{bad}'")),
                None if BASE64_STANDARD.decode(&text).is_err() => {
                    Err(format!("Failed to base64 decode bytes field '{name}': Invalid length"))
                }
                None => Ok(Some(text.into())),
            },
            (Kind::Bool, value @ Value::Bool(_)) | (Kind::Number, value @ Value::Number(_)) => Ok(Some(value)),
            (Kind::Bool, Value::String(text)) => self.read_text(&text, "boolean").map(Some),
            (Kind::Number, Value::String(text)) => self.read_text(&text, "number").map(Some),
            (_, value) => Err(format!("Not expecting a JSON {} for field '{name}'", word(&value))),
        }
    }

    /// A number or boolean that came as text.
    fn read_text(&self, text: &str, wanted: &str) -> Result<Value, String> {
        if wanted == "number" && matches!(text, "Infinity" | "-Infinity") {
            // JSON has no such number; the text is understood further on.
            return Ok(text.into());
        }
        let parsed = match text {
            // The parser sees at once that this is no word of its own.
            "NaN" => Err("syntax error at line 1 near: NaN".to_owned()),
            _ => parse(text),
        };
        let why = match parsed {
            Ok(value) if word(&value) == wanted => return Ok(value),
            Ok(_) => "Unexpected JSON type parsed".to_owned(),
            Err(why) => why,
        };
        Err(format!("Failed to parse '{text}' as a JSON {wanted} for field '{}': {why}", self.name))
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// What Mesos calls a kind of JSON.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Required fields that aren't there: a message's own first, then those of its parts.
fn list_missing(name: &str, map: &Map<String, Value>, path: &str, missing: &mut Vec<String>) {
    let absent = fields(name).iter().filter(|field| field.rule == Rule::Required && !map.contains_key(field.name));
    missing.extend(absent.map(|field| format!("{path}{}", field.name)));
    for field in fields(name) {
        let (Kind::Message(message), Some(value)) = (&field.kind, map.get(field.name)) else {
            continue;
        };
        match value {
            Value::Object(part) => list_missing(message, part, &format!("{path}{}.", field.name), missing),
            Value::Array(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    if let Value::Object(part) = part {
                        list_missing(message, part, &format!("{path}{}[{index}].", field.name), missing);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_whole() {
        for (name, fields) in MESSAGES.iter() {
            for field in fields {
                if let Kind::Message(part) = field.kind {
                    assert!(MESSAGES.contains_key(part), "{name}.{} is a {part}, which isn't there", field.name);
                }
            }
        }
    }

    /// As in the recording `transport-json-conversion-errors`.
    #[test]
    fn what_does_not_fit_is_refused_in_mesoss_words() {
        let framework = |more: Value| {
            let mut info = json!({"user": "root", "name": "x"});
            info.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
            json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
        };
        let task = |more: Value| {
            let mut task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "a"}});
            task.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
            json!({"accept": {"operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]}})
        };
        for (call, why) in [
            (json!({"type": 3}), "Not expecting a JSON number for field 'type'"),
            (json!({"subscribe": []}), "Not expecting a JSON array for field 'subscribe'"),
            (json!({"subscribe": {}}), "Missing required fields: subscribe.framework_info"),
            (framework(json!({"user": null})), "Missing required fields: subscribe.framework_info.user"),
            (
                framework(json!({"failover_timeout": "abc"})),
                "Failed to parse 'abc' as a JSON number for field 'failover_timeout': syntax error at line 1 near: abc",
            ),
            (
                framework(json!({"failover_timeout": "NaN"})),
                "Failed to parse 'NaN' as a JSON number for field 'failover_timeout': syntax error at line 1 near: NaN",
            ),
            (framework(json!({"checkpoint": 1})), "Not expecting a JSON number for field 'checkpoint'"),
            (framework(json!({"roles": [1]})), "Not expecting a JSON number for field 'roles'"),
            (
                framework(json!({"labels": {"labels": [{"value": "no key"}]}})),
                "Missing required fields: subscribe.framework_info.labels.labels[0].key",
            ),
            (
                json!({"acknowledge": {"agent_id": {"value": "a"}}}),
                "Missing required fields: acknowledge.task_id, acknowledge.uuid",
            ),
            (
                json!({"acknowledge": {"uuid": "***"}}),
                "Failed to base64 decode bytes field 'uuid': Invalid character '*'",
            ),
            (
                task(json!({"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": "0,5"}}]})),
                "Failed to parse '0,5' as a JSON number for field 'value': Parsed JSON included non-whitespace trailing \
                 characters: 5",
            ),
            (
                task(json!({"resources": [{"name": "cpus", "scalar": {"value": 1}}]})),
                "Missing required fields: accept.operations[0].launch.task_infos[0].resources[0].type",
            ),
        ] {
            assert_eq!(convert("scheduler.Call", call.clone()), Err(why.to_owned()), "{call}");
        }
        assert_eq!(convert("scheduler.Call", json!([])), Err("Expecting a JSON object".to_owned()));
    }

    /// As in the recording `transport-json-leniency`.
    #[test]
    fn what_fits_somehow_is_made_regular() {
        let call = json!({
            "type": "subscribe", "bogus": true, "framework_id": null,
            "subscribe": {"framework_info": {
                "user": "root", "name": "x", "roles": "demo", "failover_timeout": "30.5", "checkpoint": "true",
                "capabilities": [{"type": "MULTI_ROLE"}, {"type": "NOT_YET_INVENTED"}], "labels": {"labels": {"key": "k"}},
            }},
        });
        let regular = json!({
            "subscribe": {"framework_info": {
                "user": "root", "name": "x", "roles": ["demo"], "failover_timeout": 30.5, "checkpoint": true,
                "capabilities": [{"type": "MULTI_ROLE"}, {}], "labels": {"labels": [{"key": "k"}]},
            }},
        });
        assert_eq!(convert("scheduler.Call", call), Ok(regular));
    }
}

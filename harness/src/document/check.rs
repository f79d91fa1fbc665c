//! Checks a document against its grammar: the part of JSON Schema that [`schemars`] makes of our types.
//!
//! Whatever is wrong is left out of the result, so that everything else can be looked at too.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnose::{Diagnosis, short};
use super::grammar::{Grammar, words};

/// A value with its place.
type Placed<'i> = Spanned<DeValue<'i>>;

impl Grammar {
    /// What is right of the document, even if something that is needed is missing.
    pub(super) fn check(&self, root: &Spanned<DeTable<'_>>, d: &mut Diagnosis<'_>) -> Value {
        self.table(self.schema(), root.get_ref(), root.span(), "this", d).1
    }

    /// `what` names the value in messages: a key, or what its list holds.
    fn value(&self, schema: &Value, value: &Placed<'_>, what: &str, d: &mut Diagnosis<'_>) -> Option<Value> {
        let schema = self.resolve(schema);
        let found = kind_of(value.get_ref());
        if words(schema).is_none()
            && let Some(choices) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())
        {
            return self.one_of(schema, choices, value, what, d);
        }
        let wanted = type_of(schema);
        let whole = found == "integer" && wanted == Some("number");
        if wanted.is_some_and(|wanted| wanted != found) && !whole {
            let wanted = name_of(schema);
            let help = self.help(schema, what);
            d.mistake(value.span(), format!("{what} must be {wanted}, found {}", kind(value.get_ref())), help);
            return None;
        }
        match value.get_ref() {
            DeValue::String(text) => self.text(schema, text, value.span(), what, d),
            DeValue::Integer(_) | DeValue::Float(_) => number(schema, value, what, d),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Array(items) => self.list(schema, items, value.span(), what, d),
            DeValue::Table(table) => match self.table(schema, table, value.span(), what, d) {
                (true, right) => Some(right),
                (false, _) => None,
            },
            DeValue::Datetime(_) => None,
        }
    }

    /// One of several shapes: the only one that fits the value's type, or the table whose own key is there.
    fn one_of(
        &self,
        schema: &Value,
        choices: &[Value],
        value: &Placed<'_>,
        what: &str,
        d: &mut Diagnosis<'_>,
    ) -> Option<Value> {
        let found = kind_of(value.get_ref());
        let of_type = |choice: &&Value| type_of(self.resolve(choice)) == Some(found);
        let fitting: Vec<&Value> = choices.iter().filter(of_type).collect();
        match (fitting.as_slice(), value.get_ref()) {
            ([], other) => {
                let names: Vec<String> = choices.iter().map(|choice| name_of(self.resolve(choice))).collect();
                let help = self.help(schema, what);
                let names = names.join(" or ");
                d.mistake(value.span(), format!("{what} must be {names}, found {}", kind(other)), help);
                None
            }
            ([only], _) => self.value(only, value, what, d),
            (several, DeValue::Table(table)) => {
                let chosen = self.shape(schema, several, table, value.span(), d)?;
                self.value(chosen, value, what, d)
            }
            (several, _) => self.value(several.first()?, value, what, d),
        }
    }

    /// The shape of a table that is told by one key of several.
    fn shape<'s>(
        &self,
        schema: &Value,
        shapes: &[&'s Value],
        table: &DeTable<'_>,
        at: Range<usize>,
        d: &mut Diagnosis<'_>,
    ) -> Option<&'s Value> {
        let required = |shape: &Value, key: &str| strings(&self.resolve(shape)["required"]).any(|needed| needed == key);
        let knows = |shape: &Value, key: &str| self.resolve(shape)["properties"].get(key).is_some();
        let keys: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
        let mut all: Vec<&str> = vec![];
        for shape in shapes {
            all.extend(
                self.resolve(shape)["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()),
            );
        }
        let known: Vec<&str> = keys.iter().copied().filter(|key| all.contains(key)).collect();
        let begun: Vec<&&Value> = shapes.iter().filter(|shape| known.iter().any(|key| required(shape, key))).collect();
        let whole: Vec<&&Value> =
            begun.iter().copied().filter(|shape| known.iter().all(|key| knows(shape, key))).collect();
        if let [only] | [only, ..] = whole.as_slice() {
            return Some(only);
        }
        if let [only] = begun.as_slice() {
            return Some(only);
        }
        let title = schema["title"].as_str().unwrap_or("this");
        let mut heads: Vec<&str> =
            shapes.iter().filter_map(|shape| strings(&self.resolve(shape)["required"]).next()).collect();
        heads.dedup();
        all.sort_unstable();
        all.dedup();
        let strangers: Vec<_> = table.keys().filter(|key| !all.contains(&key.get_ref().as_ref())).collect();
        for key in &strangers {
            d.unknown(key.span(), &format!("key of {title}"), key.get_ref(), &all);
        }
        if strangers.is_empty() {
            let message = if begun.is_empty() {
                format!("{title} needs one of: {}", heads.join(", "))
            } else {
                format!("{title} has only one of: {}", heads.join(", "))
            };
            d.mistake(at.start..at.start + 1, message, example(schema, None));
        }
        None
    }

    fn text(&self, schema: &Value, text: &str, at: Range<usize>, what: &str, d: &mut Diagnosis<'_>) -> Option<Value> {
        if let Some(words) = words(schema) {
            if !words.contains(&text) {
                d.unknown(at, schema["title"].as_str().unwrap_or(what), text, &words);
                return None;
            }
        } else if let Some(format) = schema["format"].as_str().and_then(|name| self.format(name))
            && let Err(why) = (format.check)(text)
        {
            d.mistake(at, format!("{what}: {why}"), format!("allowed: {}", format.allowed));
            return None;
        }
        let length = text.chars().count() as u64;
        if schema["maxLength"].as_u64().is_some_and(|most| length > most)
            || schema["minLength"].as_u64().is_some_and(|least| length < least)
        {
            let (least, most) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64());
            let most = most.map_or(String::new(), |most| format!(" to {most}"));
            d.mistake(at, format!("{what} has {length} characters; expected {least}{most}"), None);
            return None;
        }
        Some(Value::String(text.to_owned()))
    }

    fn list(
        &self,
        schema: &Value,
        items: &toml::de::DeArray<'_>,
        at: Range<usize>,
        what: &str,
        d: &mut Diagnosis<'_>,
    ) -> Option<Value> {
        let of = self.resolve(&schema["items"]);
        let item_name = of["title"].as_str().unwrap_or(what).to_owned();
        let mut right = vec![];
        let mut seen: Vec<&str> = vec![];
        for item in items {
            if let (true, Some(text)) = (schema["uniqueItems"] == true, item.get_ref().as_str()) {
                if seen.contains(&text) {
                    let help = "name it once".to_owned();
                    d.mistake(item.span(), format!("{what} names '{}' twice", short(text)), help);
                    continue;
                }
                seen.push(text);
            }
            // What is wrong keeps its place, so that the others keep theirs.
            right.push(self.value(of, item, &item_name, d).unwrap_or(Value::Null));
        }
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
        let count = items.len() as u64;
        if count < least {
            let message =
                if count == 0 { format!("{what} is an empty list") } else { format!("{what} has only {count} items") };
            d.mistake(at, message, example(schema, Some(what)).or(Some(format!("at least {least}"))));
        } else if count > most {
            d.mistake(at, format!("{what} has {count} items"), format!("at most {most}"));
        }
        Some(Value::Array(right))
    }

    /// What is right of a table, and whether everything that it needs is.
    fn table(
        &self,
        schema: &Value,
        table: &DeTable<'_>,
        at: Range<usize>,
        what: &str,
        d: &mut Diagnosis<'_>,
    ) -> (bool, Value) {
        let title = schema["title"].as_str().unwrap_or(what);
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let allowed = keys_in_order(properties, schema);
        let more = &schema["additionalProperties"];
        let mut right = Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let inner = match properties.get(name) {
                Some(inner) => inner,
                None if more.is_object() => more,
                None => {
                    d.unknown(key.span(), &format!("key of {title}"), name, &allowed);
                    continue;
                }
            };
            if let Some(value) = self.value(inner, value, name, d) {
                right.insert(name.to_owned(), value);
            }
        }
        let first = at.start..at.start + 1;
        if table.is_empty() && schema["minProperties"].as_u64().is_some_and(|least| least > 0) {
            d.mistake(
                at,
                format!("{what} is empty, and says nothing"),
                format!("leave it out, or name: {}", allowed.join(", ")),
            );
        }
        let mut whole = true;
        for key in strings(&schema["required"]) {
            whole &= right.contains_key(key);
            if !table.contains_key(key) {
                let help =
                    example(self.resolve(&properties[key]), Some(key)).or_else(|| example(&properties[key], Some(key)));
                d.mistake(first.clone(), format!("{title} has no '{key}'"), help);
            }
        }
        (whole, Value::Object(right))
    }

    /// What is allowed instead.
    fn help(&self, schema: &Value, what: &str) -> Option<String> {
        if let Some(words) = words(schema) {
            return Some(format!("allowed: {}", words.join(", ")));
        }
        let format = schema["format"].as_str().and_then(|name| self.format(name));
        format.map(|format| format!("allowed: {}", format.allowed)).or_else(|| example(schema, Some(what)))
    }
}

/// Keys as a reader expects them: what is needed first.
fn keys_in_order<'s>(properties: &'s Map<String, Value>, schema: &'s Value) -> Vec<&'s str> {
    let mut keys: Vec<&str> = strings(&schema["required"]).collect();
    let mut others: Vec<&str> = properties.keys().map(String::as_str).filter(|key| !keys.contains(key)).collect();
    others.sort_unstable();
    keys.extend(others);
    keys
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The schema's first example, as TOML: whole lines as they are, values behind their key.
fn example(schema: &Value, key: Option<&str>) -> Option<String> {
    let example = schema["examples"].as_array()?.first()?;
    Some(match (key, example) {
        (Some(key), Value::String(text)) if text.starts_with(['{', '[']) && !text.starts_with("[[") => {
            format!("for example: {key} = {text}")
        }
        (_, Value::String(text)) if text.contains(" = ") => format!("for example: {text}"),
        (Some(key), example) => format!("for example: {key} = {example}"),
        (None, example) => format!("for example: {example}"),
    })
}

fn number(schema: &Value, value: &Placed<'_>, what: &str, d: &mut Diagnosis<'_>) -> Option<Value> {
    let whole = type_of(schema) == Some("integer");
    let read = match value.get_ref() {
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).ok().map(Number::from)
        }
        DeValue::Float(number) => number.as_str().replace('_', "").parse().ok().and_then(Number::from_f64),
        _ => None,
    };
    let bound = |key: &str| schema[key].as_f64();
    let in_bounds = read.as_ref().and_then(Number::as_f64).is_some_and(|number| {
        bound("minimum").is_none_or(|least| number >= least)
            && bound("maximum").is_none_or(|most| number <= most)
            && bound("exclusiveMinimum").is_none_or(|least| number > least)
    });
    if let (true, Some(number)) = (in_bounds, read) {
        return Some(Value::Number(number));
    }
    let name = if whole { "a whole number" } else { "a number" };
    let range = match (bound("minimum"), bound("maximum"), bound("exclusiveMinimum")) {
        (Some(least), Some(most), _) => format!(" from {least} to {most}"),
        (Some(least), None, _) => format!(" of at least {least}"),
        (_, Some(most), Some(least)) => format!(" above {least}, at most {most}"),
        (_, None, Some(least)) => format!(" above {least}"),
        (None, Some(most), None) => format!(" of at most {most}"),
        (None, None, None) => String::new(),
    };
    d.mistake(value.span(), format!("{what} must be {name}{range}"), None);
    None
}

/// What a schema wants, as JSON calls it.
fn type_of(schema: &Value) -> Option<&str> {
    if words(schema).is_some() {
        return Some("string");
    }
    schema["type"].as_str()
}

/// What a schema wants, for people.
fn name_of(schema: &Value) -> String {
    let name = match type_of(schema) {
        Some("string") if words(schema).is_some() => "a name",
        Some("string") => match schema["format"].as_str() {
            Some("time") => "a time",
            Some("times") => "a time or a range of times",
            _ => "a text",
        },
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a table",
        _ => "something else",
    };
    name.to_owned()
}

/// What a value is, as JSON calls it.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
        DeValue::Datetime(_) => "date",
    }
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
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

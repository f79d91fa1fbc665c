//! What a file may say: a JSON Schema, made from a type.

use std::sync::Arc;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value};

/// What the texts of a `format` must be, beyond a JSON Schema's own words.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// As the schema calls it.
    pub name: &'static str,
    /// What is wrong with a text, in a sentence.
    pub check: fn(&str) -> Result<(), String>,
    /// What is allowed.
    pub allowed: &'static str,
}

/// Longest name: file and host names are made of it.
const LABEL_MAX: usize = 40;
/// A name that can be part of file and host names.
pub const LABEL: Format = Format {
    name: "label",
    check: label,
    allowed: "up to 40 small letters, digits and inner dashes, a letter first: it becomes part of file and host names",
};

fn label(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.len() <= LABEL_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(inner)
        && !text.ends_with('-');
    if fits { Ok(()) } else { Err(format!("'{}' can't be a name", super::diagnose::short(text))) }
}

/// What a file may say.
#[derive(Debug, Clone)]
pub struct Grammar {
    root: Arc<Value>,
    formats: &'static [Format],
}

impl Grammar {
    /// The grammar of a type's file.
    #[must_use]
    pub fn of<T: JsonSchema>(formats: &'static [Format]) -> Self {
        let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
        let root = settings.into_generator().into_root_schema_for::<T>().to_value();
        Self { root: Arc::new(root), formats }
    }

    /// As a JSON Schema.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.root
    }

    /// The schema behind a reference.
    pub(super) fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        // Our types have no loop of references; a schema that had one would end here and allow everything.
        for _ in 0..16 {
            let Some(pointer) = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#')) else {
                break;
            };
            schema = self.root.pointer(pointer).unwrap_or(&Value::Null);
        }
        schema
    }

    pub(super) fn format(&self, name: &str) -> Option<&'static Format> {
        self.formats.iter().find(|format| format.name == name)
    }
}

/// TOML has no null: what may be absent is absent.
fn without_null(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.retain(|key, value| key != "default" || !value.is_null());
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            object.remove("anyOf");
            merge(object, only);
        }
    }
}

/// The outer description is about the key, the inner one about its type.
fn merge(outer: &mut Map<String, Value>, inner: Map<String, Value>) {
    for (key, value) in inner {
        outer.entry(key).or_insert(value);
    }
}

/// Words of an enumeration with what each means.
pub(super) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Value::as_str).collect();
    }
    if let Some(word) = schema["const"].as_str() {
        return Some(vec![word]);
    }
    let mut all = vec![];
    for choice in schema["oneOf"].as_array()? {
        all.extend(words(choice)?);
    }
    Some(all)
}

//! The schema and the reader say the same: an independent validator never refuses what the reader accepts.

use std::path::PathBuf;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

use super::file::GRAMMAR;
use super::read::read;
use crate::topology::{TopologyConfig, config};

fn validator() -> Validator {
    jsonschema::validator_for(GRAMMAR.schema()).expect("it is a schema")
}

/// A document as the validator takes it.
fn json(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).expect("the reader took it for TOML");
    serde_json::to_value(table).expect("a table is plain data")
}

fn shipped() -> Vec<(PathBuf, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let read = |folder: String| std::fs::read_dir(folder).expect("the folder is in the repository");
    let files = read(folder.to_owned()).chain(read(format!("{folder}/acceptance")));
    let paths = files.map(|file| file.expect("a readable folder").path());
    let toml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    toml.map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a readable file"))).collect()
}

#[test]
fn the_schema_takes_every_shipped_scenario_and_no_nonsense() {
    let validator = validator();
    let files = shipped();
    assert!(files.len() >= 15);
    for (path, text) in files {
        let errors: Vec<String> = validator.iter_errors(&json(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for wrong in [
        "name = 'x'",
        "name = 'x'\n[[step]]\nfault = 'puase'\ntarget = { node = 'leader' }",
        "name = 'x'\n[[step]]\nfault = 'kill'\ntarget = { node = 'lead' }",
        "name = 'x'\n[[step]]\nwatch = '5sec'",
        "name = 'x'\n[[step]]\nfault = 'kill'\ntarget = { node = 1, zookeeper = 'leader' }",
        "name = 'x'\n[[step]]\nfault = 'kill'\ntarget = { node = 1 }\nrecovered = {}",
    ] {
        assert!(!validator.is_valid(&json(wrong)), "{wrong}");
    }
}

#[test]
fn the_schema_of_configurations_takes_the_defaults() {
    let validator = jsonschema::validator_for(config::GRAMMAR.schema()).expect("it is a schema");
    let defaults = toml::to_string(&TopologyConfig::default()).expect("plain data");
    assert!(validator.is_valid(&json(&defaults)), "{defaults}");
    assert!(!validator.is_valid(&json("nodes = 0")));
}

#[test]
fn every_key_has_a_description() {
    for grammar in [&*GRAMMAR, &*config::GRAMMAR] {
        undescribed(grammar.schema(), "");
    }
}

fn undescribed(schema: &Value, way: &str) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        // What stands behind a reference or among words describes itself.
        let said = inner["description"].is_string() || inner["$ref"].is_string() || inner["oneOf"].is_array();
        assert!(said, "{way}.{key} has no description: {inner}");
    }
    for (key, inner) in schema["$defs"].as_object().into_iter().flatten() {
        undescribed(inner, key);
    }
}

/// Words that scenario files are made of, right and wrong ones.
fn word() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = vec![];
    for (_, text) in shipped() {
        let of_text = text.split(|c: char| c.is_whitespace() || ",[]{}".contains(c)).filter(|word| !word.is_empty());
        words.extend(of_text.map(str::to_owned));
    }
    words.extend(
        [
            "0",
            "-1",
            "1e9",
            "true",
            "\"any\"",
            "\"0s\"",
            "\"all\"",
            "count",
            "share",
            "\"50%\"",
            "same-host-as",
            "null",
            "5",
            "\"\"",
        ]
        .map(str::to_owned),
    );
    prop::sample::select(words)
}

/// A shipped file with some words changed, doubled or left out.
fn mutated() -> impl Strategy<Value = String> {
    let files: Vec<String> = shipped().into_iter().map(|(_, text)| text).collect();
    let change = (any::<prop::sample::Index>(), word(), 0..3u8);
    (prop::sample::select(files), prop::collection::vec(change, 1..4)).prop_map(|(text, changes)| {
        let mut parts: Vec<String> =
            text.split_inclusive([' ', ',', '[', ']', '{', '}', '\n']).map(str::to_owned).collect();
        for (at, word, how) in changes {
            let at = at.index(parts.len());
            let end =
                parts[at].chars().last().filter(|c| " ,[]{}\n".contains(*c)).map(String::from).unwrap_or_default();
            match how {
                0 => parts[at] = word + &end,
                1 => parts[at] = end,
                _ => parts.insert(at, word + &end),
            }
        }
        parts.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_schema_never_refuses_what_the_reader_accepts(text in mutated()) {
        if read("x.toml", &text, &TopologyConfig::default()).is_ok() {
            let errors: Vec<String> = validator().iter_errors(&json(&text)).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{text}\n{errors:?}");
        }
    }

    #[test]
    fn every_mistake_of_a_changed_file_has_a_place(text in mutated()) {
        if let Err(mistakes) = read("x.toml", &text, &TopologyConfig::default()) {
            prop_assert!(mistakes.count > 0 && !mistakes.mistakes.is_empty());
            for mistake in &mistakes.mistakes {
                prop_assert!(mistake.place.starts_with("x.toml:"), "{}", mistake.place);
                prop_assert!(!mistake.message.contains("mistake of stormbed"), "{text}\n{mistake}");
                prop_assert!(mistake.help.as_ref().is_none_or(|help| !help.contains("report it")), "{text}\n{mistake}");
            }
        }
    }
}

//! The documentation can't lie: its tables are those of the types, and every example in it is checked.
//!
//! `UPDATE_DOCS=1 cargo test -p stormbed-harness documentation` writes the tables anew.

use std::path::PathBuf;

use serde_json::Value;

use super::grammar::{Grammar, words};
use crate::fault::whats::WHATS;
use crate::fault::words::{CLASSES, FAULTS, Numbers, PEERS};
use crate::scenario::event::Event;
use crate::scenario::file::GRAMMAR as SCENARIO;
use crate::scenario::read::read;
use crate::topology::TopologyConfig;
use crate::topology::config::GRAMMAR as CONFIGURATION;

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).join(name)
}

fn doc(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("the documentation is in the repository")
}

/// Fenced blocks of TOML, with the line on which each begins.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut all = vec![];
    let mut open: Option<(usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        match &mut open {
            None if line == "```toml" => open = Some((number, String::new())),
            None => {}
            Some(_) if line == "```" => all.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    all
}

#[test]
fn every_example_of_the_documentation_is_a_good_scenario() {
    let text = doc("scenarios.md");
    let examples = examples(&text);
    assert!(examples.len() >= 15, "only {} examples", examples.len());
    for (line, example) in examples {
        let whole = if example.starts_with("name") { example } else { format!("name = \"example\"\n{example}") };
        let place = format!("docs/scenarios.md (the example below line {line})");
        let checked = read(&place, &whole, &TopologyConfig::default());
        let checked = checked.unwrap_or_else(|mistakes| panic!("{:?}", miette::Report::new(mistakes)));
        assert!(checked.warnings.is_empty(), "{place} is warned of: {:?}", checked.warnings);
    }
}

#[test]
fn every_configuration_of_the_documentation_is_good() {
    for name in ["configuration.md"] {
        for (line, example) in examples(&doc(name)) {
            let read = TopologyConfig::read(&format!("docs/{name}:{line}"), &example);
            read.unwrap_or_else(|mistakes| panic!("{:?}", miette::Report::new(mistakes)));
        }
    }
}

#[test]
fn the_tables_of_the_documentation_are_those_of_the_types() {
    for (name, grammar) in [("scenarios.md", &*SCENARIO), ("configuration.md", &*CONFIGURATION)] {
        let text = doc(name);
        let fresh = with_tables(&text, grammar);
        if text != fresh && std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path(name), &fresh).expect("the documentation can be written");
        } else {
            assert!(text == fresh, "docs/{name} isn't up to date; UPDATE_DOCS=1 cargo test documentation writes it");
        }
    }
}

/// The text with every marked table made anew.
fn with_tables(text: &str, grammar: &Grammar) -> String {
    let mut fresh = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line == "<!-- end -->" {
            skipping = false;
        }
        if !skipping {
            fresh.push_str(line);
            fresh.push('\n');
        }
        let Some(mark) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let table = match mark {
            "faults" => faults(),
            "targets" => targets(),
            "events" => events(),
            _ => match mark.strip_prefix("table: ") {
                Some(title) => keys(grammar, title),
                None => continue,
            },
        };
        skipping = true;
        fresh.push_str(&table);
    }
    fresh
}

fn faults() -> String {
    let mut table = "| fault | what it does | to |\n|---|---|---|\n".to_owned();
    for row in FAULTS {
        let on: Vec<String> = row.on.iter().map(|class| format!("`{class}`")).collect();
        table += &format!("| `{}` | {} | {} |\n", row.word, row.about, on.join(" "));
    }
    table += "\n| `from` | whom | of |\n|---|---|---|\n";
    for row in PEERS {
        let on: Vec<String> = row.on.iter().map(|class| format!("`{class}`")).collect();
        table += &format!("| `{}` | {} | {} |\n", row.word, row.about, on.join(" "));
    }
    table += "\n| `what` | of | meaning |\n|---|---|---|\n";
    for row in WHATS {
        table += &format!("| `{}` | `{}` | {} |\n", row.word, row.kind.row().word, row.about);
    }
    table
}

fn targets() -> String {
    let mut table = "| kind | what it is | whom |\n|---|---|---|\n".to_owned();
    for row in CLASSES {
        let roles: Vec<String> = row.roles.iter().map(|role| format!("`{}`", role.word)).collect();
        let number = match row.numbers {
            Numbers::None => "",
            Numbers::Slots => ", or a slot's number (from 0)",
            Numbers::Hosts => ", or a host's number (from 1)",
        };
        table += &format!("| `{}` | {} | {}{number} |\n", row.word, row.about, roles.join(" "));
    }
    table
}

fn events() -> String {
    let schema = schemars::schema_for!(Event).to_value();
    let mut table = "| event | what must be seen |\n|---|---|\n".to_owned();
    for word in schema["oneOf"].as_array().into_iter().flatten() {
        let about = word["description"].as_str().unwrap_or_default();
        table += &format!("| `{}` | {} |\n", word["const"].as_str().unwrap_or_default(), flat(about));
    }
    table
}

/// The keys of the table with this title.
fn keys(grammar: &Grammar, title: &str) -> String {
    let schema = titled(grammar.schema(), title).unwrap_or_else(|| panic!("no table is called '{title}'"));
    let properties = schema["properties"].as_object().expect("it has keys");
    let plain = |default: &Value| !(default.is_null() || default.is_object() || default.is_array());
    let defaults = properties.values().any(|inner| inner.get("default").is_some_and(plain));
    let mut table = if defaults {
        "| key | value | default | meaning |\n|---|---|---|---|\n".to_owned()
    } else {
        "| key | value | meaning |\n|---|---|---|\n".to_owned()
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, inner) in properties {
        let whole = grammar.resolve(inner);
        let about = inner["description"].as_str().or(whole["description"].as_str()).unwrap_or_default();
        let needed = if required.contains(&key.as_str()) { " (needed)" } else { "" };
        let default = match &inner["default"] {
            _ if !defaults => String::new(),
            Value::Null | Value::Object(_) | Value::Array(_) => "  |".to_owned(),
            default => format!(" `{default}` |"),
        };
        table += &format!("| `{key}`{needed} | {} |{default} {} |\n", value_of(grammar, whole), flat(about));
    }
    table
}

fn titled<'s>(schema: &'s Value, title: &str) -> Option<&'s Value> {
    let fits = |schema: &&Value| schema["title"] == title && schema["properties"].is_object();
    let mut all = schema["$defs"].as_object().into_iter().flatten().map(|(_, inner)| inner);
    Some(schema).filter(fits).or_else(|| all.find(fits))
}

/// What a key takes, in a few words.
fn value_of(grammar: &Grammar, schema: &Value) -> String {
    let schema = grammar.resolve(schema);
    if let Some(words) = words(schema) {
        return words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" ");
    }
    // One of something, or a list of that.
    if let Some([one, list]) = schema["anyOf"].as_array().map(Vec::as_slice)
        && list["type"] == "array"
    {
        return format!("{}, or a list of these", value_of(grammar, one));
    }
    let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (_, Some("time")) => "a time".to_owned(),
        (_, Some("times")) => "a time, or a range of times".to_owned(),
        (_, Some("label")) => "a name".to_owned(),
        (_, Some("share")) => "a share".to_owned(),
        (_, Some("rate")) => "a rate".to_owned(),
        (_, Some("cidr")) => "a network".to_owned(),
        (Some("string"), _) => "a text".to_owned(),
        (Some("boolean"), _) => "`true` or `false`".to_owned(),
        (Some("integer" | "number"), _) => match (least, most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (None, Some(most)) => format!("above 0, up to {most}"),
            _ => "a whole number".to_owned(),
        },
        (Some("array"), _) => "a list".to_owned(),
        _ => "a table".to_owned(),
    }
}

fn flat(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

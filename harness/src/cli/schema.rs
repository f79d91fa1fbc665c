//! `stormbed schema`

use crate::document::grammar::Grammar;
use crate::scenario::file::GRAMMAR as SCENARIO;
use crate::topology::config::GRAMMAR as CONFIGURATION;

/// Print the JSON Schema of a kind of file, for editors and other tools.
#[derive(Debug, clap::Args)]
pub struct Schema {
    /// Whose.
    #[arg(value_enum, default_value_t = Kind::Scenario)]
    kind: Kind,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// A scenario file.
    Scenario,
    /// A configuration file, for `--config`.
    Config,
}

impl Schema {
    pub(super) fn run(&self) -> u8 {
        let grammar: &Grammar = match self.kind {
            Kind::Scenario => &SCENARIO,
            Kind::Config => &CONFIGURATION,
        };
        println!("{}", serde_json::to_string_pretty(grammar.schema()).expect("a schema is plain data"));
        0
    }
}

//! `stormbed check`

use std::path::PathBuf;

use super::EXIT_USAGE;
use crate::scenario::read::read;
use crate::topology::TopologyError;

/// Check scenario files; start nothing.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Result<u8, TopologyError> {
        let mut code = 0;
        for file in &self.files {
            let name = file.display().to_string();
            match std::fs::read_to_string(file) {
                Err(error) => {
                    eprintln!("{name}: {error}; give an existing scenario file");
                    code = EXIT_USAGE;
                }
                Ok(text) => match read(&name, &text) {
                    Ok(scenario) => {
                        println!("{name}: {} ({} steps)", scenario.name, scenario.steps.len());
                    }
                    Err(mistakes) => {
                        eprintln!("{:?}", miette::Report::new(mistakes));
                        code = EXIT_USAGE;
                    }
                },
            }
        }
        Ok(code)
    }
}

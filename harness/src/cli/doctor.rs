//! `stormbed doctor`

use std::path::PathBuf;

use super::show::{Color, painted, print_json, print_lines};
use crate::doctor::{Check, State, look};
use crate::run::Home;
use crate::topology::{TopologyConfig, TopologyError};

/// Exit code of a machine that can't run a topology.
const EXIT_MISSING: u8 = 3;

/// Tell whether this machine can run topologies: what is there, what is missing, and what that costs.
///
/// Exits with 0 if a topology can run here, with 3 if something is missing.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// TOML file that says what the topology is like; everything has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: [{"name", "state": "ok" | "costs" | "missing", "found", "advice"}].
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) async fn run(self, home: &Home) -> Result<u8, TopologyError> {
        let config = self.config.as_deref().map(TopologyConfig::load).transpose()?.unwrap_or_default();
        let checks = look::look(home, &config).await;
        if self.json {
            print_json(&checks);
        } else {
            print_lines(&screen(&checks, painted));
        }
        Ok(if is_missing(&checks) { EXIT_MISSING } else { 0 })
    }
}

fn is_missing(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.state == State::Missing)
}

/// What people read.
fn screen(checks: &[Check], paint: fn(Color, &str) -> String) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in checks {
        let color = match check.state {
            State::Ok => Color::Green,
            State::Costs => Color::Yellow,
            State::Missing => Color::Red,
        };
        let state = paint(color, &format!("{:<7}", check.state));
        lines.push(format!("{state}  {:<width$}  {}", check.name, check.found));
        if !check.advice.is_empty() {
            lines.push(format!("{:7}  {:<width$}  → {}", "", "", check.advice));
        }
    }
    let sum = if is_missing(checks) { "a topology can't run here yet" } else { "a topology can run here" };
    lines.push(format!("\n{sum}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_reads() {
        let checks = [
            Check::ok("engine", "Docker 20.10.24, overlay2, cgroup v1"),
            Check::costs(
                "netfilter queues",
                "No chain/target/match by that name.",
                "without them there is no `slow-link`",
            ),
            Check::missing("memory", "1000 MiB of 2000 MiB can be had", "free some"),
        ];
        insta::assert_snapshot!(screen(&checks, |_, text| text.to_owned()));
        assert!(is_missing(&checks) && !is_missing(&checks[..2]));
    }
}

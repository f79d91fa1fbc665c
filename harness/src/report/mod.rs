//! What a run leaves behind: `report.json` (these types), `junit.xml` ([`junit`]) and the final table ([`table`]).
//!
//! The schema only ever grows: readers ignore what they don't know, writers never change a meaning.

pub mod excerpt;
pub mod junit;
pub mod matrix;
pub mod missing;
pub mod redact;
#[cfg(test)]
pub(crate) mod sample;
pub mod table;
pub mod why;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;

use crate::fault::life::Stage;
use crate::fault::{FaultKind, Target, Victim};
use crate::invariant::{Name, Tier};
use crate::scenario::RecoveryClock;
use crate::scenario::duration::format_ms;
use crate::scenario::event::Event;
use missing::Missing;

/// Version of the schema of `report.json`.
pub const SCHEMA: u32 = 1;

/// What a run proves, by precedence: the worst stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// An invariant was broken, with evidence. Stays, whatever follows.
    Fail,
    /// The harness failed, or a part did not start.
    Broken,
    /// Ended by the user before its end.
    Interrupted,
    /// A fault had no effect, an expected event did not come, evidence is missing, or the judge was starved.
    Invalid,
    /// Something happened, and every promise was kept.
    Pass,
}

impl Verdict {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Invalid => 2,
            Verdict::Broken => 3,
            Verdict::Interrupted => 130,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Invalid => "INVALID",
            Verdict::Broken => "BROKEN",
            Verdict::Interrupted => "INTERRUPTED",
        })
    }
}

/// `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub run: String,
    /// The worst of the scenarios' verdicts.
    pub verdict: Verdict,
    /// The user ended it; the exit code says so, whatever the verdict.
    pub interrupted: bool,
    /// Start, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// From start to end.
    pub took_ms: u64,
    /// Where it ran.
    pub machine: Machine,
    /// Versions of all parts: `etcd`, `zookeeper`, `mesos`, `glusterfs`, `jupyter`, `docker`, `stormd`, ….
    pub parts: BTreeMap<String, String>,
    /// In the order in which they ran.
    pub scenarios: Vec<ScenarioReport>,
}

impl Report {
    /// Precedence over all scenarios; a run without scenarios proves nothing.
    #[must_use]
    pub fn verdict_of(scenarios: &[ScenarioReport]) -> Verdict {
        scenarios.iter().map(|scenario| scenario.verdict).min().unwrap_or(Verdict::Invalid)
    }

    /// The process's exit code: 130 after an interruption, else the verdict's.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.interrupted { Verdict::Interrupted.exit_code() } else { self.verdict.exit_code() }
    }
}

impl ScenarioReport {
    /// What the user didn't end, the deadline did: that proves nothing, and what was seen until then stands.
    pub fn cut_by_deadline(&mut self, deadline: Duration) {
        let before = self.why.len();
        self.why.retain(|finding| finding.verdict != Verdict::Interrupted);
        if self.why.len() < before {
            let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            let why = format!("the command's deadline of {} came before its end", format_ms(ms));
            self.add(Finding { verdict: Verdict::Invalid, at: None, why });
        }
    }

    /// Adds what speaks against PASS; the worst comes first and is the verdict.
    pub fn add(&mut self, finding: Finding) {
        self.why.push(finding);
        self.why.sort();
        self.verdict = self.why.first().map_or(Verdict::Pass, |worst| worst.verdict);
    }
}

/// The machine that a run ran on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Everything that speaks against PASS, worst first; the first is the reason of the verdict.
    pub why: Vec<Finding>,
    /// Seed of its plan.
    pub seed: u64,
    /// Begin, on the run's clock.
    pub began: Millis,
    /// From begin to end.
    pub took_ms: u64,
    /// Every fault that was planned, in order.
    pub faults: Vec<FaultReport>,
    /// Recoveries: fault × invariant × tier × clock.
    pub recoveries: Vec<Recovery>,
    /// Intervals in which an invariant was not holding.
    pub broken: Vec<BrokenInterval>,
    /// How complete the evidence is.
    pub coverage: Vec<Coverage>,
    /// Changes of etcd's leader that no fault explains.
    pub unprovoked_leader_changes: u32,
    /// Acknowledged items of the ledger that weren't there at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// The storm's draws, if there was one.
    pub storm: Option<StormCount>,
    /// How the judge itself did.
    pub judge: JudgeReport,
}

/// Something that speaks against PASS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// What it makes of the verdict.
    pub verdict: Verdict,
    /// When, on the run's clock, if it has a moment.
    pub at: Option<Millis>,
    /// What was expected, what was found.
    pub why: String,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// `s2`, `s3.14`.
    pub id: String,
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// Hit.
    pub victims: Vec<Victim>,
    /// Where its life ended.
    pub stage: Stage,
    /// When the act began, on the run's clock.
    pub began: Option<Millis>,
    /// When the undo began.
    pub undo_began: Option<Millis>,
    /// Its effect was seen from outside.
    pub effect_seen: bool,
    /// What its step expected, and when that was seen.
    pub expected: Vec<ExpectedSeen>,
    /// Acknowledged operations of the ledger before and after it, by kind.
    pub ops_ok: BTreeMap<String, OpsOk>,
}

/// An expected event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedSeen {
    /// The event.
    pub event: Event,
    /// End of the first tick that shows it; none = it never came.
    pub seen_at: Option<Millis>,
}

/// Acknowledged operations around a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpsOk {
    /// Acknowledged before its act began.
    pub before: u64,
    /// Begun after that and acknowledged.
    pub after: u64,
}

/// How an invariant came back after a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The fault.
    pub fault: String,
    /// The invariant.
    pub invariant: Name,
    /// Which evidence.
    pub tier: Tier,
    /// Which clock.
    pub clock: RecoveryClock,
    /// What came of it.
    pub outcome: Outcome,
    /// From the clock's start to the first holding observation; only if `outcome` is `recovered`.
    pub seconds: Option<f64>,
    /// From the clock's start to the last observation that didn't hold: the true time lies between this and `seconds`.
    pub lower_seconds: Option<f64>,
}

/// What came of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was broken (or its evidence gone) and holds again.
    Recovered,
    /// It held all the time: counted, never a time.
    NeverBroken,
    /// The next fault or the end of the clock came first: counted, never a time.
    CutShort,
    /// It didn't hold again while it was watched.
    NotRecovered,
}

/// An interval in which an invariant was not holding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokenInterval {
    /// The invariant.
    pub invariant: Name,
    /// Which evidence.
    pub tier: Tier,
    /// Begin of the first tick that shows it broken.
    pub from: Millis,
    /// End of the first tick that shows it holding again; none = broken to the end.
    pub to: Option<Millis>,
    /// The fault that excuses it throughout; none = a part of it isn't excused.
    pub excused_by: Option<String>,
    /// The first thing that showed it.
    pub why: String,
}

/// How complete the evidence of an invariant is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The invariant.
    pub invariant: Name,
    /// Which evidence.
    pub tier: Tier,
    /// Share of the time with evidence, or excused, in percent.
    pub percent: f64,
    /// Longest time without.
    pub gap_ms_max: u64,
}

/// The draws of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StormCount {
    /// Drawn.
    pub draws: u32,
    /// Had an effect that was seen, on the role that they aimed at.
    pub effective: u32,
    /// Found no eligible target.
    pub skipped: u32,
    /// Hit something that had lost the role at impact.
    pub missed_role: u32,
}

/// How the judge itself did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct JudgeReport {
    /// Number of ticks.
    pub ticks: u64,
    /// Greatest lateness of a tick.
    pub late_ms_max: u64,
    /// Median time of a tick's probes.
    pub tick_ms_median: u64,
    /// Highest CPU pressure seen, in percent.
    pub cpu_pressure_max: Option<f64>,
    /// What the judge waited whenever it wanted a CPU, on average; none where the accounts can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_wait_ms_mean: Option<f64>,
    /// Of all CPU time, others than the topology and the judge took this share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_others_percent: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_stands_and_an_interruption_shows_in_the_exit_code() {
        let mut report = sample::report();
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Fail, 1));
        report.interrupted = true;
        assert_eq!(report.exit_code(), 130);
        assert!(
            Verdict::Fail < Verdict::Broken && Verdict::Broken < Verdict::Invalid && Verdict::Invalid < Verdict::Pass
        );
        assert_eq!(Report::verdict_of(&[]), Verdict::Invalid, "nothing ran, nothing is proven");
        let codes = [Verdict::Pass, Verdict::Fail, Verdict::Invalid, Verdict::Broken].map(Verdict::exit_code);
        assert_eq!(codes, [0, 1, 2, 3]);
    }

    #[test]
    fn a_deadline_proves_nothing_and_takes_no_breach_away() {
        let cut = |verdicts: &[Verdict]| {
            let mut scenario = sample::report().scenarios.remove(0);
            scenario.why = verdicts.iter().map(|v| Finding { verdict: *v, at: None, why: String::new() }).collect();
            scenario.cut_by_deadline(Duration::from_secs(600));
            (scenario.verdict, scenario.why.iter().any(|finding| finding.why.contains("deadline of 10m")))
        };
        assert_eq!(cut(&[Verdict::Interrupted]), (Verdict::Invalid, true));
        assert_eq!(cut(&[Verdict::Fail, Verdict::Interrupted]), (Verdict::Fail, true));
        assert_eq!(cut(&[]), (Verdict::Pass, false), "it had ended before");
    }

    #[test]
    fn the_schema_has_the_fields_that_readers_rely_on() {
        let json = serde_json::to_value(sample::report()).expect("plain data");
        assert_eq!(json["verdict"], "FAIL");
        let scenario = &json["scenarios"][0];
        assert_eq!(scenario["faults"][0]["effect_seen"], true);
        assert_eq!(scenario["faults"][0]["expected"][0]["event"], "jupyter-moved");
        assert_eq!(scenario["faults"][0]["ops_ok"]["etcd"]["after"], 31);
        assert_eq!(scenario["recoveries"][1]["invariant"], "jupyter");
        assert_eq!(scenario["recoveries"][1]["seconds"], 3.1);
        let back: Report = serde_json::from_value(json).expect("it was just written");
        assert_eq!(back, sample::report());
    }
}

//! A run of before, read back from the folder that it left.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::folder::LATEST;
use super::lanes::lane_folder;
use crate::report::Report;
use crate::scenario::plan::Plan;

/// Runs that an error names.
const NAMED_MAX: usize = 5;

/// A run that can't be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// There is no such run.
    #[error(
        "there is no run '{run}': {looked} is no folder; expected an id below {runs}, a folder, or 'latest'{newest}"
    )]
    Unknown {
        /// What was asked for.
        run: String,
        /// Where it would be.
        looked: String,
        /// Where runs are.
        runs: String,
        /// The newest that there are.
        newest: String,
    },
    /// A file of it.
    #[error("{path}: {why}; a run that was killed leaves no report, and other versions of stormbed may write others")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    folder: PathBuf,
}

impl Recorded {
    /// Finds a run by its id, its folder, or as `latest`.
    ///
    /// # Errors
    /// [`RecordedError::Unknown`], with the newest runs that there are.
    pub fn find(runs: &Path, run: &str) -> Result<Self, RecordedError> {
        // Not the link: the next run moves it.
        let below = std::fs::read_link(runs.join(run)).map_or_else(|_| runs.join(run), |id| runs.join(id));
        let folder = [below.clone(), PathBuf::from(run)].into_iter().find(|folder| folder.is_dir());
        folder.map(|folder| Self { folder }).ok_or_else(|| RecordedError::Unknown {
            run: run.to_owned(),
            looked: below.display().to_string(),
            runs: runs.display().to_string(),
            newest: newest(runs),
        })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The runs that it consisted of, if it played on several topologies.
    #[must_use]
    pub fn lanes(&self) -> Vec<Self> {
        let lane = |number| Self { folder: self.folder.join(lane_folder(number)) };
        (1..).map(lane).take_while(|lane| lane.folder.is_dir()).collect()
    }

    /// What it was to run.
    ///
    /// # Errors
    /// If `plan.json` can't be read.
    pub fn plans(&self) -> Result<Vec<Plan>, RecordedError> {
        self.document("plan.json")
    }

    /// What came of it.
    ///
    /// # Errors
    /// If `report.json` can't be read.
    pub fn report(&self) -> Result<Report, RecordedError> {
        self.document("report.json")
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, RecordedError> {
        let path = self.folder.join(name);
        let failed = |why: String| RecordedError::File { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }
}

/// The plans with every fault bound to the victims that it hit in the recorded run. A scenario that wasn't played there resolves
/// its roles anew.
#[must_use]
pub fn pinned(plans: Vec<Plan>, report: &Report) -> Vec<Plan> {
    let mut played = report.scenarios.iter();
    let pin = |mut plan: Plan| {
        // In the order of the plans; one that the run didn't come to has no report.
        if let Some(scenario) = played.next().filter(|scenario| scenario.name == plan.scenario) {
            let names = |fault: &crate::report::FaultReport| fault.victims.iter().map(|v| v.name.clone()).collect();
            plan.pins = scenario.faults.iter().map(|fault| (fault.id.clone(), names(fault))).collect();
        }
        plan
    };
    plans.into_iter().map(pin).collect()
}

fn newest(runs: &Path) -> String {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != LATEST);
    // Ids begin with the time.
    names.sort();
    names.reverse();
    names.truncate(NAMED_MAX);
    if names.is_empty() { String::new() } else { format!("; the newest are {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_id_its_folder_or_as_the_latest() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        for id in ["a", "b"] {
            super::super::folder::place(runs.path(), id).expect("it can be made");
        }
        let find = |run: &str| Recorded::find(runs.path(), run).map(|found| found.folder().to_owned());
        assert_eq!(find("a").expect("by id"), runs.path().join("a"));
        let folder = runs.path().join("b");
        assert_eq!(find(&folder.display().to_string()).expect("by folder"), folder);
        assert_eq!(find("latest").expect("the newest"), folder);
        let error = find("c").expect_err("there is none").to_string();
        assert!(error.contains("'c'") && error.ends_with("the newest are b, a"), "{error}");
        let error = Recorded::find(runs.path(), "a").expect("by id").plans().expect_err("it has none").to_string();
        assert!(error.contains("plan.json") && error.contains("killed"), "{error}");
    }

    #[test]
    fn faults_are_bound_to_the_victims_of_the_run() {
        let mut report = crate::report::sample::report();
        let victim = crate::fault::fixture::node(3, 7, "host-1", "c");
        report.scenarios[0].faults[0].victims = vec![victim];
        let plan = |scenario: &str| Plan {
            scenario: scenario.into(),
            about: String::new(),
            cluster: crate::scenario::Cluster::default(),
            seed: 1,
            steps: Vec::new(),
            ..Plan::default()
        };
        let plans = pinned(vec![plan("leader-loss"), plan("other")], &report);
        assert_eq!(plans[0].pins["s1"], ["storm-s3"]);
        assert!(plans[1].pins.is_empty(), "that scenario wasn't played");
        let text = serde_json::to_string(&plans).expect("plain data");
        assert_eq!(serde_json::from_str::<Vec<Plan>>(&text).expect("it was just written"), plans, "it can be replayed");
    }
}

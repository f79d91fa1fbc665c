//! The folder that a run leaves: plan, timeline, observations, report.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use stormbed::clock::Millis;

use crate::observe::observation::Observation;
use crate::report::junit::junit;
use crate::report::{Report, matrix};

/// A run's folder that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; give the run a place with --runs or make room there")]
pub struct FolderError {
    /// The path.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// A run's folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    timeline: File,
    observations: BufWriter<File>,
    /// Last written /etc/hosts, which hardly ever changes, by container.
    hosts_files: BTreeMap<String, String>,
}

/// A line of `timeline.jsonl`.
#[derive(Debug, Serialize)]
struct Moment<'a> {
    at: Millis,
    scenario: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

/// Folder of the logs of a run's n-th topology, from 1. Most runs have one.
#[must_use]
pub fn logs(topology: u32) -> String {
    if topology == 1 { "logs".to_owned() } else { format!("logs-{topology}") }
}

impl RunFolder {
    /// Makes the folder.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn create(path: PathBuf) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path.join(logs(1))).map_err(failed(&path))?;
        let open = |name: &str| {
            let path = path.join(name);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(failed(&path))
        };
        Ok(Self {
            timeline: open(TIMELINE)?,
            observations: BufWriter::new(open("observations.jsonl")?),
            hosts_files: BTreeMap::new(),
            path,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes something that happened.
    pub fn moment(&mut self, at: Millis, scenario: &str, what: &str, fault: Option<&str>, text: &str) {
        let moment = Moment { at, scenario, what, fault, text };
        write_line(&mut self.timeline, &moment, TIMELINE);
    }

    /// Keeps an observation: its fast tier, without hosts files that are as they were in the line before.
    pub fn observation(&mut self, seen: &Observation) {
        let mut compact = seen.clone();
        compact.deep = crate::observe::observation::Deep::default();
        let containers = compact.fast.containers.values_mut();
        for view in containers.filter_map(|probe| probe.result.as_mut().ok()).flatten() {
            let Ok(now) = &view.hosts_file else {
                continue;
            };
            if self.hosts_files.get(&view.id) == Some(now) {
                view.hosts_file = Ok(SAME.to_owned());
            } else {
                self.hosts_files.insert(view.id.clone(), now.clone());
            }
        }
        write_line(&mut self.observations, &compact, "observations.jsonl");
    }

    /// Writes out what is still in memory.
    pub fn flush(&mut self) {
        if let Err(error) = self.observations.flush() {
            tracing::warn!(%error, "observations.jsonl is not complete");
        }
    }
}

/// Writes the report, and what is made from it, into a run's folder.
///
/// # Errors
/// If a file can't be written.
pub fn leave(folder: &Path, report: &Report) -> Result<(), FolderError> {
    document(folder, "report.json", report)?;
    document(folder, matrix::FILE, &matrix::cells(report))?;
    write(folder, "junit.xml", &junit(report))
}

/// Writes a JSON document into a folder.
///
/// # Errors
/// If it can't be written.
pub fn document<T: Serialize>(folder: &Path, name: &str, content: &T) -> Result<(), FolderError> {
    let text =
        serde_json::to_string_pretty(content).map_err(|e| FolderError { path: folder.join(name), source: e.into() })?;
    write(folder, name, &(text + "\n"))
}

/// Writes a text into a folder.
///
/// # Errors
/// If it can't be written.
pub fn write(folder: &Path, name: &str, content: &str) -> Result<(), FolderError> {
    let path = folder.join(name);
    std::fs::write(&path, content).map_err(failed(&path))
}

/// Makes `<runs>/<id>` and points `<runs>/latest` at it.
///
/// # Errors
/// If that can't be written.
pub fn place(runs: &Path, id: &str) -> Result<PathBuf, FolderError> {
    let path = runs.join(id);
    std::fs::create_dir_all(&path).map_err(failed(&path))?;
    let latest = runs.join(LATEST);
    // Made beside and renamed, so that there is a `latest` at every moment.
    let fresh = runs.join(format!(".latest-{id}"));
    std::os::unix::fs::symlink(id, &fresh).map_err(failed(&fresh))?;
    std::fs::rename(&fresh, &latest).map_err(failed(&latest))?;
    Ok(path)
}

/// Name of the link to the newest run.
pub const LATEST: &str = "latest";

/// Name of the file with everything that happened.
pub const TIMELINE: &str = "timeline.jsonl";

/// Stands for a file's content that is as in this container's observation before.
const SAME: &str = "(unchanged)";

fn write_line<T: Serialize>(file: &mut impl Write, value: &T, name: &str) {
    let written = serde_json::to_vec(value).map_err(std::io::Error::from).and_then(|mut line| {
        line.push(b'\n');
        file.write_all(&line)
    });
    if let Err(error) = written {
        tracing::warn!(%error, "{name} is not complete");
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    |source| FolderError { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_points_at_the_newest_run() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        for id in ["a", "b"] {
            let path = place(runs.path(), id).expect("it can be made");
            let mut folder = RunFolder::create(path).expect("it can be made");
            folder.moment(Millis(5), "s", "phase", None, "steady");
            assert!(folder.path().join("logs").is_dir());
        }
        let latest = std::fs::read_link(runs.path().join("latest")).expect("it is a link");
        assert_eq!(latest, Path::new("b"));
        let text = std::fs::read_to_string(runs.path().join("latest/timeline.jsonl"));
        let text = text.expect("it is there");
        assert_eq!(text, "{\"at\":5,\"scenario\":\"s\",\"what\":\"phase\",\"text\":\"steady\"}\n");
    }
}

//! The folder that a run leaves: plan, timeline, observations, report.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use stormbed::clock::Millis;

use crate::observe::observation::Observation;

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
    /// Last written content of files that hardly ever change, by container.
    files: BTreeMap<String, (String, String)>,
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

impl RunFolder {
    /// Makes `<runs>/<id>` and points `<runs>/latest` at it.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn create(runs: &Path, id: &str) -> Result<Self, FolderError> {
        let path = runs.join(id);
        std::fs::create_dir_all(path.join("logs")).map_err(failed(&path))?;
        let latest = runs.join("latest");
        // Made beside and renamed, so that there is a `latest` at every moment.
        let fresh = runs.join(format!(".latest-{id}"));
        std::os::unix::fs::symlink(id, &fresh).map_err(failed(&fresh))?;
        std::fs::rename(&fresh, &latest).map_err(failed(&latest))?;
        let open = |name: &str| {
            let path = path.join(name);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(failed(&path))
        };
        Ok(Self {
            timeline: open("timeline.jsonl")?,
            observations: BufWriter::new(open("observations.jsonl")?),
            files: BTreeMap::new(),
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
        write_line(&mut self.timeline, &moment, "timeline.jsonl");
    }

    /// Keeps an observation: its fast tier, without files that are as they were in the line before.
    pub fn observation(&mut self, seen: &Observation) {
        let mut compact = seen.clone();
        compact.deep = crate::observe::observation::Deep::default();
        let containers = compact.fast.containers.values_mut();
        for view in containers.filter_map(|probe| probe.result.as_mut().ok()).flatten() {
            let (Ok(hosts), Ok(keys)) = (&view.hosts_file, &view.authorized_keys) else {
                continue;
            };
            let now = (hosts.clone(), keys.clone());
            if self.files.get(&view.id) == Some(&now) {
                view.hosts_file = Ok(SAME.to_owned());
                view.authorized_keys = Ok(SAME.to_owned());
            } else {
                self.files.insert(view.id.clone(), now);
            }
        }
        write_line(&mut self.observations, &compact, "observations.jsonl");
    }

    /// Writes a JSON document.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn document<T: Serialize>(&self, name: &str, content: &T) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        let text =
            serde_json::to_string_pretty(content).map_err(|e| FolderError { path: path.clone(), source: e.into() })?;
        self.text(name, &(text + "\n"))
    }

    /// Writes a text.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn text(&self, name: &str, content: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        std::fs::write(&path, content).map_err(failed(&path))?;
        Ok(path)
    }

    /// Writes out what is still in memory.
    pub fn flush(&mut self) {
        if let Err(error) = self.observations.flush() {
            tracing::warn!(%error, "observations.jsonl is not complete");
        }
    }
}

/// Stands for a file's content that is as in this container's observation before.
const SAME: &str = "(unchanged)";

/// An id that sorts by time: `<UTC date>-<time>-<4 hex digits>`.
#[must_use]
pub fn run_id(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let unique = unique.get(..4).unwrap_or("0000");
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{unique}")
}

/// Days since 1970-01-01 as a date (proleptic Gregorian calendar; years begin in March here, so that leap days come last).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

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
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
    }

    #[test]
    fn latest_points_at_the_newest_run() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        for id in ["a", "b"] {
            let mut folder = RunFolder::create(runs.path(), id).expect("it can be made");
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

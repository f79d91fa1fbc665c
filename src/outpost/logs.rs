//! The last lines of every log on this machine, for a failed run's folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Of each log at most this much is read.
const LOG_BYTES_MAX: u64 = 256 << 10;
/// Of at most this many logs.
const LOGS_MAX: usize = 64;

/// File name → last lines of every file in the directory; what can't be read says why.
///
/// # Errors
/// If the directory can't be listed.
pub fn look(dir: &Path, lines_max: usize) -> Result<BTreeMap<String, String>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let logs = files.take(LOGS_MAX).map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tail = tail(&path, lines_max).unwrap_or_else(|error| format!("(unreadable: {error})"));
        (name, tail)
    });
    Ok(logs.collect())
}

fn tail(path: &Path, lines_max: usize) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let skip = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(skip))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(lines_max)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("etcd.log"), "one\ntwo\nthree\n").unwrap();
        let logs = look(dir.path(), 2).unwrap();
        assert_eq!(logs, BTreeMap::from([("etcd.log".into(), "two\nthree".into())]));
        assert!(look(&dir.path().join("none"), 2).is_err());
    }
}

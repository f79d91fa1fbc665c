//! What containers wrote: their own output, and the files in them.

use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt;

use super::{Engine, EngineError};

/// A log of a part is small; whoever writes more than this has told enough.
const ARCHIVE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Reading logs never holds up the rest for longer.
const READ_MAX: Duration = Duration::from_secs(20);

impl Engine {
    /// The last lines of a container's own output, both streams.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn output_of(&self, container: &str, lines: usize) -> Result<String, EngineError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut stream = self.docker().logs(container, Some(options));
        let mut text = String::new();
        let read = async {
            while let Some(item) = stream.next().await {
                let item = item.map_err(|e| EngineError::call(format!("reading the output of {container}"), e))?;
                text.push_str(&item.to_string());
            }
            Ok(())
        };
        tokio::time::timeout(READ_MAX, read).await.map_err(|_| slow(container))??;
        Ok(text)
    }

    /// The regular files of a directory in a container, running or not: (path relative to the directory's parent,
    /// content). A directory that isn't there has none.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn files_of(&self, container: &str, directory: &Path) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let what = || format!("reading {} of {container}", directory.display());
        let options = DownloadFromContainerOptionsBuilder::new().path(&directory.display().to_string()).build();
        let mut stream = self.docker().download_from_container(container, Some(options));
        let mut archive = Vec::new();
        let read = async {
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|e| EngineError::call(what(), e))?;
                if archive.len() + chunk.len() > ARCHIVE_BYTES_MAX {
                    break;
                }
                archive.extend_from_slice(&chunk);
            }
            Ok::<(), EngineError>(())
        };
        match tokio::time::timeout(READ_MAX, read).await {
            Err(_) => return Err(slow(container)),
            Ok(Err(e)) if e.status() == Some(404) => return Ok(Vec::new()),
            Ok(other) => other?,
        }
        Ok(unpack(&archive))
    }
}

fn slow(container: &str) -> EngineError {
    EngineError::Slow { what: format!("reading the logs of {container}"), seconds: READ_MAX.as_secs() }
}

/// Files of an archive, up to where it breaks off: a log that is still being written may end early.
fn unpack(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut tar = tar::Archive::new(archive);
    let Ok(entries) = tar.entries() else {
        return files;
    };
    for entry in entries {
        let Ok(mut entry) = entry else { break };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Ok(path) = entry.path().map(|p| p.display().to_string()) else {
            continue;
        };
        let mut content = Vec::new();
        let whole = entry.size();
        let read = std::io::Read::read_to_end(&mut entry, &mut content);
        if !read.is_ok_and(|n| n as u64 == whole) {
            break;
        }
        files.push((path, content));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_breaks_off_gives_what_came_before() -> std::io::Result<()> {
        let files = [("log/a", 0o644, b"one".as_slice()), ("log/b", 0o644, &[7; 4096])];
        let whole = crate::engine::build::tar_of(files)?;
        assert_eq!(unpack(&whole).len(), 2);
        let part = unpack(&whole[..2048]);
        assert_eq!(part, vec![("log/a".to_owned(), b"one".to_vec())]);
        Ok(())
    }
}

//! A part's log: its standard streams, line by line, in one file of bounded size.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// A log file of this size becomes `<file>.1` (the former one goes) and a new one begins: at most twice this per part.
pub const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A longer line is cut into pieces of this length.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// An appending file that starts over when it is full. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<File>>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    file: std::fs::File,
    bytes: u64,
    bytes_max: u64,
}

impl Log {
    /// Opens `<dir>/<part>.log` for appending.
    ///
    /// # Errors
    /// If the directory or file can't be made.
    pub fn open(dir: &Path, part: &str) -> io::Result<Self> {
        Self::at(&dir.join(format!("{part}.log")))
    }

    /// Opens this file for appending.
    ///
    /// # Errors
    /// If the directory or file can't be made.
    pub fn at(path: &Path) -> io::Result<Self> {
        Self::with_max(path, LOG_BYTES_MAX)
    }

    fn with_max(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let path = path.to_owned();
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(File { path, file, bytes, bytes_max }))))
    }

    /// Appends; a full disk loses lines, never the part.
    pub fn write(&self, text: &[u8]) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.append(text) {
            tracing::warn!(path = %file.path.display(), %error, "a log line is lost");
        }
    }

    /// Copies a stream until it ends.
    pub async fn pump(self, stream: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if line.last() != Some(&b'\n') {
                        line.push(b'\n');
                    }
                    self.write(&line);
                }
            }
        }
    }
}

impl File {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.bytes >= self.bytes_max {
            std::fs::rename(&self.path, former(&self.path))?;
            self.file = append(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

/// `<file>.1`.
fn former(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn append(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_log_starts_over_and_keeps_its_predecessor() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Log::with_max(&dir.path().join("bird.log"), 10).expect("opened");
        log.clone().pump(&b"first line\nsecond\nno end"[..]).await;
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("there");
        assert_eq!(read("bird.log.1"), "first line\n");
        assert_eq!(read("bird.log"), "second\nno end\n");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}

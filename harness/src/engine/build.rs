//! Building images: a context in memory, the engine's own builder (BuildKit isn't needed), and no leftovers on failure.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::Duration;

use bollard::query_parameters::{BuildImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::StreamExt;

use super::{Engine, EngineError, error};

/// A cold build of the largest image takes 100 s on two cores; a slow mirror may take ten times that.
const BUILD_MAX: Duration = Duration::from_secs(1_800);
/// Lines of a failed build that are shown.
const TAIL_LINES: usize = 20;

/// One file of a build context: name, mode, content.
pub type ContextFile = (String, u32, Vec<u8>);

/// A build.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// `name:tag` of the result.
    pub tag: String,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// The other files of the context.
    pub files: Vec<ContextFile>,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
}

/// A tar in memory. Modification times are zero, so that equal content makes an equal archive.
///
/// # Errors
/// If a path is not fit for a tar.
pub fn tar_of<'a>(files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content)?;
    }
    let mut bytes = tar.into_inner()?;
    bytes.flush()?;
    Ok(bytes)
}

impl Engine {
    /// Builds an image; `progress` gets each step's first line.
    ///
    /// # Errors
    /// [`EngineError::Build`] with the last lines and what to do, or [`EngineError::NoSpace`].
    pub async fn build(&self, build: &Build, progress: &(dyn Fn(&str) + Sync)) -> Result<(), EngineError> {
        let io = |source| EngineError::Io { what: format!("making the build context of {}", build.tag), source };
        let dockerfile = ("Dockerfile", 0o644, build.dockerfile.as_bytes());
        let files = build.files.iter().map(|(n, m, c)| (n.as_str(), *m, c.as_slice()));
        let context = tar_of(std::iter::once(dockerfile).chain(files)).map_err(io)?;
        let options = BuildImageOptionsBuilder::new()
            .t(&build.tag)
            .rm(true)
            .forcerm(true)
            .buildargs(&build.arguments.clone().into_iter().collect())
            .labels(&build.labels.clone().into_iter().collect())
            .build();
        let body = bollard::body_full(context.into());
        let mut lines = self.docker().build_image(options, None, Some(body));
        let mut tail = VecDeque::new();
        let read = async {
            while let Some(line) = lines.next().await {
                match line {
                    Ok(info) => note(&mut tail, info.stream.as_deref().unwrap_or(""), progress),
                    Err(e) => {
                        tail.push_back(e.to_string());
                        return Err(failed(&build.tag, &tail));
                    }
                }
            }
            Ok(())
        };
        tokio::time::timeout(BUILD_MAX, read).await.map_err(|_| EngineError::Slow {
            what: format!("building the image {}", build.tag),
            seconds: BUILD_MAX.as_secs(),
        })?
    }

    /// The id of an image, or none if the engine doesn't have it.
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        match self.docker().inspect_image(image).await {
            Ok(found) => Ok(found.id),
            Err(e) => {
                let error = EngineError::call(format!("looking for the image {image}"), e);
                if error.status() == Some(404) { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Images with a label: (id, tags).
    ///
    /// # Errors
    /// If the engine can't say.
    pub async fn images(&self, label: &str) -> Result<Vec<(String, Vec<String>)>, EngineError> {
        let options = ListImagesOptionsBuilder::new().filters(&super::label_filter(label, None)).build();
        let list =
            self.docker().list_images(Some(options)).await.map_err(|e| EngineError::call("listing images", e))?;
        Ok(list.into_iter().map(|i| (i.id, i.repo_tags)).collect())
    }

    /// Removes an image (tag or id). Returns false if it is gone already or in use.
    ///
    /// # Errors
    /// If the engine can't.
    pub async fn remove_image(&self, image: &str) -> Result<bool, EngineError> {
        let options = RemoveImageOptionsBuilder::new().build();
        match self.docker().remove_image(image, Some(options), None).await {
            Ok(_) => Ok(true),
            Err(e) => {
                let error = EngineError::call(format!("removing the image {image}"), e);
                match error.status() {
                    Some(404 | 409) => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }
}

fn note(tail: &mut VecDeque<String>, text: &str, progress: &(dyn Fn(&str) + Sync)) {
    for line in text.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
        if line.starts_with("Step ") {
            progress(line);
        }
        tail.push_back(line.to_owned());
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
}

fn failed(image: &str, tail: &VecDeque<String>) -> EngineError {
    let text = tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    if error::is_no_space(&text) {
        return EngineError::NoSpace {
            what: format!("building the image {image}"),
            why: tail.back().cloned().unwrap_or_default(),
        };
    }
    let offline = ["Temporary failure resolving", "Could not connect", "Failed to fetch"];
    let advice = if offline.iter().any(|sign| text.contains(sign)) {
        "The build could not reach the Debian archive: check this machine's network and apt sources, then try again."
    } else {
        "Read the lines above: the first that fails names the package or the command."
    };
    EngineError::Build { image: image.to_owned(), tail: text, advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_makes_an_equal_archive() -> std::io::Result<()> {
        let make = || tar_of([("a/b", 0o600, b"x".as_slice())]);
        assert_eq!(make()?, make()?);
        let bytes = make()?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries()?.next().expect("one entry")?;
        assert_eq!(entry.header().mode()?, 0o600);
        Ok(())
    }

    #[test]
    fn a_failed_build_says_what_to_do() {
        let tail = |line: &str| VecDeque::from(["Step 2/3".to_owned(), line.to_owned()]);
        let offline = failed("x", &tail("E: Failed to fetch http://…"));
        assert!(offline.to_string().contains("network and apt sources"));
        let full = failed("x", &tail("write /y: no space left on device"));
        assert!(matches!(full, EngineError::NoSpace { .. }));
    }
}

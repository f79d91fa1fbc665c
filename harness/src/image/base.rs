//! The base of all images: `debian:bookworm-slim` if the engine has it or a registry gives it quickly, else the same
//! thing made by mmdebstrap from this machine's own Debian archive.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

use super::{ImageError, sources};
use crate::engine::build::Build;
use crate::engine::{Engine, LABEL_IMAGE};

/// The base's name: what a registry calls it, too.
pub const BASE: &str = "debian:bookworm-slim";
const SUITE: &str = "bookworm";
/// A registry that is there gives 30 MB within this time; where there is none, mmdebstrap needs half a minute.
const PULL_MAX: Duration = Duration::from_secs(45);
/// Measured 26–61 s; a slow mirror may take ten times that.
const MMDEBSTRAP_MAX: Duration = Duration::from_secs(600);
const SCRIPT: &str = include_str!("../../images/base/mkbase.sh");

/// The id of the base image; it is pulled or made if the engine hasn't got it.
///
/// # Errors
/// If it can neither be pulled nor made; the message says what is missing.
pub async fn ensure(engine: &Engine, progress: &(dyn Fn(&str) + Sync)) -> Result<String, ImageError> {
    if let Some(id) = engine.image_id(BASE).await? {
        return Ok(id);
    }
    progress(&format!("getting the base image {BASE}"));
    if !pull(engine, BASE).await {
        make(engine, progress).await?;
    }
    engine.image_id(BASE).await?.ok_or_else(|| ImageError::Tool {
        what: format!("making {BASE}"),
        tail: "the engine doesn't have it afterwards".into(),
    })
}

/// The id of an image that the engine has or can pull.
///
/// # Errors
/// If it has neither.
pub async fn present(engine: &Engine, image: &str, progress: &(dyn Fn(&str) + Sync)) -> Result<String, ImageError> {
    if let Some(id) = engine.image_id(image).await? {
        return Ok(id);
    }
    progress(&format!("pulling {image}"));
    pull(engine, image).await;
    engine.image_id(image).await?.ok_or_else(|| ImageError::Tool {
        what: format!("looking for the image {image}"),
        tail: "the engine doesn't have it and no registry gave it; `docker load` it, or name another".into(),
    })
}

/// True if a registry gave it. No registry is fine for the base: it is made here then.
async fn pull(engine: &Engine, name: &str) -> bool {
    let (image, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let options = CreateImageOptionsBuilder::new().from_image(image).tag(tag).build();
    let pulling = engine.docker().create_image(Some(options), None, None).try_for_each(|_| std::future::ready(Ok(())));
    match tokio::time::timeout(PULL_MAX, pulling).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no registry");
            false
        }
        Err(_) => false,
    }
}

async fn make(engine: &Engine, progress: &(dyn Fn(&str) + Sync)) -> Result<(), ImageError> {
    progress("no registry has it: making it with mmdebstrap (about half a minute)");
    let found = sources::of_machine(Path::new("/etc/apt"), SUITE);
    if found.is_empty() {
        return Err(ImageError::NoArchive { suite: SUITE });
    }
    let file = |e| ImageError::file("a temporary file")(e);
    let mut list = tempfile::Builder::new().suffix(".sources").tempfile().map_err(file)?;
    list.write_all(sources::to_deb822(&found).as_bytes())
        .and_then(|()| list.flush())
        .map_err(ImageError::file(list.path()))?;
    // Its working directory goes with ours, whatever ends it. The unprivileged user of apt must get in.
    let work = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .map_err(file)?;
    let running = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(SCRIPT)
        .arg("mkbase.sh")
        .arg(SUITE)
        .arg(list.path())
        .env("TMPDIR", work.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(MMDEBSTRAP_MAX, running)
        .await
        .map_err(|_| ImageError::Tool {
            what: "mmdebstrap".into(),
            tail: format!("not done within {} s", MMDEBSTRAP_MAX.as_secs()),
        })?
        .map_err(ImageError::file("sh"))?;
    if output.status.code() == Some(127) {
        return Err(ImageError::Missing {
            program: "mmdebstrap",
            purpose: "make the base image, as no registry has it",
            package: "mmdebstrap",
        });
    }
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        return Err(ImageError::Tool {
            what: "making the base image with mmdebstrap".into(),
            tail: lines[lines.len().saturating_sub(15)..].join("\n"),
        });
    }
    let build = Build {
        tag: BASE.to_owned(),
        dockerfile: include_str!("../../images/base/Dockerfile").to_owned(),
        files: vec![("base.tar".to_owned(), 0o644, output.stdout)],
        labels: [(LABEL_IMAGE.to_owned(), "base".to_owned())].into(),
        ..Build::default()
    };
    Ok(engine.build(&build, progress).await?)
}

//! The node image as a ready data-root on the cache volume. The hosts' supervisors hard-link it into their own, so that
//! no inner engine has to load the image.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;

use super::{ImageError, ImageSet};
use crate::engine::{ContainerSpec, Engine, EngineError, LABEL_CACHE, LABEL_HOME, LABEL_RUN};

/// Where the cache volume is mounted.
pub const CACHE: &str = "/cache";
/// Measured 12–25 s for 430 MB.
const SEED_MAX: Duration = Duration::from_secs(300);
const SCRIPT: &str = include_str!("../../images/seed.sh");

/// The run on whose behalf a seed is made.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The state directory that knows the run.
    pub home: &'a Path,
}

/// Where the seed of an image lies, seen from a host.
#[must_use]
pub fn path(images: &ImageSet) -> String {
    format!("{CACHE}/seeds/{}", name(images))
}

fn name(images: &ImageSet) -> &str {
    images.node_id.trim_start_matches("sha256:")
}

/// Makes sure that the cache volume exists and holds the seed of the node image.
///
/// # Errors
/// If it can't be made.
pub async fn ensure(
    engine: &Engine,
    volume: &str,
    images: &ImageSet,
    owner: Owner<'_>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), ImageError> {
    let born = born(engine, volume).await?;
    let note = note(owner.home);
    let wanted = format!("{volume} {born} {}", name(images));
    // A note beside the runs' state spares a container per start; it names the volume's birth, so it dies with it.
    if std::fs::read_to_string(&note).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    progress("preparing the node image for the hosts' inner engines");
    let container = start(engine, volume, images, owner).await?;
    let made = make(engine, &container, images, owner.run).await;
    engine.remove(&container).await?;
    made?;
    std::fs::write(&note, wanted).map_err(ImageError::file(&note))
}

/// The note that says which seed is there.
fn note(home: &Path) -> std::path::PathBuf {
    home.join("seeded")
}

/// Forgets what is known about the seed: the next start looks for itself. Another user of the volume may have removed it.
pub fn doubt(home: &Path) {
    // Without a note there is nothing to forget.
    let _ = std::fs::remove_file(note(home));
}

/// Makes the volume if it isn't there; returns the time of its making.
async fn born(engine: &Engine, volume: &str) -> Result<String, ImageError> {
    engine.create_volume(volume, &[(LABEL_CACHE.to_owned(), "1".to_owned())].into()).await?;
    let seen = engine
        .docker()
        .inspect_volume(volume)
        .await
        .map_err(|e| EngineError::call(format!("looking at the volume {volume}"), e))?;
    Ok(seen.created_at.map(|t| t.to_string()).unwrap_or_default())
}

async fn start(engine: &Engine, volume: &str, images: &ImageSet, owner: Owner<'_>) -> Result<String, EngineError> {
    let spec = ContainerSpec {
        name: format!("stormbed-{}-seed", owner.run),
        hostname: "seed".into(),
        image: images.host.clone(),
        command: vec!["sleep".into(), SEED_MAX.as_secs().to_string()],
        labels: [
            (LABEL_RUN.to_owned(), owner.run.to_owned()),
            (LABEL_HOME.to_owned(), owner.home.display().to_string()),
        ]
        .into(),
        volumes: vec![(volume.to_owned(), CACHE.to_owned())],
        machine: true,
        ..ContainerSpec::default()
    };
    let container = engine.create(&spec).await?;
    engine.start(&container).await?;
    Ok(container)
}

async fn make(engine: &Engine, container: &str, images: &ImageSet, run: &str) -> Result<(), EngineError> {
    engine.upload(container, &[("/seed.sh", 0o755, SCRIPT.as_bytes())]).await?;
    // Looked for first: the engine takes seconds before an archive's first byte.
    let seed = path(images);
    if engine.exec(container, &["test", "-d", &seed], b"", SEED_MAX).await?.code == 0 {
        return Ok(());
    }
    let archive = engine.docker().export_image(&images.node).boxed();
    let command = ["/seed.sh", name(images), run];
    let output = engine.exec_streaming(container, &command, archive, SEED_MAX).await?;
    output.success("preparing the node image for the hosts")?;
    Ok(())
}

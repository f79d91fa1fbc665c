//! The engine's data-root with the images, without loading them: hard links into a seed, another data-root on the same volume.
//!
//! overlay2 only reads the layers below a container's own, so links are safe as long as the seed isn't changed in place.

use std::io;
use std::path::Path;

use crate::config::DockerConfig;

/// The layers: hard-linked.
const LAYERS: &str = "overlay2";
/// What is known of the images: copied, because the engine rewrites it.
const IMAGES: &str = "image";
/// Written last, so that a seeding that was cut short is done again.
const MARK: &str = "stormbed-seeded";

/// Fills the data-root, unless that was done before or there is no seed.
///
/// # Errors
/// Which path failed and why; both must lie on one file system.
pub async fn seed(config: &DockerConfig) -> Result<(), String> {
    let Some(seed) = &config.seed else {
        return Ok(());
    };
    let root = &config.data_root;
    if root.join(MARK).exists() {
        return Ok(());
    }
    let failed = |e: io::Error| format!("cannot prepare {}: {e}", root.display());
    std::fs::create_dir_all(root).map_err(failed)?;
    for (folder, how) in [(LAYERS, "-al"), (IMAGES, "-a")] {
        let (from, to) = (seed.join(folder), root.join(folder));
        std::fs::create_dir_all(&to).map_err(failed)?;
        copy(&from.join("."), &to, how).await?;
    }
    std::fs::write(root.join(MARK), "").map_err(failed)
}

async fn copy(from: &Path, to: &Path, how: &str) -> Result<(), String> {
    let done = tokio::process::Command::new("cp")
        .arg(how)
        .arg("--force")
        .arg(from)
        .arg(to)
        .output()
        .await
        .map_err(|e| format!("cannot run cp: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let first = said.lines().next().unwrap_or("no message");
    Err(format!("cannot seed {} from {}: {first}; both must lie on one volume", to.display(), from.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn layers_are_shared_and_image_records_are_not() {
        let pool = tempfile::tempdir().expect("a directory");
        let seed_dir = pool.path().join("seed");
        for file in ["overlay2/layer/diff/file", "image/overlay2/repositories.json"] {
            let path = seed_dir.join(file);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, "x").expect("written");
        }
        let config =
            DockerConfig { data_root: pool.path().join("host-1"), seed: Some(seed_dir), network: "calico".into() };
        seed(&config).await.expect("seeded");
        seed(&config).await.expect("a second time is nothing");
        let links = |file: &str| std::fs::metadata(config.data_root.join(file)).expect("there").nlink();
        assert_eq!(links("overlay2/layer/diff/file"), 2);
        assert_eq!(links("image/overlay2/repositories.json"), 1);
    }

    #[tokio::test]
    async fn a_seed_that_is_not_there_is_named() {
        let pool = tempfile::tempdir().expect("a directory");
        let config = DockerConfig {
            data_root: pool.path().join("host-1"),
            seed: Some("/nowhere".into()),
            network: "calico".into(),
        };
        let why = seed(&config).await.expect_err("no seed");
        assert!(why.contains("/nowhere"), "{why}");
    }
}

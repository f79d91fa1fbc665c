//! All images of a topology: built where missing, old ones pruned.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::recipe::{MesosLayer, Packages, Recipe};
use super::{ImageError, base, stormd};
use crate::engine::{Engine, LABEL_IMAGE};
use crate::run::Home;

/// Builds at the same time: they wait for the network and the disk in turn.
const BUILDS_AT_ONCE: usize = 2;
/// Superseded images of each kind that stay: other checkouts on this machine may be using theirs.
const SPARE_IMAGES: usize = 4;

/// The images of one topology, by tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSet {
    /// Apache ZooKeeper.
    pub zookeeper: String,
    /// A node.
    pub node: String,
    /// Id of the node image: names its seed.
    pub node_id: String,
    /// A machine.
    pub host: String,
    /// Masters, schedulers, edge.
    pub router: String,
}

/// Makes sure that the engine has every image; builds those whose inputs changed. `mesos` is laid between the parts and stormd.
///
/// # Errors
/// If one can't be built; the message shows the build's last lines.
pub async fn ensure(
    engine: &Engine,
    home: &Home,
    mesos: Option<&MesosLayer>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<ImageSet, ImageError> {
    let base_id = base::ensure(engine, progress).await?;
    let recipes = Recipe::all(&Packages::shipped());
    let parts: Vec<String> = stream::iter(&recipes)
        .map(|recipe| one(engine, recipe, base::BASE, &base_id, progress))
        .buffered(BUILDS_AT_ONCE)
        .try_collect()
        .await?;
    let [zookeeper_parts, node, host_parts, router_parts] = parts.as_slice() else {
        unreachable!("four recipes make four images");
    };
    let program = stormd::program(engine, home, progress).await?;
    let source = match mesos.and_then(|layer| layer.copied.as_ref()) {
        Some((image, _)) => Some(base::present(engine, image, progress).await?),
        None => None,
    };
    let complete = async |name, parts: &str| {
        let mut under = parts.to_owned();
        if let Some(layer) = mesos.filter(|_| name != "zookeeper-stormd") {
            let recipe =
                Recipe::mesos(if name == "host" { "host-mesos" } else { "router-mesos" }, layer, source.as_deref());
            under = one(engine, &recipe, parts, &id_of(engine, parts).await?, progress).await?;
        }
        let id = id_of(engine, &under).await?;
        one(engine, &Recipe::with_stormd(name, &program), &under, &id, progress).await
    };
    let (zookeeper, host, router) = tokio::try_join!(
        complete("zookeeper-stormd", zookeeper_parts),
        complete("host", host_parts),
        complete("router", router_parts)
    )?;
    Ok(ImageSet { node_id: id_of(engine, node).await?, zookeeper, node: node.clone(), host, router })
}

/// The images that need no stormd, by tag: what tests with single parts use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Apache ZooKeeper.
    pub zookeeper: String,
    /// A node.
    pub node: String,
    /// What recordings of Mesos are replayed in.
    pub corpus: String,
}

/// Makes sure that the engine has the images of single parts.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_parts(engine: &Engine, progress: &(dyn Fn(&str) + Sync)) -> Result<Parts, ImageError> {
    let base_id = base::ensure(engine, progress).await?;
    let [zookeeper, node, host, _] = Recipe::all(&Packages::shipped());
    let (zookeeper, node) = tokio::try_join!(
        one(engine, &zookeeper, base::BASE, &base_id, progress),
        one(engine, &node, base::BASE, &base_id, progress)
    )?;
    let host = one(engine, &host, base::BASE, &base_id, progress).await?;
    let host_id = id_of(engine, &host).await?;
    let corpus = one(engine, &Recipe::corpus(&Packages::shipped()), &host, &host_id, progress).await?;
    Ok(Parts { zookeeper, node, corpus })
}

async fn id_of(engine: &Engine, tag: &str) -> Result<String, ImageError> {
    engine.image_id(tag).await?.ok_or_else(|| ImageError::Tool {
        what: format!("looking for the image {tag}"),
        tail: "it was there a moment ago; somebody removed it: try again".into(),
    })
}

async fn one(
    engine: &Engine,
    recipe: &Recipe,
    base: &str,
    base_id: &str,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<String, ImageError> {
    let tag = recipe.tag(base_id);
    if engine.image_id(&tag).await?.is_none() {
        progress(&format!("building {tag}"));
        let step = |line: &str| progress(&format!("{}: {line}", recipe.name));
        engine.build(&recipe.build(base, base_id), &step).await?;
    }
    Ok(tag)
}

/// Removes images of ours that a newer one has replaced, all but the newest few of each kind. Images in use stay.
///
/// # Errors
/// If the engine can't list them.
pub async fn prune(engine: &Engine, current: &ImageSet) -> Result<(), ImageError> {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let keep = BTreeSet::from([&current.zookeeper, &current.node, &current.host, &current.router]);
    // The engine lists the newest first.
    for (id, tags) in engine.images(LABEL_IMAGE).await? {
        let Some(tag) = tags.first().filter(|t| *t != "<none>:<none>") else {
            // What a build of several stages left behind.
            engine.remove_image(&id).await?;
            continue;
        };
        let Some((kind, _)) = tag.split_once(':').filter(|(k, _)| k.starts_with("stormbed-")) else {
            continue;
        };
        let count = seen.entry(kind.to_owned()).or_default();
        *count += 1;
        if *count > SPARE_IMAGES + 1 && !keep.contains(tag) {
            engine.remove_image(tag).await?;
        }
    }
    Ok(())
}

/// Removes every image of ours.
///
/// # Errors
/// If the engine can't.
pub async fn remove_all(engine: &Engine) -> Result<usize, ImageError> {
    let mut removed = 0;
    // Children first: an image with children can't go. Three layers of ours make three rounds.
    for _ in 0..3 {
        for (id, tags) in engine.images(LABEL_IMAGE).await? {
            let names = if tags.is_empty() { vec![id] } else { tags };
            for name in names {
                let name = if name == "<none>:<none>" {
                    continue;
                } else {
                    name
                };
                removed += usize::from(engine.remove_image(&name).await?);
            }
        }
    }
    Ok(removed)
}

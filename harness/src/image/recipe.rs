//! What each image is made of, and the tag that follows from it. Pure: the inputs are files compiled into this program.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use stormbed::outpost::traces::hex;

use crate::engine::LABEL_IMAGE;
use crate::engine::build::{Build, ContextFile};

/// `packages.toml`: the one place that says which packages an image has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// What stormd is linked against.
    runtime: Vec<String>,
    /// First stage of the ZooKeeper image.
    zookeeper: Vec<String>,
    /// Beside ZooKeeper.
    zookeeper_run: Vec<String>,
    /// A node.
    node: Vec<String>,
    /// A machine.
    host: Vec<String>,
    /// Masters, schedulers, edge.
    router: Vec<String>,
    /// A machine for replaying recordings of Mesos.
    corpus: Vec<String>,
    /// Builds stormd for bookworm.
    builder: Vec<String>,
}

impl Packages {
    /// The lists that this program was built with.
    #[must_use]
    pub fn shipped() -> Self {
        toml::from_str(include_str!("../../images/packages.toml")).expect("the shipped list is parsed in a unit test")
    }
}

/// What Apache Mesos adds to the images of masters and hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MesosLayer {
    /// Debian packages.
    pub packages: Vec<String>,
    /// An image, and the directory in it that is copied; none for a Mesos that is mounted.
    pub copied: Option<(String, String)>,
}

/// An image to build.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// `node`, `host-parts`, …: also the image's name after `stormbed-`.
    pub name: &'static str,
    /// Its Dockerfile.
    pub dockerfile: &'static str,
    /// Its other files.
    pub files: Vec<ContextFile>,
    /// Packages to install.
    pub packages: Vec<String>,
    /// Other build arguments.
    pub arguments: Vec<(&'static str, String)>,
}

impl Recipe {
    /// The images that need nothing but the base: (ZooKeeper without stormd, node, host without stormd, router without stormd).
    #[must_use]
    pub fn all(packages: &Packages) -> [Self; 4] {
        let with_runtime = |list: &[String]| [list, &packages.runtime].concat();
        let zk_run = include_bytes!("../../images/zookeeper/zk-run").to_vec();
        [
            Self {
                name: "zookeeper",
                dockerfile: include_str!("../../images/zookeeper/Dockerfile"),
                files: vec![("zk-run".into(), 0o755, zk_run)],
                packages: packages.zookeeper.clone(),
                arguments: vec![("RUN_PACKAGES", with_runtime(&packages.zookeeper_run).join(" "))],
            },
            Self {
                name: "node",
                dockerfile: include_str!("../../images/node/Dockerfile"),
                files: Vec::new(),
                packages: with_runtime(&packages.node),
                arguments: Vec::new(),
            },
            Self {
                name: "host-parts",
                dockerfile: include_str!("../../images/host/Dockerfile"),
                files: Vec::new(),
                packages: with_runtime(&packages.host),
                arguments: Vec::new(),
            },
            Self {
                name: "router-parts",
                dockerfile: include_str!("../../images/router/Dockerfile"),
                files: Vec::new(),
                packages: with_runtime(&packages.router),
                arguments: Vec::new(),
            },
        ]
    }

    /// What recordings of Mesos are replayed in; its base is the host without stormd.
    #[must_use]
    pub fn corpus(packages: &Packages) -> Self {
        Self {
            name: "corpus",
            dockerfile: include_str!("../../images/corpus/Dockerfile"),
            files: Vec::new(),
            packages: packages.corpus.clone(),
            arguments: Vec::new(),
        }
    }

    /// The image in which stormd is built where this machine's own libc is too new.
    #[must_use]
    pub fn builder(packages: &Packages) -> Self {
        Self {
            name: "builder",
            dockerfile: include_str!("../../images/builder/Dockerfile"),
            files: Vec::new(),
            packages: packages.builder.clone(),
            arguments: Vec::new(),
        }
    }

    /// A master's or host's image with what Apache Mesos needs. `image` is the id of the image that it is copied from.
    #[must_use]
    pub fn mesos(name: &'static str, layer: &MesosLayer, image: Option<&str>) -> Self {
        let (dockerfile, arguments) = match (&layer.copied, image) {
            (Some((_, prefix)), Some(image)) => (
                include_str!("../../images/mesos/copied.Dockerfile"),
                vec![("MESOS", image.to_owned()), ("PREFIX", prefix.clone())],
            ),
            _ => (include_str!("../../images/mesos/Dockerfile"), Vec::new()),
        };
        Self { name, dockerfile, files: Vec::new(), packages: layer.packages.clone(), arguments }
    }

    /// An image without stormd, and stormd as its last layer.
    #[must_use]
    pub fn with_stormd(name: &'static str, stormd: &[u8]) -> Self {
        Self {
            name,
            dockerfile: include_str!("../../images/stormd.Dockerfile"),
            files: vec![("stormd".into(), 0o755, stormd.to_vec())],
            packages: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// `stormbed-<name>:<hash>`, the hash over everything that goes in.
    #[must_use]
    pub fn tag(&self, base_id: &str) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            // Lengths keep ("ab","c") and ("a","bc") apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(base_id.as_bytes());
        add(self.dockerfile.as_bytes());
        add(self.packages.join(" ").as_bytes());
        for (name, value) in &self.arguments {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        for (name, mode, content) in &self.files {
            add(name.as_bytes());
            add(&mode.to_le_bytes());
            add(content);
        }
        format!("stormbed-{}:{}", self.name, hex(&hash.finalize()[..6]))
    }

    /// The build of this image on a base.
    #[must_use]
    pub fn build(&self, base: &str, base_id: &str) -> Build {
        let mut arguments = BTreeMap::from([("BASE".to_owned(), base.to_owned())]);
        if !self.packages.is_empty() {
            arguments.insert("PACKAGES".to_owned(), self.packages.join(" "));
        }
        arguments.extend(self.arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        for name in ["http_proxy", "https_proxy", "no_proxy"] {
            if let Ok(value) = std::env::var(name) {
                arguments.insert(name.to_owned(), value);
            }
        }
        Build {
            tag: self.tag(base_id),
            dockerfile: self.dockerfile.to_owned(),
            files: self.files.clone(),
            arguments,
            labels: BTreeMap::from([(LABEL_IMAGE.to_owned(), self.name.to_owned())]),
        }
    }
}

/// A hash over everything that goes into the images of parts, whatever their base is: equal keys make equal images.
#[must_use]
pub fn key(packages: &Packages) -> String {
    let recipes = Recipe::all(packages).into_iter().chain([Recipe::corpus(packages)]);
    let tags: Vec<String> = recipes.map(|recipe| recipe.tag("")).collect();
    hex(&Sha256::digest(tags.join(" "))[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_is_valid() {
        let packages = Packages::shipped();
        assert!(packages.node.iter().any(|p| p == "etcd-server"));
        for recipe in Recipe::all(&packages) {
            assert!(!recipe.packages.is_empty(), "{}", recipe.name);
        }
    }

    #[test]
    fn a_package_more_changes_the_key() {
        let (mut packages, before) = (Packages::shipped(), key(&Packages::shipped()));
        assert_eq!(before, key(&packages));
        packages.corpus.push("more".into());
        assert_ne!(before, key(&packages));
    }

    #[test]
    fn every_input_changes_the_tag_and_nothing_else_does() {
        let base = || Recipe {
            name: "node",
            dockerfile: "FROM x",
            files: vec![("a".into(), 0o644, b"1".to_vec())],
            packages: vec!["p".into()],
            arguments: vec![("A", "1".into())],
        };
        let tag = base().tag("sha256:1");
        assert_eq!(tag, base().tag("sha256:1"));
        assert!(tag.starts_with("stormbed-node:"));
        let others = [
            base().tag("sha256:2"),
            Recipe { dockerfile: "FROM y", ..base() }.tag("sha256:1"),
            Recipe { packages: vec!["q".into()], ..base() }.tag("sha256:1"),
            Recipe { files: vec![("a".into(), 0o755, b"1".to_vec())], ..base() }.tag("sha256:1"),
            Recipe { files: vec![("a".into(), 0o644, b"2".to_vec())], ..base() }.tag("sha256:1"),
            Recipe { arguments: vec![("A", "2".into())], ..base() }.tag("sha256:1"),
        ];
        assert!(others.iter().all(|other| *other != tag));
    }
}

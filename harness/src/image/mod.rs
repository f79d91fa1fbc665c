//! The images of the topology, made from Debian packages on the user's own machine; no registry is needed.
//!
//! A tag carries a hash of everything that went into the image, so a build happens exactly when an input changed.
//!
//! # Layout
//! * [`sources`]: the machine's own Debian archive, found in its apt sources; pure.
//! * [`recipe`]: what each image is made of and the tag that follows from it; pure.
//! * [`base`]: `debian:bookworm-slim`, from the engine, a registry, or mmdebstrap.
//! * [`stormd`]: the system's program, fit for bookworm.
//! * [`set`]: all images of a topology, built where missing; old ones pruned.
//! * [`seed`]: the node image as a ready data-root for the hosts' inner engines.

pub mod base;
pub mod recipe;
pub mod seed;
pub mod set;
pub mod sources;
pub mod stormd;

use std::path::PathBuf;

use crate::engine::EngineError;
use crate::run::RunError;

pub use recipe::MesosLayer;
pub use set::{ImageSet, ensure};

/// An image that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The engine can't.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state directory can't be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A program of this machine is missing.
    #[error("`{program}` is needed to {purpose} and isn't there; install it (`apt-get install {package}`)")]
    Missing {
        /// The program.
        program: &'static str,
        /// What for.
        purpose: &'static str,
        /// Its Debian package.
        package: &'static str,
    },
    /// A program of this machine failed.
    #[error("{what} failed: {tail}")]
    Tool {
        /// What was being done.
        what: String,
        /// The end of what it wrote.
        tail: String,
    },
    /// This machine's apt doesn't know Debian's archive.
    #[error(
        "the base image is in no registry that the engine reaches, and no apt source below /etc/apt names Debian's {suite}; add one (`deb <mirror> {suite} main`), or give the engine an image debian:{suite}-slim"
    )]
    NoArchive {
        /// The suite that is needed.
        suite: &'static str,
    },
    /// `stormd` isn't there.
    #[error(
        "the program `stormd` isn't beside this one (looked in {looked}); build both with `cargo build --workspace --bins`, or say `make`"
    )]
    NoStormd {
        /// Where it was looked for.
        looked: String,
    },
    /// Reading or writing a file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ImageError {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

//! Mistakes in a scenario file, shown with file, line and column.

use miette::{Diagnostic, NamedSource, SourceSpan};

/// All mistakes of one file.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{file} is not a scenario that can run")]
pub struct Mistakes {
    /// The file's name, as the user gave it.
    pub file: String,
    /// In the order of the file.
    #[related]
    pub mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// `file:line:column`.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, and the nearest name.
    #[help]
    pub help: Option<String>,
    /// Said at the place itself.
    pub label: String,
    /// The file.
    #[source_code]
    pub source_code: NamedSource<String>,
    /// The place.
    #[label("{label}")]
    pub span: SourceSpan,
}

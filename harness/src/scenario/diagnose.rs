//! Mistakes in a scenario file, shown with file, line, column, what is allowed, and the nearest name.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// A name this near to an allowed one (Damerau-Levenshtein, 0..1) is probably meant to be it.
const NEAR: f64 = 0.5;

/// All mistakes of one file.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{file} is not a scenario that can run ({} mistake{})", mistakes.len(), if mistakes.len() == 1 { "" } else { "s" })]
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
    /// The file.
    #[source_code]
    pub source_code: NamedSource<String>,
    /// The place.
    #[label("here")]
    pub span: SourceSpan,
}

/// Collects the mistakes of one file while it is read.
#[derive(Debug)]
pub(super) struct Diagnosis<'t> {
    file: &'t str,
    text: &'t str,
    mistakes: Vec<Mistake>,
}

impl<'t> Diagnosis<'t> {
    pub fn of(file: &'t str, text: &'t str) -> Self {
        Self { file, text, mistakes: vec![] }
    }

    /// Something is wrong at this place (byte offsets).
    pub fn mistake(&mut self, at: Range<usize>, message: impl Into<String>, help: impl Into<Option<String>>) {
        let start = at.start.min(self.text.len());
        let before = &self.text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.mistakes.push(Mistake {
            place: format!("{}:{line}:{column}", self.file),
            message: message.into(),
            help: help.into(),
            source_code: NamedSource::new(self.file, self.text.to_owned()),
            span: (start, at.end.saturating_sub(start)).into(),
        });
    }

    /// A name that isn't among the allowed ones.
    pub fn unknown(&mut self, at: Range<usize>, what: &str, found: &str, allowed: &[&str]) {
        let near = nearest(found, allowed).map(|name| format!("did you mean '{name}'? ")).unwrap_or_default();
        let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        self.mistake(at, format!("unknown {what} '{found}'"), format!("{near}allowed: {allowed}"));
    }

    /// The value, or every mistake that was found, in the order of the file.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Mistakes> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => {
                self.mistakes.sort_by_key(|mistake| mistake.span.offset());
                Err(Mistakes { file: self.file.to_owned(), mistakes: self.mistakes })
            }
        }
    }

    /// No mistake so far.
    pub fn clean(&self) -> bool {
        self.mistakes.is_empty()
    }
}

/// The allowed name that was probably meant.
fn nearest<'a>(found: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &str| strsim::normalized_damerau_levenshtein(&found.to_lowercase(), name);
    allowed
        .iter()
        .map(|name| (distance(name), *name))
        .filter(|(near, _)| *near >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let allowed = ["kill", "pause"];
        assert_eq!(nearest("puase", &allowed), Some("pause"));
        assert_eq!(nearest("Kil", &allowed), Some("kill"));
        assert_eq!(nearest("explode", &allowed), None);
    }
}

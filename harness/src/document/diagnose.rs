//! Mistakes in a file, shown with file, line, column, what is allowed, and the nearest name.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, Severity, SourceSpan};
use toml::Spanned;
use toml::de::DeTable;

use super::place::Place;

/// A name this near to an allowed one (Damerau-Levenshtein, 0..1) is probably meant to be it.
const NEAR: f64 = 0.5;
/// Mistakes that are shown. A file with more of them is another kind of file.
const SHOWN_MAX: usize = 40;

/// All mistakes of one file.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{file} is not {kind} that can be used ({count} mistake{s})", s = if *count == 1 { "" } else { "s" })]
pub struct Mistakes {
    /// The file's name, as the user gave it.
    pub file: String,
    /// What it should be: `a scenario`.
    pub kind: &'static str,
    /// How many there are.
    pub count: usize,
    /// In the order of the file; of very many only the first.
    #[related]
    pub mistakes: Vec<Mistake>,
}

/// One mistake, or something that is allowed and probably not meant.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// `file:line:column`.
    pub place: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What is allowed, and the nearest name.
    #[help]
    pub help: Option<String>,
    /// Whether the file can't be used so.
    #[diagnostic(severity)]
    pub severity: Severity,
    /// The file.
    #[source_code]
    pub source_code: NamedSource<Arc<String>>,
    /// The place.
    #[label("here")]
    pub span: SourceSpan,
}

/// Collects the mistakes of one file while it is read.
#[derive(Debug)]
pub struct Diagnosis<'t> {
    file: &'t str,
    text: &'t str,
    kind: &'static str,
    source: Arc<String>,
    /// The document, once it is parsed: it tells where things stand.
    pub(super) places: Option<&'t Spanned<DeTable<'t>>>,
    mistakes: Vec<Mistake>,
    count: usize,
    warnings: Vec<Mistake>,
}

impl<'t> Diagnosis<'t> {
    /// Nothing is wrong yet with this text of a file.
    #[must_use]
    pub fn of(file: &'t str, text: &'t str, kind: &'static str) -> Self {
        let source = Arc::new(text.to_owned());
        Self { file, text, kind, source, places: None, mistakes: vec![], count: 0, warnings: vec![] }
    }

    /// Something is wrong at this place (byte offsets).
    pub fn mistake(&mut self, at: Range<usize>, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.count += 1;
        if self.mistakes.len() < SHOWN_MAX {
            let mistake = self.told(at, message.into(), help.into(), Severity::Error);
            self.mistakes.push(mistake);
        }
    }

    /// Something is wrong with the value at this place.
    pub fn at(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.mistake(self.span(place), message, help.into());
    }

    /// This is allowed, and probably not meant.
    pub fn warn(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        if self.warnings.len() < SHOWN_MAX {
            let warning = self.told(self.span(place), message.into(), Some(help.into()), Severity::Warning);
            self.warnings.push(warning);
        }
    }

    /// The name at this place isn't among the allowed ones.
    pub fn unknown_at(&mut self, place: &Place, what: &str, found: &str, allowed: &[&str]) {
        self.unknown(self.span(place), what, found, allowed);
    }

    /// The document says something at this place, right or wrong.
    #[must_use]
    pub fn has(&self, place: &Place) -> bool {
        self.places.is_some_and(|root| place.is_in(root))
    }

    fn span(&self, place: &Place) -> Range<usize> {
        self.places.map_or(0..1, |root| place.span(root))
    }

    fn told(&self, at: Range<usize>, message: String, help: Option<String>, severity: Severity) -> Mistake {
        let start = floor(self.text, at.start);
        let end = floor(self.text, at.end.max(start));
        let before = &self.text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Mistake {
            place: format!("{}:{line}:{column}", self.file),
            line,
            column,
            message,
            help,
            severity,
            source_code: NamedSource::new(self.file, self.source.clone()),
            span: (start, end - start).into(),
        }
    }

    /// A name that isn't among the allowed ones.
    pub fn unknown(&mut self, at: Range<usize>, what: &str, found: &str, allowed: &[&str]) {
        let near = nearest(found, allowed).map(|name| format!("did you mean '{name}'? ")).unwrap_or_default();
        let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        self.mistake(at, format!("unknown {what} '{}'", short(found)), format!("{near}allowed: {allowed}"));
    }

    /// What the TOML parser says.
    pub(super) fn not_toml(&mut self, error: &toml::de::Error) {
        let help = match error.message() {
            message if message.contains("duplicate key") => Some("a key stands once in its table".to_owned()),
            message if message.contains("string values must be quoted") => {
                Some("write texts in quotes: \"…\"".to_owned())
            }
            _ => None,
        };
        let message = error.message().lines().next().unwrap_or_default();
        self.mistake(error.span().unwrap_or(0..0), format!("this is not TOML: {message}"), help);
    }

    /// The value and the warnings, or every mistake that was found, in the order of the file.
    ///
    /// # Errors
    /// The mistakes.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Mistake>), Mistakes> {
        match value {
            Some(value) if self.clean() => {
                self.warnings.sort_by_key(|warning| warning.span.offset());
                Ok((value, self.warnings))
            }
            _ => {
                self.mistakes.sort_by_key(|mistake| mistake.span.offset());
                Err(Mistakes {
                    file: self.file.to_owned(),
                    kind: self.kind,
                    count: self.count,
                    mistakes: self.mistakes,
                })
            }
        }
    }

    /// No mistake so far.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.count == 0
    }
}

/// The beginning of the character at this offset.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A text that is quoted in a message.
pub(super) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let cut: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > CHARS_MAX { format!("{cut}…") } else { cut.replace("\\'", "'").replace("\\\"", "\"") }
}

/// The allowed name that was probably meant.
fn nearest<'a>(found: &str, allowed: &[&'a str]) -> Option<&'a str> {
    // The distance takes the product of both lengths.
    if found.len() > 100 {
        return None;
    }
    let found = found.to_lowercase().replace(['_', ' '], "-");
    let distance = |name: &str| strsim::normalized_damerau_levenshtein(&found, &name.replace('_', "-"));
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
        let allowed = ["kill", "pause", "slot-left"];
        assert_eq!(nearest("puase", &allowed), Some("pause"));
        assert_eq!(nearest("Kil", &allowed), Some("kill"));
        assert_eq!(nearest("slot_left", &allowed), Some("slot-left"));
        assert_eq!(nearest("explode", &allowed), None);
    }

    #[test]
    fn places_never_split_a_character() {
        let mut d = Diagnosis::of("x", "é = 1", "a file");
        d.mistake(1..1, "inside", None);
        d.mistake(9..12, "behind", None);
        let mistakes = d.finish::<()>(None).expect_err("there are two");
        let places: Vec<&str> = mistakes.mistakes.iter().map(|mistake| mistake.place.as_str()).collect();
        assert_eq!(places, ["x:1:1", "x:1:6"]);
    }
}

//! Places in a document: the way from its root to a value, and where that stands in the text.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The way to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Item(usize),
}

impl Place {
    /// The document itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A table's key.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut way = self.0.clone();
        way.push(Segment::Key(key.into()));
        Self(way)
    }

    /// A list's item.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        let mut way = self.0.clone();
        way.push(Segment::Item(index));
        Self(way)
    }

    /// The document has a value there.
    #[must_use]
    pub fn is_in(&self, root: &Spanned<DeTable<'_>>) -> bool {
        let Some((Segment::Key(key), rest)) = self.0.split_first() else {
            return self.0.is_empty();
        };
        let mut value = root.get_ref().get(key.as_str());
        for segment in rest {
            value = match (segment, value.map(Spanned::get_ref)) {
                (Segment::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str()),
                (Segment::Item(index), Some(DeValue::Array(items))) => items.get(*index),
                _ => None,
            };
        }
        value.is_some()
    }

    /// Where it stands. What isn't there stands where the nearest thing around it begins.
    #[must_use]
    pub fn span(&self, root: &Spanned<DeTable<'_>>) -> Range<usize> {
        let first = |at: Range<usize>| at.start..at.start + 1;
        let Some((head, rest)) = self.0.split_first() else {
            return first(root.span());
        };
        let Segment::Key(key) = head else {
            return first(root.span());
        };
        let Some(mut value) = root.get_ref().get(key.as_str()) else {
            return first(root.span());
        };
        for segment in rest {
            let next = match (segment, value.get_ref()) {
                (Segment::Key(key), DeValue::Table(table)) => table.get(key.as_str()),
                (Segment::Item(index), DeValue::Array(items)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => return first(value.span()),
            }
        }
        if matches!(value.get_ref(), DeValue::Table(_)) { first(value.span()) } else { value.span() }
    }
}

/// Brackets within brackets.
const BRACKETS_MAX: usize = 16;
/// Dots in one line: a key may be a path.
const DOTS_MAX: usize = 64;

/// Where a document is nested more deeply than anybody needs, by brackets or by dots. The parser takes apart what it read by
/// recursion, so this is looked for first, and without knowing what is text: nobody writes that much of it.
#[must_use]
pub fn too_deep(text: &str) -> Option<usize> {
    let (mut open, mut dots) = (0usize, 0usize);
    let mut last = b'\n';
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => dots = 0,
            b'.' if last != b'.' => dots += 1,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_MAX || dots > DOTS_MAX {
            return Some(at);
        }
        last = byte;
    }
    None
}

//! Whether what was said fits what was recorded. A recording holds placeholders (`<uuid:2>-O0`, `<time>`); the first thing
//! that one meets is what it stands for from then on, and nothing else may stand for the same thing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Where something else was said than recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path inside of the document: `$.update.status.state`.
    pub path: String,
    /// What was recorded.
    pub expected: String,
    /// What was said instead.
    pub got: String,
}

impl Difference {
    /// Of two things at one place.
    pub fn new(path: &str, expected: impl ToString, got: impl ToString) -> Self {
        Self { path: path.to_owned(), expected: expected.to_string(), got: got.to_string() }
    }
}

/// Whether the order inside of arrays has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It has.
    Kept,
    /// It has none.
    Free,
}

/// What the placeholders stand for.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    uuids: BTreeMap<u32, Uuid>,
    /// Offers of different agents come in any order, and are numbered as they come.
    offers: BTreeMap<(u32, u32), u32>,
    texts: BTreeMap<String, String>,
}

/// A part of a recorded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    /// `<uuid:N>`: its text.
    Uuid(u32),
    /// `<uuid:N>-O7`: an offer of a master.
    Offer(u32, u32),
    /// `<b64uuid:N>`: its bytes in base64.
    Base64Uuid(u32),
    /// Any text of a certain form, the same everywhere: `<hex64:N>`, `<work_dir:a1>`, `<host>`.
    Bound(&'a str),
    /// Any text of a certain form, each time another.
    Free(&'a str),
}

/// Placeholders that mean the same wherever they stand.
const BOUND: &[&str] = &["hex64", "work_dir", "dir", "host", "docker-root"];
/// Placeholders that don't.
const FREE: &[&str] = &[
    "date",
    "iso-time",
    "time",
    "time-ns",
    "mac",
    "bridge-ip",
    "port",
    "build",
    "registry not reachable",
    "json",
    "flags",
    "pid",
    "path",
    "binary",
    "names as above",
    "base64:docker-inspect",
    "container-id-prefix",
];

impl<'a> Piece<'a> {
    /// What a name between `<` and `>` stands for.
    fn of(name: &'a str) -> Option<Self> {
        let (kind, rest) = name.split_once([':', ',']).unwrap_or((name, ""));
        match (kind, rest.parse()) {
            ("uuid", Ok(number)) => Some(Self::Uuid(number)),
            ("b64uuid", Ok(number)) => Some(Self::Base64Uuid(number)),
            _ if BOUND.contains(&kind) => Some(Self::Bound(name)),
            _ if FREE.contains(&name) => Some(Self::Free(name)),
            _ => None,
        }
    }
}

/// Splits a recorded text; what looks like a placeholder and is none stays text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut begin, mut from) = (Vec::new(), 0, 0);
    while let Some(open) = text[from..].find('<').map(|at| from + at) {
        let close = text[open..].find('>').map(|at| open + at);
        let piece = close.and_then(|close| Some((Piece::of(&text[open + 1..close])?, close)));
        let Some((piece, close)) = piece else {
            from = open + 1;
            continue;
        };
        if begin < open {
            pieces.push(Piece::Literal(&text[begin..open]));
        }
        let (piece, end) = offer(piece, text, close + 1);
        pieces.push(piece);
        (begin, from) = (end, end);
    }
    if begin < text.len() {
        pieces.push(Piece::Literal(&text[begin..]));
    }
    pieces
}

/// A master's id that is the beginning of an offer's, and where that ends.
fn offer<'a>(piece: Piece<'a>, text: &str, end: usize) -> (Piece<'a>, usize) {
    let digits =
        text[end..].strip_prefix("-O").map(|rest| rest.len() - rest.trim_start_matches(char::is_numeric).len());
    match (piece, digits) {
        (Piece::Uuid(master), Some(digits)) if digits > 0 => {
            let end = end + 2;
            (Piece::Offer(master, text[end..end + digits].parse().unwrap_or_default()), end + digits)
        }
        _ => (piece, end),
    }
}

/// Whether a text may stand for a placeholder of a kind.
fn has_form(name: &str, text: &str) -> bool {
    let hex = |length: usize| text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit());
    match name.split([':', ',']).next().unwrap_or(name) {
        "hex64" => hex(64),
        "container-id-prefix" => hex(12),
        "port" | "pid" => !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()),
        "bridge-ip" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "mac" => text.len() == 17 && text.split(':').all(|part| u8::from_str_radix(part, 16).is_ok()),
        "date" => text.len() == 29 && text.ends_with(" GMT"),
        "work_dir" | "dir" | "docker-root" => text.starts_with('/'),
        "base64" => BASE64_STANDARD.decode(text).is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok()),
        _ => !text.is_empty(),
    }
}

impl Bindings {
    /// Says what a placeholder stands for (`work_dir:a1`).
    pub fn know(&mut self, name: &str, text: &str) {
        self.texts.insert(name.to_owned(), text.to_owned());
    }

    /// What is known for a placeholder.
    pub fn known(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    fn bind_uuid(&mut self, number: u32, uuid: Uuid) -> bool {
        match self.uuids.get(&number) {
            Some(known) => *known == uuid,
            // Two placeholders never stand for the same.
            None => !self.uuids.values().any(|other| *other == uuid) && self.uuids.insert(number, uuid).is_none(),
        }
    }

    fn bind_offer(&mut self, recorded: (u32, u32), number: u32) -> bool {
        match self.offers.get(&recorded) {
            Some(known) => *known == number,
            None => {
                let taken = self.offers.iter().any(|((master, _), other)| *master == recorded.0 && *other == number);
                !taken && self.offers.insert(recorded, number).is_none()
            }
        }
    }

    fn bind_text(&mut self, name: &str, text: &str) -> bool {
        match self.texts.get(name) {
            Some(known) => known == text,
            None => has_form(name, text) && self.texts.insert(name.to_owned(), text.to_owned()).is_none(),
        }
    }

    /// Fits a text to a recorded one.
    pub fn text(&mut self, expected: &str, got: &str) -> bool {
        let mut tried = self.clone();
        let fits = tried.fit(&pieces(expected), got);
        if fits {
            *self = tried;
        }
        fits
    }

    fn fit(&mut self, pieces: &[Piece<'_>], got: &str) -> bool {
        let Some((first, rest)) = pieces.split_first() else {
            return got.is_empty();
        };
        match *first {
            Piece::Literal(text) => got.strip_prefix(text).is_some_and(|tail| self.fit(rest, tail)),
            Piece::Uuid(number) => {
                let uuid = got.get(..36).and_then(|text| Uuid::try_parse(text).ok());
                uuid.is_some_and(|uuid| self.bind_uuid(number, uuid) && self.fit(rest, &got[36..]))
            }
            Piece::Offer(master, number) => {
                let uuid = got.get(..36).and_then(|text| Uuid::try_parse(text).ok());
                let tail = got.get(36..).and_then(|tail| tail.strip_prefix("-O")).unwrap_or_default();
                let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let said = tail[..digits].parse();
                uuid.is_some_and(|uuid| self.bind_uuid(master, uuid))
                    && said.is_ok_and(|said| self.bind_offer((master, number), said))
                    && self.fit(rest, &tail[digits..])
            }
            Piece::Base64Uuid(number) => {
                let bytes = got.get(..24).and_then(|text| BASE64_STANDARD.decode(text).ok());
                let uuid = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
                uuid.is_some_and(|uuid| self.bind_uuid(number, uuid) && self.fit(rest, &got[24..]))
            }
            Piece::Bound(name) | Piece::Free(name) => {
                let bound = matches!(first, Piece::Bound(_));
                let ends = (0..=got.len()).filter(|end| got.is_char_boundary(*end));
                // The longest first: a path's name isn't cut short.
                ends.rev().any(|end| {
                    let mut tried = self.clone();
                    let (text, tail) = got.split_at(end);
                    let fits = if bound { tried.bind_text(name, text) } else { has_form(name, text) };
                    let fits = fits && tried.fit(rest, tail);
                    if fits {
                        *self = tried;
                    }
                    fits
                })
            }
        }
    }

    /// Fits a document to a recorded one.
    ///
    /// # Errors
    /// The first place where they differ.
    pub fn value(&mut self, expected: &Value, got: &Value, path: &str, order: Order) -> Result<(), Difference> {
        let differ = || Err(Difference::new(path, expected, got));
        match (expected, got) {
            (Value::String(text), _) if !got.is_string() => match self.number_or_document(text, got) {
                true => Ok(()),
                false => differ(),
            },
            (Value::String(expected), Value::String(got)) => match self.text(expected, got) {
                true => Ok(()),
                false => differ(),
            },
            (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
                // The recorder's own digits needn't be the master's.
                (Some(a), Some(b)) if (a - b).abs() <= 1e-9 * a.abs().max(1.0) => Ok(()),
                _ => differ(),
            },
            (Value::Object(expected), Value::Object(got)) => self.object(expected, got, path, order),
            (Value::Array(expected), Value::Array(got)) => self.array(expected, got, path, order),
            _ if expected == got => Ok(()),
            _ => differ(),
        }
    }

    /// Placeholders for what isn't text.
    fn number_or_document(&self, placeholder: &str, got: &Value) -> bool {
        match placeholder {
            "<time>" => got.as_f64().is_some_and(|time| time > 0.0),
            "<time-ns>" => got.as_i64().is_some_and(|time| time > 0),
            "<pid>" | "<port>" => got.is_u64(),
            "<build>" => got.is_number(),
            "<json>" | "<flags>" | "<names as above>" => got.is_object() || got.is_array(),
            _ => false,
        }
    }

    fn object(
        &mut self,
        expected: &Map<String, Value>,
        got: &Map<String, Value>,
        path: &str,
        order: Order,
    ) -> Result<(), Difference> {
        for (key, value) in expected {
            let path = format!("{path}.{key}");
            match got.get(key) {
                // Build information, though the recorder left it as it was.
                Some(there) if key == "build_time" && there.is_number() => {}
                Some(there) => self.value(value, there, &path, order)?,
                None => return Err(Difference::new(&path, value, "nothing")),
            }
        }
        let extra = got.iter().find(|(key, _)| !expected.contains_key(*key));
        extra.map_or(Ok(()), |(key, value)| Err(Difference::new(&format!("{path}.{key}"), "nothing", value)))
    }

    fn array(&mut self, expected: &[Value], got: &[Value], path: &str, order: Order) -> Result<(), Difference> {
        let mut kept = self.clone();
        let in_order = kept.in_order(expected, got, path, order);
        if in_order.is_ok() {
            *self = kept;
            return Ok(());
        }
        if order == Order::Free && expected.len() == got.len() && self.in_any_order(expected, got, path) {
            return Ok(());
        }
        in_order
    }

    fn in_order(&mut self, expected: &[Value], got: &[Value], path: &str, order: Order) -> Result<(), Difference> {
        for (index, value) in expected.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match got.get(index) {
                Some(there) => self.value(value, there, &path, order)?,
                None => return Err(Difference::new(&path, value, "nothing")),
            }
        }
        match got.get(expected.len()) {
            Some(extra) => Err(Difference::new(&format!("{path}[{}]", expected.len()), "nothing", extra)),
            None => Ok(()),
        }
    }

    /// Tries every partner for the first, then for the rest.
    fn in_any_order(&mut self, expected: &[Value], got: &[Value], path: &str) -> bool {
        let Some((first, rest)) = expected.split_first() else {
            return got.is_empty();
        };
        (0..got.len()).any(|at| {
            let mut tried = self.clone();
            let mut others = got.to_vec();
            let partner = others.remove(at);
            let fits =
                tried.value(first, &partner, path, Order::Free).is_ok() && tried.in_any_order(rest, &others, path);
            if fits {
                *self = tried;
            }
            fits
        })
    }

    /// A recorded text with everything that the placeholders stand for; an id that nobody has said is made up.
    pub fn fill_text(&mut self, text: &str) -> String {
        let fill = |piece: &Piece<'_>| match *piece {
            Piece::Literal(text) => text.to_owned(),
            Piece::Uuid(number) => self.uuids.entry(number).or_insert_with(Uuid::new_v4).to_string(),
            Piece::Offer(master, number) => {
                let uuid = *self.uuids.entry(master).or_insert_with(Uuid::new_v4);
                format!("{uuid}-O{}", self.offers.get(&(master, number)).copied().unwrap_or(number))
            }
            Piece::Base64Uuid(number) => {
                BASE64_STANDARD.encode(self.uuids.entry(number).or_insert_with(Uuid::new_v4).as_bytes())
            }
            Piece::Bound(name) | Piece::Free(name) => {
                self.texts.get(name).cloned().unwrap_or_else(|| format!("<{name}>"))
            }
        };
        pieces(text).iter().map(fill).collect()
    }

    /// A recorded document, filled in.
    pub fn fill(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.fill(value))).collect(),
            other => other.clone(),
        }
    }
}

/// Whether a recorded document's length is the original's: ids keep theirs, times and the like don't.
pub fn keeps_length(recorded: &Value) -> bool {
    match recorded {
        Value::String(text) => {
            let stable = |p: &Piece<'_>| !matches!(p, Piece::Bound(_) | Piece::Free(_));
            pieces(text).iter().all(stable)
        }
        Value::Array(items) => items.iter().all(keeps_length),
        Value::Object(map) => map.values().all(keeps_length),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "3a1f6b2e-0c4d-4a5b-8e6f-112233445566";
    const B: &str = "4b1f6b2e-0c4d-4a5b-8e6f-112233445566";

    fn fits(expected: &Value, got: &Value) -> Result<(), Difference> {
        Bindings::default().value(expected, got, "$", Order::Kept)
    }

    #[test]
    fn a_placeholder_keeps_its_meaning() {
        let mut bindings = Bindings::default();
        assert!(bindings.text("<uuid:1>-O0", &format!("{A}-O0")));
        assert!(bindings.text("task <uuid:1>!", &format!("task {A}!")));
        assert!(!bindings.text("<uuid:1>-O0", &format!("{B}-O0")), "another id");
        assert!(!bindings.text("<uuid:2>", A), "the same id under another number");
        assert!(!bindings.text("<uuid:1>-O0", &format!("{A}-O1")), "the counter is part of the id");
        assert!(!bindings.text("<uuid:1>-O1", &format!("{A}-O0")), "one offer under two numbers");
        assert!(bindings.text("<uuid:1>-O1", &format!("{A}-O2")), "offers are numbered as they come");
        assert_eq!(bindings.fill_text("<uuid:1>-O1"), format!("{A}-O2"));
        assert!(!bindings.text("<uuid:1>-S0", &format!("{A}-S1")), "agents are not");
        let bytes = BASE64_STANDARD.encode(Uuid::parse_str(A).unwrap().as_bytes());
        assert!(bindings.text("<b64uuid:1>", &bytes), "base64 shares the numbers");
        assert!(!bindings.text("<b64uuid:4>", &bytes));
        assert_eq!(bindings.fill(&json!({ "id": "<uuid:1>-S0" })), json!({ "id": format!("{A}-S0") }));
        assert!(bindings.text("<uuid:3>", B), "a failed attempt leaves nothing behind");
    }

    #[test]
    fn texts_and_paths_fit_their_form() {
        let mut bindings = Bindings::default();
        bindings.know("work_dir:a1", "/run/a1");
        assert!(bindings.text("<work_dir:a1>/slaves/<uuid:1>-S0", &format!("/run/a1/slaves/{A}-S0")));
        assert!(!bindings.text("<work_dir:a1>/slaves", "/run/a2/slaves"));
        assert!(bindings.text("'<registry not reachable>\n'", "'dial tcp: no route\n'"));
        assert!(!bindings.text("'<registry not reachable>\n'", "'\n'"));
        assert!(bindings.text("<b> is <no placeholder>", "<b> is <no placeholder>"));
        assert!(!bindings.text("<date>", "yesterday"));
    }

    #[test]
    fn documents_differ_where_they_differ() {
        let same = json!({"a": 15.0, "b": ["x", {"t": "<time>"}], "n": null, "ns": "<time-ns>"});
        assert_eq!(fits(&same, &json!({"b": ["x", {"t": 1.5e9}], "a": 15, "n": null, "ns": 15})), Ok(()));
        for (got, path) in [
            (json!({"a": 15.1, "b": ["x", {"t": 1}], "n": null, "ns": 1}), "$.a"),
            (json!({"a": 15, "b": ["y", {"t": 1}], "n": null, "ns": 1}), "$.b[0]"),
            (json!({"a": 15, "b": ["x", {"t": 0}], "n": null, "ns": 1}), "$.b[1].t"),
            (json!({"a": 15, "b": ["x", {"t": 1}, 2], "n": null, "ns": 1}), "$.b[2]"),
            (json!({"a": 15, "b": ["x"], "n": null, "ns": 1}), "$.b[1]"),
            (json!({"a": 15, "b": ["x", {"t": 1}], "ns": 1}), "$.n"),
            (json!({"a": 15, "b": ["x", {"t": 1}], "n": null, "ns": 1.5}), "$.ns"),
            (json!({"a": 15, "b": ["x", {"t": 1}], "n": null, "ns": 1, "more": 1}), "$.more"),
            (json!({"a": "15.0", "b": ["x", {"t": 1}], "n": null, "ns": 1}), "$.a"),
        ] {
            assert_eq!(fits(&same, &got).map_err(|d| d.path), Err(path.to_owned()), "{got}");
        }
    }

    #[test]
    fn free_order_still_wants_each_once() {
        let expected = json!([{"id": "<uuid:1>", "n": 1}, {"id": "<uuid:2>", "n": 2}]);
        let free = |got: Value| Bindings::default().value(&expected, &got, "$", Order::Free).is_ok();
        assert!(free(json!([{"id": A, "n": 2}, {"id": B, "n": 1}])));
        assert!(!free(json!([{"id": A, "n": 2}, {"id": B, "n": 2}])));
        assert!(!free(json!([{"id": A, "n": 2}, {"id": A, "n": 1}])), "two numbers, one id");
        assert!(!free(json!([{"id": A, "n": 2}])));
        assert!(fits(&expected, &json!([{"id": A, "n": 2}, {"id": B, "n": 1}])).is_err());
    }

    #[test]
    fn only_stable_bodies_have_a_length() {
        assert!(keeps_length(&json!({"id": "<uuid:1>", "n": 3})));
        assert!(!keeps_length(&json!({"id": "<uuid:1>", "t": ["<time>"]})));
    }
}

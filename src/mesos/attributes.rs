//! Attributes of agents in Mesos's text notation.

use super::resources::Resources;
use super::types::{Attribute, Scalar, Text, ValueType};

/// Reads `rack:r1;level:3;span:[1-5,7-7]`: each value is taken for ranges, else a number, else text. Their order is kept.
///
/// # Errors
/// If a part isn't `name:value`, or is a range that isn't well-formed. Sets are for resources alone.
pub fn parse(text: &str) -> Result<Vec<Attribute>, String> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(parse_one).collect()
}

fn parse_one(part: &str) -> Result<Attribute, String> {
    let bad = || format!("'{part}' is not an attribute; expected name:text, name:2.5 or name:[1-9]");
    let (name, value) = part.split_once(':').ok_or_else(bad)?;
    let (name, value) = (name.trim(), value.trim());
    let mut attribute =
        Attribute { name: name.to_owned(), kind: ValueType::Text, scalar: None, ranges: None, set: None, text: None };
    if name.is_empty() || value.is_empty() || value.starts_with('{') {
        return Err(bad());
    }
    if value.starts_with('[') {
        let ranges = Resources::parse(part).map_err(|_| bad())?;
        attribute.kind = ValueType::Ranges;
        attribute.ranges = ranges.to_wire(None).into_iter().find_map(|part| part.ranges);
    } else if let Ok(value) = value.parse() {
        attribute.kind = ValueType::Scalar;
        attribute.scalar = Some(Scalar { value });
    } else {
        attribute.text = Some(Text { value: value.to_owned() });
    }
    Ok(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the recording `subscribe-static-reservation-attributes`.
    #[test]
    fn the_notation_reads_every_kind() {
        let all = parse("rack:r1;level:3;span:[1-5,7-7]").unwrap();
        let kinds: Vec<_> = all.iter().map(|a| (a.name.as_str(), a.kind)).collect();
        assert_eq!(kinds, [("rack", ValueType::Text), ("level", ValueType::Scalar), ("span", ValueType::Ranges)]);
        assert_eq!(all[2].ranges.as_ref().map(|r| r.range.len()), Some(2));
        assert_eq!(parse(""), Ok(Vec::new()));
        for bad in ["rack", ":x", "a:", "a:[9-1]", "a:{x}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

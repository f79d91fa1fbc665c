//! Times in scenario files: a whole number and a unit.

/// Units that files may use, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Nothing in a scenario lasts longer than a day.
const MAX_MS: u64 = 24 * 3_600_000;
/// What is allowed, for messages.
pub(super) const ALLOWED: &str = "a whole number and a unit: \"250ms\", \"15s\", \"2m\", \"1h\"";

/// Milliseconds of `15s`.
///
/// # Errors
/// A sentence on what is wrong with the text.
pub fn parse_ms(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("'{text}' is not a time"));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(if unit.is_empty() {
            format!("'{text}' has no unit")
        } else {
            format!("'{unit}' is not a unit of time")
        });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
        .filter(|ms| *ms <= MAX_MS)
        .ok_or_else(|| format!("'{text}' is more than a day"))
}

/// Both ends of `2s..8s`.
///
/// # Errors
/// A sentence on what is wrong with the text.
pub fn parse_range_ms(text: &str) -> Result<(u64, u64), String> {
    let Some((low, high)) = text.split_once("..") else {
        let both = parse_ms(text)?;
        return Ok((both, both));
    };
    let (low, high) = (parse_ms(low)?, parse_ms(high)?);
    if low > high {
        return Err(format!("'{text}' ends before it begins"));
    }
    Ok((low, high))
}

/// `15s`, as files write it: the largest unit that divides it.
#[must_use]
pub fn format_ms(ms: u64) -> String {
    UNITS
        .iter()
        .rev()
        .find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor))
        .map_or_else(|| format!("{ms}ms"), |(unit, factor)| format!("{}{unit}", ms / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_needed_and_known() {
        assert_eq!(parse_ms("250ms"), Ok(250));
        assert_eq!(parse_ms("2m"), Ok(120_000));
        assert!(parse_ms("15").is_err_and(|why| why.contains("no unit")));
        assert!(parse_ms("15sec").is_err_and(|why| why.contains("'sec' is not a unit")));
        assert!(parse_ms("s").is_err_and(|why| why.contains("not a time")));
        assert!(parse_ms("99999999999999999999h").is_err_and(|why| why.contains("a day")));
        assert_eq!(parse_range_ms("2s..8s"), Ok((2_000, 8_000)));
        assert!(parse_range_ms("8s..2s").is_err_and(|why| why.contains("ends before")));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0u64..=MAX_MS) {
            prop_assert_eq!(parse_ms(&format_ms(ms)), Ok(ms));
        }
    }
}

//! Names of images, checked as the `docker` command line does before it asks the engine.

/// Longest tag.
const TAG_MAX: usize = 128;
/// Fewest digits of a digest.
const DIGEST_MIN: usize = 32;

/// Checks `[registry/]name[:tag][@digest]`.
///
/// # Errors
/// What the command line says.
pub fn check(image: &str) -> Result<(), String> {
    // A first part with a dot, a colon or a capital is the registry's name.
    let is_registry = |first: &str| first.contains(['.', ':']) || first == "localhost" || has_capitals(first);
    let rest = match image.split_once('/') {
        Some((first, rest)) if is_registry(first) => rest,
        _ => image,
    };
    let (tagged, digest) = rest.split_once('@').map_or((rest, None), |(tagged, digest)| (tagged, Some(digest)));
    let (name, tag) = tagged.split_once(':').map_or((tagged, None), |(name, tag)| (name, Some(tag)));
    if has_capitals(name) {
        return Err(format!("invalid reference format: repository name ({name}) must be lowercase"));
    }
    match name.split('/').all(is_name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest) {
        true => Ok(()),
        false => Err("invalid reference format".to_owned()),
    }
}

fn has_capitals(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

/// Letters and digits with single separators between them: a dot, one or two underscores, or dashes.
fn is_name(part: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = part.split(is_letter).filter(|separator| !separator.is_empty());
    let is_separator = |s: &str| matches!(s, "." | "_" | "__") || s.chars().all(|c| c == '-');
    part.starts_with(is_letter) && part.ends_with(is_letter) && separators.all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= TAG_MAX && tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= DIGEST_MIN && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_by_the_command_line() {
        let refused = |image: &str| check(image).expect_err("refused");
        assert_eq!(refused("Bad//Name::"), "invalid reference format: repository name (/Name) must be lowercase");
        assert_eq!(
            refused("library/Node:1"),
            "invalid reference format: repository name (library/Node) must be lowercase"
        );
        for bad in
            [":latest", "a//b:1", "a:", "a:-x", "-a:1", "a-:1", "a..b:1", "a___b:1", "a b:1", "a@sha256:1", "a@b"]
        {
            assert_eq!(refused(bad), "invalid reference format", "{bad}");
        }
        let digest = format!("Registry/x@sha256:{}", "AB".repeat(32));
        for fine in ["bb:local", "registry.invalid:5000/x/y:1", "stormbed-node:RC1", "a__b/c--d.e:_1.2-x", "a", &digest]
        {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}

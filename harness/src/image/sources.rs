//! The Debian archive that this machine's apt already uses, so that images come from the same mirror. Third-party
//! repositories on the machine are none of our business and are left out.

use std::path::Path;

/// One archive: where, and which suites of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Base address.
    pub uri: String,
    /// Suites (`bookworm`, `bookworm-updates`, …).
    pub suites: Vec<String>,
}

/// Keyring of Debian's archive: the same place on Debian machines and in the image itself.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's own sources among the apt sources in `directory` (`/etc/apt`); none if `suite` itself isn't among them.
#[must_use]
pub fn of_machine(directory: &Path, suite: &str) -> Vec<Source> {
    let mut files = vec![directory.join("sources.list")];
    if let Ok(entries) = std::fs::read_dir(directory.join("sources.list.d")) {
        files.extend(entries.flatten().map(|e| e.path()));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => found.extend(one_line(&text, suite)),
            Some("sources") => found.extend(deb822(&text, suite)),
            _ => {}
        }
    }
    if !found.iter().any(|s| s.suites.iter().any(|x| x == suite)) {
        return Vec::new();
    }
    found
}

/// The sources as a deb822 file for mmdebstrap. Free of dates and comments: it is part of what a tag is made of.
#[must_use]
pub fn to_deb822(sources: &[Source]) -> String {
    let signed = if Path::new(KEYRING).exists() { format!("Signed-By: {KEYRING}\n") } else { String::new() };
    let stanza = |s: &Source| {
        let suites = s.suites.join(" ");
        format!("Types: deb\nURIs: {}\nSuites: {suites}\nComponents: main\n{signed}", s.uri)
    };
    sources.iter().map(stanza).collect::<Vec<_>>().join("\n")
}

/// Debian's own: the suite itself, its updates or security, with the component `main`, under a path that says Debian.
fn debians(uri: &str, suites: &[&str], components: &[&str], suite: &str) -> Option<Source> {
    let suites: Vec<String> = suites
        .iter()
        .filter(|s| s.strip_prefix(suite).is_some_and(|rest| matches!(rest, "" | "-updates" | "-security")))
        .map(|s| (*s).to_owned())
        .collect();
    let ours = !suites.is_empty() && components.contains(&"main") && uri.contains("debian");
    ours.then(|| Source { uri: uri.to_owned(), suites })
}

fn one_line(text: &str, suite: &str) -> Vec<Source> {
    let line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = line.strip_prefix("deb ")?.trim();
        // Options in brackets (`[signed-by=…]`) may hold spaces.
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (uri, name) = (words.first()?, words.get(1)?);
        debians(uri, &[name], &words[2..], suite)
    };
    text.lines().filter_map(line).collect()
}

fn deb822(text: &str, suite: &str) -> Vec<Source> {
    let clean: String =
        text.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |text, line| text + line + "\n");
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            let value = stanza.lines().find_map(|l| {
                let (key, value) = l.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then_some(value)
            });
            value.unwrap_or_default().split_whitespace().collect::<Vec<_>>()
        };
        if field("Enabled").first() == Some(&"no") || !field("Types").contains(&"deb") {
            return None;
        }
        debians(field("URIs").first()?, &field("Suites"), &field("Components"), suite)
    };
    clean.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_own_sources_are_taken() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let parts = dir.path().join("sources.list.d");
        std::fs::create_dir(&parts)?;
        std::fs::write(
            dir.path().join("sources.list"),
            "# comment\ndeb [signed-by=/a b] http://m.example/debian bookworm main contrib\n\
             deb http://m.example/debian trixie main\ndeb-src http://m.example/debian bookworm main\n",
        )?;
        std::fs::write(parts.join("docker.list"), "deb https://d.example/linux/debian bookworm stable\n")?;
        std::fs::write(
            parts.join("debian.sources"),
            "Types: deb\n# dated comment\nURIs: http://m.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
             Types: deb\nURIs: http://p.example/debian\nSuites: bookworm-pgdg\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n",
        )?;
        std::fs::write(parts.join("x.list.disabled"), "deb http://x/debian bookworm main\n")?;
        let found = of_machine(dir.path(), "bookworm");
        let uris: Vec<&str> = found.iter().map(|s| s.uri.as_str()).collect();
        assert_eq!(uris, ["http://m.example/debian", "http://m.example/debian-security"]);
        let text = to_deb822(&found);
        assert!(!text.contains("dated") && text.contains("Suites: bookworm-security\n"));
        Ok(())
    }

    #[test]
    fn a_machine_of_another_release_has_none() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("sources.list"), "deb http://m/debian trixie main\n")?;
        assert_eq!(of_machine(dir.path(), "bookworm"), []);
        Ok(())
    }
}

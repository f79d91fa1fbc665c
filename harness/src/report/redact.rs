//! What must not leave the house, taken out of a run's folder: addresses, tokens, keys, names of this machine and its user. Equal
//! things stay equal, and addresses stay addresses (those reserved for documentation), so that the evidence can still be followed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Addresses for documentation.
const V6_DOCUMENTED: &str = "2001:db8::";
/// A block of addresses that no card has: locally administered.
const MAC_DOCUMENTED: &str = "02:00:5e:10";
/// In the place of a secret.
const GONE: &str = "[redacted]";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a unit test uses every pattern")
}

static IPV4: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"));
static IPV6: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*:[0-9A-Fa-f]{0,4}\b"));
static MAC: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b"));
/// A whole private key on one line (as JSON writes it).
static PRIVATE_KEY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"));
static PUBLIC_KEY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/]{40,}=*"));
/// `token=…`, `token …`, `"token": "…"`, and what looks like one of ours (24 bytes in hexadecimal).
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)\b(token["']?\s*[=: ]\s*["']?)[A-Za-z0-9._~-]{16,}|\b[0-9a-f]{48}\b"#));
const KEY_BEGINS: &str = "-----BEGIN ";
const KEY_ENDS: &str = "-----END ";
const KEY: &str = "PRIVATE KEY-----";

/// Takes things out of texts. Equal things become equal ones in all texts that it is given.
#[derive(Debug, Default)]
pub struct Redactor {
    /// Words of this machine, and what stands for them; longer ones first.
    words: Vec<(String, &'static str)>,
    addresses: BTreeMap<String, String>,
    /// Within a private key of several lines.
    in_key: bool,
}

impl Redactor {
    /// Takes out these names as well: the host's, the user's, the home directory.
    #[must_use]
    pub fn new(names: &[(&str, &'static str)]) -> Self {
        // A single letter would take every word apart.
        let names = names.iter().filter(|(name, _)| name.len() > 2);
        let mut words: Vec<(String, &'static str)> = names.map(|(name, to)| ((*name).to_owned(), *to)).collect();
        words.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { words, ..Self::default() }
    }

    /// The names of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let home = std::env::var("HOME").unwrap_or_default();
        let user = std::env::var("USER").unwrap_or_default();
        // Every container has a root, and it tells nothing.
        let user = if user == "root" { String::new() } else { user };
        let home = if home == "/root" { String::new() } else { home };
        Self::new(&[(&host, "this-machine"), (&home, "/home/user"), (&user, "user")])
    }

    /// One line, without what must not leave.
    pub fn line(&mut self, line: &str) -> String {
        let mut text = PRIVATE_KEY.replace_all(line, GONE).into_owned();
        if self.in_key || (text.contains(KEY_BEGINS) && text.contains(KEY)) {
            self.in_key = !text.contains(KEY_ENDS);
            return GONE.to_owned();
        }
        text = PUBLIC_KEY.replace_all(&text, format!("$1 {GONE}")).into_owned();
        text = TOKEN.replace_all(&text, format!("${{1}}{GONE}")).into_owned();
        for (word, to) in &self.words {
            text = text.replace(word, to);
        }
        for pattern in [&MAC, &IPV6, &IPV4] {
            text = pattern.replace_all(&text, |found: &Captures<'_>| self.address(&found[0])).into_owned();
        }
        text
    }

    /// What stands for an address: the next one of those reserved for documentation (RFC 5737, 3849).
    fn address(&mut self, found: &str) -> String {
        let is_plain =
            |v4: Ipv4Addr| v4.is_loopback() || v4.is_unspecified() || v4.is_broadcast() || v4.is_documentation();
        let number = self.addresses.len();
        let replaced = if let Ok(v4) = found.parse::<Ipv4Addr>() {
            if is_plain(v4) {
                return found.to_owned();
            }
            document(number).to_string()
        } else if found.starts_with(MAC_DOCUMENTED) || found.starts_with(V6_DOCUMENTED) {
            return found.to_owned();
        } else if MAC.is_match(found) {
            let [.., high, low] = u64::try_from(number).unwrap_or(0).to_be_bytes();
            format!("{MAC_DOCUMENTED}:{high:02x}:{low:02x}")
        } else {
            match found.parse::<Ipv6Addr>() {
                Ok(v6) if !v6.is_loopback() && !v6.is_unspecified() => format!("{V6_DOCUMENTED}{number:x}"),
                // A time, a ratio, a label.
                _ => return found.to_owned(),
            }
        };
        self.addresses.entry(found.to_owned()).or_insert(replaced).clone()
    }

    /// Every file of a folder and of those below. Links stay as they are.
    ///
    /// # Errors
    /// If a file can't be read or written; what was done before stays done.
    pub fn folder(&mut self, folder: &Path) -> std::io::Result<()> {
        let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.folder(&entry.path())?;
            } else if kind.is_file() {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Beside, and then in the place of the file: half a file would tell half of a secret.
    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("redacted");
        let mut from = BufReader::new(std::fs::File::open(path)?);
        let mut to = BufWriter::new(std::fs::File::create(&new)?);
        let mut line = Vec::new();
        self.in_key = false;
        while from.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            writeln!(to, "{}", self.line(text))?;
            line.clear();
        }
        to.flush()?;
        std::fs::rename(new, path)
    }
}

/// The n-th address of the three networks for documentation; beyond them those that nobody may use (240.0.0.0/4).
fn document(number: usize) -> Ipv4Addr {
    const NETWORKS: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let last = u8::try_from(number % 254 + 1).unwrap_or(1);
    match NETWORKS.get(number / 254) {
        Some([a, b, c]) => Ipv4Addr::new(*a, *b, *c, last),
        None => Ipv4Addr::from(0xf000_0000 + u32::try_from(number).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&[("workstation-7", "this-machine"), ("/home/ada", "/home/user"), ("ada", "user")])
    }

    #[test]
    fn nothing_that_must_stay_leaves() {
        let mut it = redactor();
        let secret = "0123456789abcdef0123456789abcdef0123456789abcdef";
        for line in [
            format!("GET /api?token={secret} from 10.1.2.3"),
            format!("{{\"token\": \"{secret}\"}}"),
            format!("Authorization: token {secret}"),
            format!("a line with {secret} in it"),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0123456789012345678901234567890123456789 root".to_owned(),
            "{\"key\":\"-----BEGIN OPENSSH PRIVATE KEY-----\\nAAAA\\n-----END OPENSSH PRIVATE KEY-----\"}".to_owned(),
            "ada@workstation-7:/home/ada/runs fe80::1ff:fe23:4567:890a 02:42:ac:11:00:02".to_owned(),
        ] {
            let told = it.line(&line);
            for gone in [secret, "10.1.2.3", "AAAA", "ada", "workstation", "fe80", "02:42:ac"] {
                assert!(!told.contains(gone), "{gone} in {told}");
            }
        }
    }

    #[test]
    fn a_key_of_several_lines_goes_whole_and_the_rest_stays() {
        let mut it = redactor();
        let lines = ["before", "-----BEGIN RSA PRIVATE KEY-----", "c2VjcmV0", "-----END RSA PRIVATE KEY-----", "after"];
        let told: Vec<String> = lines.iter().map(|line| it.line(line)).collect();
        assert_eq!(told, ["before", GONE, GONE, GONE, "after"]);
    }

    #[test]
    fn equal_addresses_stay_equal_and_what_is_no_address_stays() {
        let mut it = redactor();
        let told =
            it.line("198.18.0.41 -> 198.18.0.42 -> 198.18.0.41 at 12:34:56 by 127.0.0.1 v1.2.3 2026-11-20T20:24:00Z");
        assert_eq!(told, "192.0.2.1 -> 192.0.2.2 -> 192.0.2.1 at 12:34:56 by 127.0.0.1 v1.2.3 2026-11-20T20:24:00Z");
        let id = "sha256:9bad7b8a0ba89bad7b8a0ba89bad7b8a0ba89bad7b8a0ba89bad7b8a0ba8abcd";
        assert_eq!(it.line(id), id);
    }

    #[test]
    fn a_folder_is_redacted_with_all_below_and_its_documents_stay_documents() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let below = folder.path().join("logs");
        std::fs::create_dir(&below).expect("it can be made");
        let report = crate::report::sample::report();
        let text = serde_json::to_string(&report).expect("plain data");
        std::fs::write(folder.path().join("report.json"), text).expect("written");
        std::fs::write(below.join("x.log"), "from 10.1.2.3\n\u{fffd} no end").expect("written");
        redactor().folder(folder.path()).expect("it is ours");
        assert_eq!(std::fs::read_to_string(below.join("x.log")).expect("there"), "from 192.0.2.1\n\u{fffd} no end\n");
        let back = std::fs::read_to_string(folder.path().join("report.json")).expect("there");
        assert_eq!(serde_json::from_str::<crate::report::Report>(&back).expect("a report"), report);
        assert_eq!(std::fs::read_dir(&below).expect("there").count(), 1, "nothing is left beside");
    }

    proptest! {
        #[test]
        fn no_address_of_any_kind_gets_through(bytes: [u8; 4], text in "[a-z =:/\"]{0,8}") {
            let address = Ipv4Addr::from(bytes);
            prop_assume!(!address.is_loopback() && !address.is_unspecified() && !address.is_broadcast());
            prop_assume!(!address.is_documentation());
            let told = redactor().line(&format!("{text} {address} {text}"));
            prop_assert!(!told.contains(&address.to_string()), "{}", told);
        }
    }
}

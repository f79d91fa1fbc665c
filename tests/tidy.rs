//! The house rules, enforced: pure cores stay pure, nothing unwraps outside tests, functions fit a screen, files hold one idea.
//!
//! A core is a file called `core.rs` or a file below a folder called `core`, and the judge's pure folders named in [`PURE`].
//! Sources are read as tokens (comments and strings never count); `#[cfg(test)]` modules and `#[test]` functions are left out.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ra_ap_rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

/// A function longer than this doesn't fit a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// A file longer than this holds a second idea. Tests in it don't count.
const FILE_LINES_MAX: usize = 500;
/// Folders of the harness that are pure as well.
const PURE: &[&str] = &["harness/src/invariant", "harness/src/history"];
/// Names that bring a clock, chance, or an order that changes between runs into a core, wherever they stand.
const BANNED_NAMES: &[&str] =
    &["Instant", "SystemTime", "Clock", "Uuid", "HashMap", "HashSet", "TcpStream", "UdpSocket", "async"];
/// Modules that do so when they stand in a path (`fs::read`).
const BANNED_MODULES: &[&str] =
    &["rand", "tokio", "reqwest", "bollard", "hyper", "axum", "fs", "env", "process", "thread"];
/// Macros that do so.
const BANNED_MACROS: &[&str] = &["println", "eprintln", "print", "dbg"];

/// A token that means something, and its line (from 1).
struct Token<'a> {
    text: &'a str,
    ident: bool,
    line: usize,
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let (mut at, mut line, mut out) = (0, 1, Vec::new());
    for token in tokenize(source, FrontmatterAllowed::No) {
        let text = &source[at..at + token.len as usize];
        at += token.len as usize;
        let silent = matches!(
            token.kind,
            TokenKind::Whitespace
                | TokenKind::LineComment { .. }
                | TokenKind::BlockComment { .. }
                | TokenKind::Literal { .. }
        );
        if !silent {
            out.push(Token { text, ident: token.kind == TokenKind::Ident, line });
        }
        line += text.matches('\n').count();
    }
    out
}

struct Source<'a> {
    path: &'a Path,
    tokens: Vec<Token<'a>>,
    findings: Vec<String>,
}

impl<'a> Source<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn found(&mut self, at: usize, what: &str) {
        let line = self.tokens[at].line;
        self.findings.push(format!("{}:{line}: {what}", self.path.display()));
    }

    /// The index of the bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.tokens.len() {
            match self.text(at) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }

    /// The body of the item that begins at `at`, if it has one: from `{` to `}`.
    fn body(&self, mut at: usize) -> Option<Range<usize>> {
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => return Some(at..self.closing(at)),
                ";" => return None,
                "(" | "[" => at = self.closing(at) + 1,
                _ => at += 1,
            }
        }
        None
    }

    /// The test item that the attribute at `at` announces, if it is such an attribute.
    fn test_item(&self, at: usize) -> Option<Range<usize>> {
        if self.text(at) != "#" || self.text(at + 1) != "[" {
            return None;
        }
        let end = self.closing(at + 1);
        let words: Vec<_> = (at + 2..end).map(|i| self.text(i)).collect();
        let test = words == ["cfg", "(", "test", ")"] || words == ["test"] || words.ends_with(&[":", ":", "test"]);
        let body = if test { self.body(end + 1) } else { None };
        body.map(|body| at..body.end + 1)
    }

    /// Checks every rule outside of tests; returns the number of lines that tests take.
    fn check(&mut self, core: bool) -> usize {
        let (mut at, mut test_lines) = (0, 0);
        while at < self.tokens.len() {
            if let Some(test) = self.test_item(at) {
                test_lines += self.tokens[test.end - 1].line - self.tokens[test.start].line + 1;
                at = test.end;
                continue;
            }
            if self.text(at) == "fn" && self.tokens[at + 1].ident {
                self.function(at);
            }
            if self.text(at) == "." && self.text(at + 1) == "unwrap" {
                self.found(at, "unwrap outside tests; return an error, or expect(\"why this can't happen\")");
            }
            if core && self.tokens[at].ident {
                self.in_core(at);
            }
            at += 1;
        }
        test_lines
    }

    fn function(&mut self, at: usize) {
        let Some(body) = self.body(at) else { return };
        let lines = self.tokens[body.end].line - self.tokens[at].line + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = self.text(at + 1);
            self.found(at, &format!("function {name} has {lines} lines, {FUNCTION_LINES_MAX} allowed; split it"));
        }
    }

    fn in_core(&mut self, at: usize) {
        let text = self.text(at);
        let in_path = self.text(at + 1) == ":" && self.text(at + 2) == ":"
            || at >= 2 && self.text(at - 1) == ":" && self.text(at - 2) == ":";
        if BANNED_NAMES.contains(&text)
            || in_path && BANNED_MODULES.contains(&text)
            || self.text(at + 1) == "!" && BANNED_MACROS.contains(&text)
        {
            self.found(at, &format!("'{text}' in a core; let the shell do it and hand the core an event"));
        }
    }
}

fn is_core(path: &Path) -> bool {
    PURE.iter().any(|folder| path.starts_with(folder))
        || path.file_name().is_some_and(|name| name == "core.rs")
        || path.parent().is_some_and(|parent| parent.components().any(|part| part.as_os_str() == "core"))
}

/// Whether the file is a test module of its own.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "fixture" || stem.to_string_lossy().ends_with("_tests"))
}

fn check(path: &Path, text: &str) -> Vec<String> {
    let mut source = Source { path, tokens: tokens(text), findings: Vec::new() };
    let lines = text.lines().count() - source.check(is_core(path));
    if lines > FILE_LINES_MAX {
        source.findings.push(format!(
            "{}: {lines} lines without tests, {FILE_LINES_MAX} allowed; which idea can move out?",
            path.display()
        ));
    }
    source.findings
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

#[test]
fn the_house_rules_hold() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files)?;
    sources(&root.join("harness/src"), &mut files)?;
    assert!(files.len() > 10, "found only {} sources below {}", files.len(), root.display());
    let mut all = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        if !is_test_file(name) {
            all.extend(check(name, &std::fs::read_to_string(&file)?));
        }
    }
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
    Ok(())
}

#[test]
fn the_rules_can_fail() {
    let cases = [
        ("src/a/core.rs", "fn f() { let _ = std::time::Instant::now(); }", "Instant"),
        ("src/a/core/x.rs", "use std::collections::HashMap; ", "HashMap"),
        ("src/a/core.rs", "async fn f() {}", "async"),
        ("src/a/core.rs", "fn f() { let _ = rand::random::<u8>(); }", "rand"),
        ("src/a/core.rs", "fn f() { std::fs::read(\"x\").ok(); }", "fs"),
        ("src/a/core.rs", "fn f() { let _ = format!(\"{:?}\", Instant::now()); }", "Instant"),
        ("src/a/core.rs", "fn f() { println!(\"x\"); }", "println"),
        ("harness/src/invariant/x.rs", "fn f() { std::env::var(\"x\").ok(); }", "env"),
        ("src/a/shell.rs", "fn f() { Some(1).unwrap(); }", "unwrap"),
        ("src/a/shell.rs", "fn f() { println!(\"{}\", Some(1).unwrap()); }", "unwrap"),
        ("src/a/shell.rs", "#[cfg(test)]\nmod t { }\nfn f() { Some(1).unwrap(); }", "unwrap"),
    ];
    for (path, text, expected) in cases {
        let findings = check(Path::new(path), text);
        assert!(findings.iter().any(|f| f.contains(expected)), "{path}: {text} passed: {findings:?}");
    }
    let long = format!("fn f() {{\n{}}}", "g();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(check(Path::new("src/a/shell.rs"), &long).len(), 1);
    let file = "fn g() {}\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(check(Path::new("src/a/shell.rs"), &file).len(), 1);
    let fine = [
        "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { Some(std::time::Instant::now()).unwrap(); } }",
        "// Instant::now().unwrap()\nfn f() -> &'static str { \"HashMap .unwrap()\" }",
        "fn f(process: u8) -> u8 { process }",
        "#[test]\nfn f() { Some(1).unwrap(); }",
    ];
    for text in fine {
        assert!(check(Path::new("src/a/core.rs"), text).is_empty(), "{text}");
    }
}

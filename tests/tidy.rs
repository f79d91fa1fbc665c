//! The house rules, enforced: pure cores stay pure, nothing unwraps outside tests, functions fit a screen, files hold one idea.
//!
//! A core is a file called `core.rs` or a file below a folder called `core`, plus the judge's pure halves named in [`PURE`].

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A function longer than this doesn't fit a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// A file longer than this holds a second idea. Tests in it don't count.
const FILE_LINES_MAX: usize = 500;
/// Identifiers that bring a clock, chance, I/O, or an order that changes between runs into a core.
const BANNED_IN_CORES: &[&str] = &[
    "Instant",
    "SystemTime",
    "Clock",
    "rand",
    "thread_rng",
    "Uuid",
    "tokio",
    "reqwest",
    "bollard",
    "hyper",
    "axum",
    "HashMap",
    "HashSet",
    "fs",
    "env",
    "process",
    "thread",
    "TcpStream",
    "UdpSocket",
    "println",
    "eprintln",
    "tracing",
];
/// Folders of the harness that are pure as well.
const PURE: &[&str] = &["harness/src/invariant", "harness/src/history"];
const UNWRAP: &str = "unwrap outside tests; return an error, or expect(\"why this can't happen\")";

struct Rules<'a> {
    file: &'a Path,
    core: bool,
    findings: Vec<String>,
}

impl Rules<'_> {
    fn found(&mut self, span: Span, what: &str) {
        let at = span.start().line;
        self.findings
            .push(format!("{}:{at}: {what}", self.file.display()));
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let name = &signature.ident;
        let lines = block.span().end().line - block.span().start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.found(
                name.span(),
                &format!(
                    "function {name} has {lines} lines, {FUNCTION_LINES_MAX} allowed; split it"
                ),
            );
        }
        if self.core && signature.asyncness.is_some() {
            self.found(
                name.span(),
                "async in a core; cores are plain state machines",
            );
        }
    }

    fn ident(&mut self, ident: &syn::Ident) {
        if self.core && BANNED_IN_CORES.iter().any(|banned| ident == banned) {
            self.found(
                ident.span(),
                &format!("'{ident}' in a core; let the shell do it and hand the core an event"),
            );
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut after_dot = false;
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    if after_dot && ident == "unwrap" {
                        self.found(ident.span(), UNWRAP);
                    }
                    if !after_dot {
                        self.ident(&ident);
                    }
                    after_dot = false;
                }
                TokenTree::Punct(punct) => after_dot = punct.as_char() == '.',
                TokenTree::Literal(_) => after_dot = false,
            }
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test")))
    })
}

impl<'ast> Visit<'ast> for Rules<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "unwrap" {
            self.found(call.method.span(), UNWRAP);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        if self.core {
            self.found(
                block.async_token.span,
                "async in a core; cores are plain state machines",
            );
        }
        visit::visit_expr_async(self, block);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1
            || path
                .segments
                .iter()
                .any(|s| s.ident.to_string().starts_with(char::is_uppercase))
        {
            for segment in &path.segments {
                self.ident(&segment.ident);
            }
        }
        visit::visit_path(self, path);
    }

    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        self.ident(&path.ident);
        visit::visit_use_path(self, path);
    }

    fn visit_use_name(&mut self, name: &'ast syn::UseName) {
        self.ident(&name.ident);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        for segment in &mac.path.segments {
            self.ident(&segment.ident);
        }
        self.tokens(mac.tokens.clone());
    }
}

fn is_core(path: &Path) -> bool {
    PURE.iter().any(|folder| path.starts_with(folder))
        || path.file_name().is_some_and(|name| name == "core.rs")
        || path
            .parent()
            .is_some_and(|parent| parent.components().any(|part| part.as_os_str() == "core"))
}

/// Whether the file is a test module of its own.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn check(path: &Path, text: &str) -> Vec<String> {
    let file = match syn::parse_file(text) {
        Ok(file) => file,
        Err(error) => return vec![format!("{}: does not parse: {error}", path.display())],
    };
    let mut rules = Rules {
        file: path,
        core: is_core(path),
        findings: Vec::new(),
    };
    rules.visit_file(&file);
    let tests: usize = file
        .items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Mod(module) if is_test(&module.attrs) => {
                Some(module.span().end().line - module.span().start().line + 1)
            }
            _ => None,
        })
        .sum();
    let lines = text.lines().count() - tests;
    if lines > FILE_LINES_MAX {
        rules.findings.push(format!(
            "{}: {lines} lines without tests, {FILE_LINES_MAX} allowed; which idea can move out?",
            path.display()
        ));
    }
    rules.findings
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
    assert!(
        files.len() > 10,
        "found only {} sources below {}",
        files.len(),
        root.display()
    );
    let mut all = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        if !is_test_file(name) {
            all.extend(check(name, &std::fs::read_to_string(&file)?));
        }
    }
    assert!(
        all.is_empty(),
        "{} findings:\n{}",
        all.len(),
        all.join("\n")
    );
    Ok(())
}

#[test]
fn the_rules_can_fail() {
    let cases = [
        (
            "src/a/core.rs",
            "fn f() { let _ = std::time::Instant::now(); }",
            "Instant",
        ),
        (
            "src/a/core/x.rs",
            "use std::collections::HashMap; ",
            "HashMap",
        ),
        ("src/a/core.rs", "async fn f() {}", "async"),
        (
            "src/a/core.rs",
            "fn f() { let _ = rand::random::<u8>(); }",
            "rand",
        ),
        (
            "src/a/core.rs",
            "fn f() { std::fs::read(\"x\").ok(); }",
            "fs",
        ),
        (
            "src/a/core.rs",
            "fn f() { let _ = format!(\"{:?}\", Instant::now()); }",
            "Instant",
        ),
        ("src/a/core.rs", "fn f() { println!(\"x\"); }", "println"),
        ("src/a/shell.rs", "fn f() { Some(1).unwrap(); }", "unwrap"),
        (
            "src/a/shell.rs",
            "fn f() { println!(\"{}\", Some(1).unwrap()); }",
            "unwrap",
        ),
    ];
    for (path, text, expected) in cases {
        let findings = check(Path::new(path), text);
        assert!(
            findings.iter().any(|f| f.contains(expected)),
            "{path}: {text} passed"
        );
    }
    let long = format!("fn f() {{\n{}}}", "g();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(check(Path::new("src/a/shell.rs"), &long).len(), 1);
    let file = "fn g() {}\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(check(Path::new("src/a/shell.rs"), &file).len(), 1);
    let fine = "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { Some(std::time::Instant::now()).unwrap(); } }";
    assert!(check(Path::new("src/a/core.rs"), fine).is_empty());
}

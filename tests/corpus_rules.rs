//! The rules of the corpus test themselves: what is a difference and what isn't.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "the replayer uses the rest")]

mod corpus {
    pub mod case;
    pub mod flags;
    pub mod holdings;
    pub mod inspect;
    pub mod lanes;
    pub mod matching;
    pub mod refused;
}

use std::path::Path;

/// The shipped recordings are all there, each can be read, and every flag in them means something to us.
#[test]
fn the_shipped_corpus_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = corpus::case::files(&root.join("fixtures/mesos-corpus")).unwrap();
    let cases: Vec<_> = files.iter().map(|file| corpus::case::Case::read(file).unwrap()).collect();
    assert_eq!(cases.len(), 108);
    let names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    let refused = corpus::refused::read(&root.join("fixtures/mesos-corpus-refused.toml"), &names).unwrap();
    for case in cases.iter().filter(|case| !refused.contains_key(&case.name)) {
        for line in case.mesos_flags.values() {
            let translated = corpus::flags::configuration(line, Path::new("/work"));
            assert!(translated.is_ok(), "{}: {translated:?}", case.name);
        }
    }
}

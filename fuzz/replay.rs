// Runs every file of `fuzz/corpus/TARGET` through the body of that target. Included by the tests of
// each crate that has targets, so that corpora are held without the fuzzer.
use std::fs;
use std::path::Path;

/// A corpus has at least one file, or nothing would be held.
#[track_caller]
pub(super) fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", corpus.display());
    for file in files {
        // The name is shown with the message of the body that fails.
        println!("{}", file.display());
        body(&fs::read(&file).unwrap());
    }
}

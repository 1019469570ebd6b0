//! Plugins that misbehave, one fault each, and what the host makes of them; and the good one in C.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod bench;
mod build;
mod calls;
mod condition;
mod conformance;
mod counters;
mod deaths;
mod files;
mod inline;
mod opening;
mod process;
mod sandbox;
mod table;

use std::fs;
use std::path::Path;

#[test]
fn every_plugin_in_the_tree_is_in_a_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = fs::read_dir(here.join("tests/plugins"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let mut plugins = 0;
    for entry in fs::read_dir(here.join("plugins")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let builds_on = ["provider", "sha256"].contains(&name);
        if path.extension().is_some_and(|it| it == "c") && !builds_on {
            assert!(tests.contains(&format!("\"{name}\"")), "{name} is in no test");
            plugins += 1;
        }
    }
    assert!(plugins > 40, "{plugins}");
}

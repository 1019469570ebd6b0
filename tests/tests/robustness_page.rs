//! `docs/robustness.md`, held against the tests that it names.
#![expect(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What begins a command that is too long for the ordinary tests.
const COMMANDS: [&str; 4] = ["./", "cargo ", "target/release/", "TESTS_ROUNDS="];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of all tests in the tree.
fn tests() -> BTreeSet<String> {
    fn walk(path: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                collect(&fs::read_to_string(&path).unwrap(), found);
            }
        }
    }
    /// Takes the function that follows each test attribute.
    fn collect(source: &str, found: &mut BTreeSet<String>) {
        let mut is_test = false;
        for line in source.lines().map(str::trim_start) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let after = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "));
            if let Some(function) = after.filter(|_| is_test) {
                found.insert(function.split('(').next().unwrap().to_owned());
                is_test = false;
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&root(), &mut found);
    assert!(found.len() > 1_000, "{}", found.len());
    found
}

/// The rows of all tables of the page: the section, what happens, and the cell that says what
/// shows it.
fn rows() -> Vec<(String, String, String)> {
    let page = fs::read_to_string(root().join("docs/robustness.md")).unwrap();
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            continue;
        };
        let cells: Vec<_> = row.split(" | ").collect();
        if cells.last() != Some(&"shown by") {
            let (first, last) = (cells.first().unwrap(), cells.last().unwrap());
            rows.push((section.clone(), (*first).to_owned(), (*last).to_owned()));
        }
    }
    assert!(rows.len() > 100, "{}", rows.len());
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let tests = tests();
    let is_command = |name: &str| COMMANDS.iter().any(|command| name.starts_with(command));
    let missing: Vec<_> = rows()
        .into_iter()
        .flat_map(|(.., cell)| quoted(&cell).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| !is_command(name) && !tests.contains(name))
        .filter(|name| !root().join(name).exists())
        .collect();
    assert!(missing.is_empty(), "not in the tree: {missing:#?}");
}

#[test]
fn every_row_is_shown_by_something_or_says_why_not() {
    for (section, what, cell) in rows() {
        let has_reason = cell.strip_prefix("none: ").is_some_and(|reason| reason.len() > 5);
        assert!(has_reason || quoted(&cell).count() > 0, "{section}: {what}: {cell}");
    }
}

//! Libraries that are no plugin that this host can use.

use crate::bench::{check_not_open, faulty};

/// A library that is refused, in a worker and in the host's process.
#[track_caller]
fn check(source: &'static str, part: &str) {
    for provider in [faulty(source), faulty(source).in_process()] {
        let host = provider.start();
        check_not_open(&host, "down", &[part, "install a plugin built for this version"]);
    }
}

#[test]
fn library_without_the_entry_is_refused() {
    check("no_entry", "undefined symbol: sealhost_provider");
}

#[test]
fn entry_that_gives_null_is_refused() {
    check("entry_gives_null", "does not speak ABI version 1");
}

#[test]
fn table_with_another_magic_is_refused() {
    check("wrong_magic", "does not begin with the magic");
}

#[test]
fn table_of_another_version_is_refused() {
    check("other_version", "answers with ABI version 2, not 1");
}

#[test]
fn table_without_a_required_function_is_refused() {
    check("no_mac", "has no function mac");
}

#[test]
fn table_without_last_error_is_refused() {
    check("no_last_error", "has no function last_error");
}

#[test]
fn table_that_ends_within_a_function_lacks_it() {
    check("cut_table", "has no function mac");
}

#[test]
fn table_that_ends_before_its_functions_lacks_them() {
    check("tiny_table", "has no function open");
}

#[test]
fn library_that_crashes_while_it_is_loaded_costs_its_worker() {
    let host = faulty("crashes_on_load").start();
    check_not_open(&host, "down", &["while opening it ended with signal: 11", "tried again"]);
}

#[test]
fn shorter_table_works_and_signs_nothing() {
    let host = faulty("shorter_table").start_open();
    crate::bench::faulty_works(&host);
    let body = serde_json::json!({"usage": "sign", "providers": ["c"]});
    let _unsupported = host.post("/v1/keys/sign", body).problem(400, "unsupported");
}

#[test]
fn longer_table_works() {
    crate::bench::faulty_works(&faulty("longer_table").start_open());
}

//! What plugins tell of failed authorizations, true and false.

use serde_json::{Value, json};

use crate::bench::{faulty, faulty_works};

#[test]
fn last_try_without_numbers_is_shown_with_its_note() {
    let host = faulty("condition_lies").start_open();
    let provider = host.provider("c");
    assert_eq!(provider["lockout"], json!({"last_try": true, "locked": false}));
    assert_eq!(provider["notes"], json!(["one PIN is left"]));
    assert!(host.log().contains("one more locks the device"), "{}", host.log());
    faulty_works(&host);
}

#[track_caller]
fn check(lie: &str, words: &str) {
    let host = faulty("condition_lies").settings(&format!("lie = \"{lie}\"")).start_open();
    assert_eq!(host.provider("c")["lockout"], Value::Null);
    assert!(host.log().contains(words), "{}", host.log());
    faulty_works(&host);
}

#[test]
fn unknown_standing_is_not_shown() {
    check("standing", "unknown standing number");
}

#[test]
fn notes_that_nobody_closed_are_not_shown() {
    check("notes", "notes is not closed UTF-8 text");
}

#[test]
fn plugin_without_the_function_has_no_lockout() {
    let host = faulty("good").start_open();
    assert_eq!(host.provider("c")["lockout"], Value::Null);
}

//! Reading the file again.

use std::fs;

use super::*;

/// Reloads a file of this text over the running [`SHORTEST`].
fn reload(text: &str) -> Result<Reload, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealhost.toml");
    fs::write(&path, text).unwrap();
    load_rules(&path, &parse(SHORTEST))
}

#[track_caller]
fn check_waiting(text: &str, expected: &[&str]) {
    assert_eq!(reload(text).unwrap().waiting, expected);
}

#[test]
fn rules_are_taken_over_and_nothing_waits() {
    let rule = "principal = { uid = 0 }\noperations = [\"status\"]";
    let reload = reload(&with("[[rule]]", rule)).unwrap();
    assert_eq!(reload.rules.len(), 1);
    assert_eq!(reload.waiting, [""; 0]);
}

#[test]
fn default_written_out_does_not_wait() {
    check_waiting(&with("[listen]", "mode = \"0660\""), &[]);
}

#[test]
fn other_section_waits_for_a_restart() {
    check_waiting(&with("[listen]", "mode = \"0600\""), &["[listen]"]);
    check_waiting(&SHORTEST.replace("/var/lib/sealhost", "/var/lib/other"), &["[state]"]);
    check_waiting(&SHORTEST.replace("/var/log", "/srv"), &["[audit]"]);
    check_waiting(&with("[audit]", "keep = 7"), &["[audit]"]);
    check_waiting(&with("[limits]", "in_flight = 7"), &["[limits]"]);
    check_waiting(&with("[sandbox]", "level = \"off\""), &["[sandbox]"]);
    check_waiting(&with("[provider.sandbox]", "files = 64"), &["[[provider]]"]);
    check_waiting(&with("[limits]", "body_timeout = \"7s\""), &["[limits]"]);
    check_waiting(&with("[selection]", "floor = \"software\""), &["[selection]"]);
    check_waiting(&with("[selection]", "fallback_after = \"1s\""), &["[selection]"]);
}

#[test]
fn every_part_of_a_provider_waits_for_a_restart() {
    for (heading, line) in [
        ("[[provider]]", "isolation = \"in-process\"".to_owned()),
        ("[[provider]]", "protection = \"software\"".to_owned()),
        ("[[provider]]", format!("sha256 = \"{}\"", "0".repeat(64))),
        ("[provider.settings]", "a = 1".to_owned()),
        ("[provider.settings]", "a_source = \"file:/a\"".to_owned()),
        ("[provider.env]", "A = \"a\"".to_owned()),
        ("[provider.deadlines]", "open = \"1s\"".to_owned()),
        ("[provider.deadlines]", "queue = \"1s\"".to_owned()),
        ("[provider.deadlines]", "generate = \"1s\"".to_owned()),
        ("[provider.deadlines]", "mac = \"1s\"".to_owned()),
        ("[provider.deadlines]", "queue_length = 1".to_owned()),
    ] {
        check_waiting(&with(heading, &line), &["[[provider]]"]);
    }
    check_waiting(&SHORTEST.replace("/usr/lib", "/opt"), &["[[provider]]"]);
}

#[test]
fn another_provider_or_name_waits_with_the_order_that_follows_from_it() {
    let both = ["[[provider]]", "[selection]"];
    check_waiting(&SHORTEST.replace("\"soft\"", "\"other\""), &both);
    check_waiting(&format!("{SHORTEST}[[provider]]\nname = \"b\"\nplugin = \"/b\""), &both);
}

#[test]
fn broken_file_changes_nothing() {
    let error = reload(&with("[listen]", "mode = 5")).unwrap_err();
    assert!(matches!(error, ConfigError::Faults { .. }), "{error}");
}

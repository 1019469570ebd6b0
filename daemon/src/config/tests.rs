//! The machinery on a file of the sections that every daemon has: each key at its limits and one
//! past them, and how files are opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::audit::Settings;
use crate::http::Timeouts;
use crate::limit::Limits;
use crate::listener::Endpoint;
use crate::rules::{Operation, Rules};

const OPERATIONS: &[Operation] =
    &[Operation { name: "seal", needs_key: true }, Operation { name: "status", needs_key: false }];

#[derive(Debug)]
struct Config {
    listen: Endpoint,
    state_dir: PathBuf,
    rules: Rules,
    audit: Settings,
    limits: Limits,
    timeouts: Timeouts,
}

fn whole(mut root: Section<'_>) -> Read<Config> {
    let listen = sections::listen(&mut root, "socket = \"/run/example.sock\"");
    let state_dir = sections::state_dir(&mut root, "dir = \"/var/lib/example\"");
    let rules = sections::rules(&mut root, OPERATIONS);
    let audit = sections::audit(&mut root, "path = \"/var/log/example.log\"");
    let limits = sections::limits(&mut root);
    root.finish();
    let ((limits, timeouts), rules) = (limits?, rules?);
    let (state_dir, audit) = (state_dir?, audit?);
    Ok(Config { listen: listen?, state_dir, rules, audit, limits, timeouts })
}

/// The shortest file that is accepted.
const SHORTEST: &str = r#"
[listen]
socket = "/run/example.sock"
[state]
dir = "/var/lib/example"
[audit]
path = "/var/log/example.log"
"#;

/// [`SHORTEST`] with more lines in a section: after its heading, or at the end with a new one.
fn with(heading: &str, lines: &str) -> String {
    let start = format!("{heading}\n");
    if SHORTEST.contains(&start) {
        SHORTEST.replace(&start, &format!("{start}{lines}\n"))
    } else {
        format!("{SHORTEST}{start}{lines}\n")
    }
}

fn read(content: &[u8]) -> Result<Config, ConfigError> {
    super::check(Path::new("/f"), content, whole)
}

#[track_caller]
fn parse(text: &str) -> Config {
    read(text.as_bytes()).unwrap()
}

/// Checks the whole list of faults; each is given by its key and the start of its message.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let Err(ConfigError::Faults { faults, .. }) = read(text.as_bytes()) else {
        panic!("{text} has no faults");
    };
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let fits = faults.len() == expected.len()
        && faults.iter().zip(expected).all(|(fault, start)| fault.starts_with(start));
    assert!(fits, "found {faults:#?}, expected {expected:#?}");
}

/// Writes a file of these bytes and mode, and loads it.
fn load(content: &[u8], mode: u32) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("example.toml");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    super::load(&path, whole)
}

#[track_caller]
fn check_error(text: &[u8], expected: &str) {
    assert_eq!(read(text).unwrap_err().to_string(), expected);
}

#[track_caller]
fn check_timeout(text: &str, expected: Result<Duration, &str>) {
    for key in ["head", "body", "write", "drain"] {
        let file = with("[limits]", &format!("{key}_timeout = \"{text}\""));
        match expected {
            Ok(expected) => {
                let found = parse(&file).timeouts;
                let wanted = match key {
                    "head" => Timeouts { head: expected, ..Timeouts::default() },
                    "body" => Timeouts { body: expected, ..Timeouts::default() },
                    "write" => Timeouts { write: expected, ..Timeouts::default() },
                    _ => Timeouts { drain: expected, ..Timeouts::default() },
                };
                assert_eq!(found, wanted);
            }
            Err(problem) => {
                check(&file, &[&format!("[limits] {key}_timeout: {text:?} {problem}")]);
            }
        }
    }
}

#[track_caller]
fn check_mode(text: &str, expected: Option<u32>) {
    let file = with("[listen]", &format!("mode = \"{text}\""));
    match expected {
        Some(mode) => assert_eq!(parse(&file).listen.mode, mode),
        None => check(&file, &[&format!("[listen] mode: {text:?} is not a mode; give three or")]),
    }
}

#[track_caller]
fn check_rule(lines: &str, expected: &[&str]) {
    check(&with("[[rule]]", lines), expected);
}

#[test]
fn shortest_file_has_every_default() {
    let config = parse(SHORTEST);
    let listen = Endpoint { path: "/run/example.sock".into(), mode: 0o660, group: None };
    assert_eq!(config.listen, listen);
    assert_eq!(config.state_dir, Path::new("/var/lib/example"));
    assert_eq!(config.audit, Settings::at("/var/log/example.log"));
    assert_eq!((config.limits, config.timeouts), (Limits::default(), Timeouts::default()));
    assert!(config.rules.is_empty());
}

#[track_caller]
fn check_audit(line: &str, expected: Result<(u64, Option<usize>), &str>) {
    let file = with("[audit]", line);
    match expected {
        Ok(expected) => {
            let audit = parse(&file).audit;
            assert_eq!((audit.rotate_bytes, audit.keep), expected);
        }
        Err(part) => check(&file, &[part]),
    }
}

#[test]
fn rotation_at_its_limits_is_accepted_and_past_them_refused() {
    let bytes = 64 * 1024 * 1024;
    check_audit("rotate_bytes = 0", Ok((0, None)));
    check_audit("rotate_bytes = 16384", Ok((16384, None)));
    check_audit("rotate_bytes = 16383", Err("[audit] rotate_bytes: 16383 is out of range"));
    check_audit("rotate_bytes = -1", Err("[audit] rotate_bytes: -1 is out of range"));
    check_audit("keep = 1", Ok((bytes, Some(1))));
    check_audit("keep = 1000000", Ok((bytes, Some(1_000_000))));
    check_audit("keep = 0", Err("[audit] keep: 0 is out of range"));
    check_audit("keep = 1000001", Err("[audit] keep: 1000001 is out of range"));
}

#[test]
fn timeout_at_limits_is_accepted_and_past_them_refused() {
    check_timeout("10ms", Ok(Duration::from_millis(10)));
    check_timeout("60m", Ok(Duration::from_secs(3600)));
    for text in ["9ms", "3600001ms"] {
        check_timeout(text, Err("is out of range; give a duration from \"10ms\" to \"60m\""));
    }
}

#[test]
fn file_with_safe_modes_is_loaded() {
    for mode in [0o600, 0o644] {
        assert!(load(SHORTEST.as_bytes(), mode).is_ok(), "{mode:o}");
    }
}

#[test]
fn rules_are_taken_over_and_other_sections_wait() {
    let reload = Reload::new(Rules::none(OPERATIONS), [("[listen]", true), ("[state]", false)]);
    assert_eq!(reload.waiting, ["[listen]"]);
    assert!(reload.rules.is_empty());
}

#[test]
fn socket_path_at_limit_is_accepted_and_one_byte_more_is_refused() {
    let of = |bytes: usize| {
        SHORTEST.replace("/run/example.sock", &format!("/{}", "s".repeat(bytes - 1)))
    };
    assert_eq!(parse(&of(107)).listen.path.as_os_str().len(), 107);
    check(&of(108), &["[listen] socket: path of 108 bytes exceeds limit of 107; choose a shorter"]);
}

#[test]
fn mode_is_octal_text_of_permissions() {
    check_mode("0660", Some(0o660));
    check_mode("600", Some(0o600));
    check_mode("0000", Some(0));
    check_mode("0777", Some(0o777));
    for text in ["1000", "0778", "00660", "66", "", "+660", "rw-", "0o660"] {
        check_mode(text, None);
    }
}

#[test]
fn each_limit_at_its_limits_is_accepted_and_past_them_refused() {
    let keys = ["connections", "connections_per_uid", "in_flight", "in_flight_per_uid"];
    for key in keys {
        for number in [1, 65_536] {
            let config = parse(&with("[limits]", &format!("{key} = {number}")));
            let Limits { connections, connections_per_uid, in_flight, in_flight_per_uid, .. } =
                config.limits;
            let found = [connections, connections_per_uid, in_flight, in_flight_per_uid];
            let place = keys.iter().position(|other| *other == key).unwrap();
            assert_eq!(found[place], number);
        }
        for number in [0, -1, 65_537, i64::MAX] {
            let file = with("[limits]", &format!("{key} = {number}"));
            check(
                &file,
                &[&format!(
                    "[limits] {key}: {number} is out of range; give a number from 1 to 65536"
                )],
            );
        }
    }
}

/// Takes a number of `[limits]` at both ends of its range, and refuses one past each.
#[track_caller]
fn check_range(key: &str, (least, most): (i64, i64), read: impl Fn(&Limits) -> Option<i64>) {
    let file = |number: i64| with("[limits]", &format!("{key} = {number}"));
    for number in [least, most] {
        assert_eq!(read(&parse(&file(number)).limits), Some(number));
    }
    for number in [least.saturating_sub(1), most.saturating_add(1)] {
        let range = format!("{number} is out of range; give a number from {least} to {most}");
        check(&file(number), &[&format!("[limits] {key}: {range}")]);
    }
}

#[test]
fn rates_and_bytes_at_their_limits_are_accepted_and_past_them_refused() {
    let rates = (1, RATE_MAX);
    check_range("rate_per_uid", rates, |it| it.rate_per_uid.map(|it| it.get().into()));
    check_range("burst_per_uid", rates, |it| it.burst_per_uid.map(|it| it.get().into()));
    let bytes = (BODY_BYTES_MIN, BODY_BYTES_MAX);
    check_range("body_bytes", bytes, |it| it.body_bytes.try_into().ok());
    check_range("body_bytes_per_uid", bytes, |it| it.body_bytes_per_uid.try_into().ok());
    assert_eq!(usize::try_from(BODY_BYTES_MIN), Ok(wire::limits::BODY_MAX_BYTES));
}

#[test]
fn rule_can_name_a_unit() {
    let rule = "principal = { unit = \"web@.service\" }\noperations = [\"status\"]";
    assert_eq!(parse(&with("[[rule]]", rule)).rules.len(), 1);
}

#[test]
fn unknown_key_of_a_rule_is_refused() {
    check_rule(
        "principal = { uids = 0 }\noperation = [\"status\"]",
        &[
            "[[rule]] #1 principal.uids: is not known; did you mean uid?",
            "[[rule]] #1 operation: is not known; did you mean operations?",
            "[[rule]] #1 principal: names 0 principals",
            "[[rule]] #1 operations: allows nothing",
        ],
    );
}

#[test]
fn principal_of_another_type_is_refused() {
    check_rule(
        "principal = \"root\"\noperations = [\"status\"]",
        &["[[rule]] #1 principal: is a text; give a table"],
    );
    check_rule(
        "principal = { uid = \"root\" }\noperations = [\"status\"]",
        &["[[rule]] #1 principal.uid: is a text; give a whole number"],
    );
}

#[test]
fn number_of_a_principal_at_limits_is_accepted_and_past_them_refused() {
    let rule = |number: i64| {
        with("[[rule]]", &format!("principal = {{ gid = {number} }}\noperations = [\"status\"]"))
    };
    assert_eq!(parse(&rule(0)).rules.len(), 1);
    assert_eq!(parse(&rule(4_294_967_294)).rules.len(), 1);
    check(&rule(4_294_967_295), &["[[rule]] #1 principal: 4294967295 stands for nobody"]);
    check(&rule(4_294_967_296), &["[[rule]] #1 principal.gid: 4294967296 is out of range"]);
    check(&rule(-1), &["[[rule]] #1 principal.gid: -1 is out of range; give a number from 0 to"]);
}

#[test]
fn fault_of_a_rule_is_listed_by_its_number() {
    let rules = "principal = { uid = 0 }\noperations = [1, 2]\n\
        [[rule]]\nprincipal = { uid = 0 }\noperations = [\"seel\"]\n\
        [[rule]]\nprincipal = { uid = 0 }\noperations = [\"status\"]\n\
        [[rule]]\nprincipal = {}\nkeys = [\"**\"]\noperations = [\"seal\"]";
    check_rule(
        rules,
        &[
            "[[rule]] #1 operations: is a whole number; give a text in quotes",
            "[[rule]] #1 operations: is a whole number; give a text in quotes",
            "[[rule]] #2 operations: there is no operation \"seel\"; use \"*\" or some of: seal",
            "[[rule]] #4 principal: names 0 principals; give exactly one of uid, user, gid, group",
        ],
    );
}

#[test]
fn file_that_others_can_write_is_refused() {
    for mode in [0o664, 0o646] {
        assert!(matches!(load(SHORTEST.as_bytes(), mode), Err(ConfigError::Trust(_))), "{mode:o}");
    }
}

#[test]
fn file_that_is_not_there_is_refused_by_its_name() {
    let error = super::load(Path::new("/nowhere/example.toml"), whole).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}

#[test]
fn file_at_limit_is_loaded_and_one_byte_more_is_refused() {
    let mut content = format!("{SHORTEST}#").into_bytes();
    content.resize(1024 * 1024, b'x');
    assert!(load(&content, 0o600).is_ok());
    content.push(b'x');
    let error = load(&content, 0o600).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
}

#[test]
fn syntax_error_has_line_and_column_and_not_the_text() {
    let error = read(b"[listen]\npin = \"12\xc3\xa4\" s3cret\n").unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("/f: line 2, column 13: "), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn key_given_twice_is_a_syntax_error() {
    let error = read(b"[state]\ndir = \"/a\"\ndir = \"/b\"\n").unwrap_err();
    assert!(error.to_string().starts_with("/f: line 3, column 1: duplicate key"), "{error}");
}

#[test]
fn file_that_is_not_utf8_is_refused_with_its_line() {
    check_error(b"a = 1\nb = \"\xff\"", "/f: line 2: is not UTF-8; save the file as UTF-8");
}

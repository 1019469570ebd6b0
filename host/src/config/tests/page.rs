//! `docs/config.md` against the reader: every key is there with its default, and the example is
//! one that the reader accepts.

use std::collections::BTreeSet;

use daemon::config::{
    BODY_BYTES_MAX, BODY_BYTES_MIN, DURATION_MAX, DURATION_MIN, FILE_MAX_BYTES, LIMIT_MAX,
    RATE_MAX, SOCKET_MODE,
};

use crate::plugin::Confinement;

use super::*;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    std::fs::read_to_string(path).unwrap()
}

/// The part of the page under a heading, up to the next one.
fn under(heading: &str) -> String {
    let page = page();
    let start = page.lines().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<&str> = start.take_while(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty(), "no text under {heading:?}");
    lines.join("\n")
}

/// The cells of a key's row under a heading.
#[track_caller]
fn row(heading: &str, key: &str) -> Vec<String> {
    let start = format!("| `{key}` |");
    let text = under(heading);
    let line = text.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no row {key:?} under {heading:?}"));
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// Checks the default of a key as the page has it.
#[track_caller]
fn check_default(heading: &str, key: &str, default: &str) {
    assert_eq!(row(heading, key)[2], format!("`{default}`"));
}

/// Checks the limits of a key as the page has them.
#[track_caller]
fn check_limits(heading: &str, key: &str, limits: &str) {
    assert_eq!(row(heading, key)[3], limits);
}

/// A duration as the page writes it.
fn written(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 != 0 => format!("\"{ms}ms\""),
        ms if ms % 3_600_000 == 0 => format!("\"{}m\"", ms / 60_000),
        ms => format!("\"{}s\"", ms / 1000),
    }
}

/// The keys that the reader knows at a place, learned by giving it one that it does not know.
fn known(text: &str) -> BTreeSet<String> {
    let faults = faults(text);
    let (_, known) = faults.iter().find_map(|fault| fault.split_once("use one of: ")).unwrap();
    known.split(", ").map(str::to_owned).collect()
}

/// A configuration with the dialect of the aziot Key Service.
fn keyd(section: &str) -> String {
    format!("{SHORTEST}\n[listen.keyd]\nsocket = \"/run/k\"\n{section}\n")
}

/// The first cells of all rows under a heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let text = under(heading);
    let keys = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    keys.map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn page_has_each_key_of_the_reader_and_no_other() {
    for (heading, file) in [
        ("## `[listen]`", with("[listen]", "x = 1")),
        ("## `[keyd]`", keyd("[keyd]\nx = 1")),
        ("## `[[keyd.principal]]`", keyd("[[keyd.principal]]\nx = 1")),
        ("## `[state]`", with("[state]", "x = 1")),
        ("## `[plugins]`", with("[plugins]", "x = 1")),
        ("## `[[provider]]`", with("[[provider]]", "x = 1")),
        ("### `[provider.deadlines]`", with("[provider.deadlines]", "x = 1")),
        ("## `[selection]`", with("[selection]", "x = 1")),
        ("## `[audit]`", with("[audit]", "x = 1")),
        ("## `[limits]`", with("[limits]", "x = 1")),
        ("## `[sandbox]`", with("[sandbox]", "x = 1")),
        ("### `[provider.sandbox]`", with("[provider.sandbox]", "x = 1")),
    ] {
        assert_eq!(rows(heading), known(&file), "{heading}");
    }
    let mut rule = known(&with("[[rule]]", "x = 1"));
    rule.extend(known(&with("[[rule]]", "principal = { x = 1 }")));
    assert_eq!(rows("## `[[rule]]`"), rule);
}

#[test]
fn page_has_each_section_of_the_reader() {
    for section in known(&format!("xxxx = 1\n{SHORTEST}")) {
        let headings = [format!("\n## `[{section}]`\n"), format!("\n## `[[{section}]]`\n")];
        assert!(headings.iter().any(|heading| page().contains(heading)), "{section}");
    }
}

#[test]
fn defaults_of_the_page_are_the_constants() {
    check_default("## `[listen]`", "mode", &format!("\"{SOCKET_MODE:04o}\""));
    check_default("## `[selection]`", "floor", &format!("\"{}\"", FLOOR.as_str()));
    check_default("## `[selection]`", "fallback_after", &written(FALLBACK_AFTER));
    let deadlines = "### `[provider.deadlines]`";
    check_default(deadlines, "open", &written(OPEN_DEADLINE));
    check_default(deadlines, "queue", &written(QUEUE_DEADLINE));
    check_default(deadlines, "generate", &written(GENERATE_DEADLINE));
    check_default(deadlines, "mac", &written(MAC_DEADLINE));
    check_default(deadlines, "queue_length", &QUEUE_LENGTH.to_string());
    assert_eq!(row(deadlines, "queue_length_per_uid")[2], "two thirds of `queue_length`");
    let Limits {
        connections,
        connections_per_uid,
        in_flight,
        in_flight_per_uid,
        rate_per_uid: None,
        burst_per_uid: None,
        body_bytes,
        body_bytes_per_uid,
    } = Limits::default()
    else {
        panic!("a rate by default");
    };
    check_default("## `[limits]`", "body_bytes", &body_bytes.to_string());
    check_default("## `[limits]`", "body_bytes_per_uid", &body_bytes_per_uid.to_string());
    assert_eq!(row("## `[limits]`", "rate_per_uid")[2], "none");
    assert_eq!(row("## `[limits]`", "burst_per_uid")[2], "`rate_per_uid`");
    check_default("## `[limits]`", "connections", &connections.to_string());
    check_default("## `[limits]`", "connections_per_uid", &connections_per_uid.to_string());
    check_default("## `[limits]`", "in_flight", &in_flight.to_string());
    check_default("## `[limits]`", "in_flight_per_uid", &in_flight_per_uid.to_string());
    let Timeouts { head, body, write, drain } = Timeouts::default();
    check_default("## `[limits]`", "write_timeout", &written(write));
    check_default("## `[limits]`", "head_timeout", &written(head));
    check_default("## `[limits]`", "body_timeout", &written(body));
    check_default("## `[limits]`", "drain_timeout", &written(drain));
    check_default("## `[audit]`", "rotate_bytes", &audit::ROTATE_BYTES.to_string());
    check_default("## `[[provider]]`", "isolation", "\"process\"");
    check_default("## `[sandbox]`", "level", "\"full\"");
    for key in ["rsa", "import_over", "refuse_repeated_ivs"] {
        check_default("## `[keyd]`", key, "false");
    }
    let sandbox = "### `[provider.sandbox]`";
    let Confinement { memory_bytes, files, .. } = Confinement::default();
    check_default(sandbox, "level", "\"full\"");
    check_default(sandbox, "memory_mib", &(memory_bytes >> 20).to_string());
    check_default(sandbox, "files", &files.to_string());
}

#[test]
fn limits_of_the_page_are_the_constants() {
    let durations = format!("`{}` to `{}`", written(DURATION_MIN), written(DURATION_MAX));
    for key in ["open", "queue", "generate", "mac"] {
        check_limits("### `[provider.deadlines]`", key, &durations);
    }
    check_limits("## `[selection]`", "fallback_after", &durations);
    for key in ["head_timeout", "body_timeout", "write_timeout", "drain_timeout"] {
        check_limits("## `[limits]`", key, &durations);
    }
    let length = format!("1 to {QUEUE_LENGTH_MAX}");
    check_limits("### `[provider.deadlines]`", "queue_length", &length);
    check_limits("### `[provider.deadlines]`", "queue_length_per_uid", &length);
    for key in ["connections", "connections_per_uid", "in_flight", "in_flight_per_uid"] {
        check_limits("## `[limits]`", key, &format!("1 to {LIMIT_MAX}"));
    }
    for key in ["rate_per_uid", "burst_per_uid"] {
        check_limits("## `[limits]`", key, &format!("1 to {RATE_MAX}"));
    }
    for key in ["body_bytes", "body_bytes_per_uid"] {
        check_limits("## `[limits]`", key, &format!("{BODY_BYTES_MIN} to {BODY_BYTES_MAX}"));
    }
    let bytes = format!("`0` for never, or from {}", audit::ROTATE_BYTES_MIN);
    check_limits("## `[audit]`", "rotate_bytes", &bytes);
    let socket = format!("{} bytes", daemon::listener::SOCKET_PATH_BYTES);
    check_limits("## `[listen]`", "socket", &socket);
    let pattern = format!("1 to {} bytes each", daemon::rules::PATTERN_BYTES);
    check_limits("## `[[rule]]`", "keys", &pattern);
    let pattern = format!("1 to {} characters each, at least one", wire::keyd::PATTERN_MAX_CHARS);
    check_limits("## `[[keyd.principal]]`", "keys", &pattern);
    assert_eq!(FILE_MAX_BYTES, 1 << 20);
    assert!(page().contains("at most 1 MiB"));
}

#[test]
fn operations_of_the_page_are_the_constant() {
    let list = |needs_key| {
        let names = OPERATIONS.iter().filter(|known| known.needs_key == needs_key);
        names.map(|known| format!("`{}`", known.name)).collect::<Vec<_>>().join(", ")
    };
    let text = under("## `[[rule]]`");
    assert!(text.contains(&format!("Operations on keys and counters: {}.\n", list(true))));
    assert!(text.contains(&format!("Operations without a key: {}.\n", list(false))));
}

#[test]
fn example_of_the_page_is_accepted() {
    let page = page();
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(parse(example).providers.len(), 3);
}

#[test]
fn page_has_the_sections_that_messages_refer_to() {
    for heading in ["## Secret sources", "## Hardware words", "## Reload", "## Backup"] {
        under(heading);
    }
}

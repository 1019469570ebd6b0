//! The sections other than `[[provider]]`: each key at its limits and one past them.

use super::*;

/// Asks for a duration in every place that takes one.
#[track_caller]
fn check_duration(text: &str, expected: Result<Duration, &str>) {
    let selection = with("[selection]", &format!("fallback_after = \"{text}\""));
    let deadlines = ["open", "queue", "generate", "mac"];
    let lines: Vec<String> = deadlines.iter().map(|key| format!("{key} = \"{text}\"")).collect();
    let provider = with("[provider.deadlines]", &lines.join("\n"));
    match expected {
        Ok(expected) => {
            assert_eq!(parse(&selection).selection.fallback_after, expected);
            let config = parse(&provider);
            let Deadlines { open, queue, generate, mac, .. } = config.providers[0].deadlines;
            assert_eq!([open, queue, generate, mac], [expected; 4]);
        }
        Err(problem) => {
            check(&selection, &[&format!("[selection] fallback_after: {text:?} {problem}")]);
            let of =
                |key| format!("[[provider]] #1 (\"soft\") deadlines.{key}: {text:?} {problem}");
            let expected: Vec<String> = deadlines.iter().map(of).collect();
            check(&provider, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

#[test]
fn unknown_section_is_refused_with_the_nearest() {
    check(&with("[lisen]", ""), &["[lisen]: is not known; did you mean listen?"]);
    check(&with("[[rules]]", ""), &["[[rules]]: is not known; did you mean rule?"]);
    check(&format!("stat = 1\n{SHORTEST}"), &["stat: is not known; did you mean state?"]);
    check(
        &with("[\"se cret\"]", ""),
        &["[\"se cret\"]: is not known; remove it, or use one of: listen, state, plugins, "],
    );
}

#[test]
fn unknown_key_is_refused_with_the_nearest() {
    check(&with("[listen]", "mod = 1"), &["[listen] mod: is not known; did you mean mode?"]);
    check(
        &with("[state]", "mode = 1"),
        &["[state] mode: is not known; remove it, or use one of: dir"],
    );
    check(&with("[plugins]", "dirs = 1"), &["[plugins] dirs: is not known; did you mean dir?"]);
    check(&with("[audit]", "paht = 1"), &["[audit] paht: is not known; did you mean path?"]);
    check(
        &with("[selection]", "ordr = 1"),
        &["[selection] ordr: is not known; did you mean order?"],
    );
    check(
        &with("[limits]", "conections = 1"),
        &["[limits] conections: is not known; did you mean connections?"],
    );
}

#[test]
fn value_of_another_type_is_refused() {
    check(&with("[listen]", "group = 5"), &["[listen] group: is a whole number; give a text in"]);
    check(&with("[plugins]", "dir = true"), &["[plugins] dir: is true or false; give a text in"]);
    check(
        &with("[limits]", "in_flight = 1.5"),
        &["[limits] in_flight: is a number with a fraction"],
    );
    check(&with("[selection]", "order = \"soft\""), &["[selection] order: is a text; give a list"]);
    check(&with("[selection]", "order = [[]]"), &["[selection] order: is a list; give a text"]);
    check(&with("[selection]", "floor = 1979-05-27"), &["[selection] floor: is a date or time"]);
    check(&with("[limits]", "in_flight = {}"), &["[limits] in_flight: is a table; give a whole"]);
}

#[test]
fn section_of_another_type_is_one_fault() {
    check(&format!("limits = 1\n{SHORTEST}"), &["limits: is a whole number; give a table"]);
    check(&with("[rule]", ""), &["rule: is a table; give tables, each headed by"]);
    check(&format!("rule = [1]\n{SHORTEST}"), &["rule: is a whole number; give tables, each"]);
    let single = SHORTEST.replace("[[provider]]", "[provider]");
    check(&single, &["provider: is a table; give tables, each headed by"]);
}

#[test]
fn path_that_is_not_absolute_is_refused() {
    for (heading, key, old) in [
        ("[listen]", "socket", "/run/sealhost.sock"),
        ("[state]", "dir", "/var/lib/sealhost"),
        ("[audit]", "path", "/var/log/sealhost.log"),
    ] {
        let file = SHORTEST.replace(&format!("\"{old}\""), "\"a/b\"");
        check(&file, &[&format!("{heading} {key}: \"a/b\" is not an absolute path; begin")]);
    }
    check(&with("[plugins]", "dir = \".\""), &["[plugins] dir: \".\" is not an absolute path"]);
}

#[test]
fn empty_text_is_refused() {
    check(&with("[listen]", "group = \"\""), &["[listen] group: is empty; give a value, or"]);
    check(&with("[plugins]", "dir = \"\""), &["[plugins] dir: is empty; give a value, or"]);
}

#[test]
fn text_with_zero_byte_is_refused() {
    check(&with("[plugins]", "dir = \"/a\\u0000b\""), &["[plugins] dir: has a zero byte"]);
}

#[test]
fn duration_has_a_unit() {
    check_duration("500ms", Ok(Duration::from_millis(500)));
    check_duration("10s", Ok(Duration::from_secs(10)));
    check_duration("2m", Ok(Duration::from_secs(120)));
    for text in ["", "10", "s", "ms", "-1s", "+1s", "1.5s", "1 s", " 1s", "1h", "1S", "1sms"] {
        check_duration(text, Err("is not a duration; write for example"));
    }
}

#[test]
fn duration_at_limits_is_accepted_and_past_them_refused() {
    check_duration("10ms", Ok(Duration::from_millis(10)));
    check_duration("60m", Ok(Duration::from_secs(3600)));
    check_duration("3600000ms", Ok(Duration::from_secs(3600)));
    for text in
        ["9ms", "0s", "3600001ms", "3601s", "61m", "18446744073709551615m", "99999999999999999999s"]
    {
        check_duration(text, Err("is out of range; give a duration from \"10ms\" to \"60m\""));
    }
}

#[test]
fn duration_without_quotes_is_refused() {
    check(
        &with("[selection]", "fallback_after = 10"),
        &["[selection] fallback_after: is a whole number; give a text in quotes"],
    );
}

#[test]
fn floor_is_a_word_of_protection() {
    for (word, floor) in [
        ("software", Protection::Software),
        ("emulated", Protection::Emulated),
        ("hardware", Protection::Hardware),
    ] {
        let config = parse(&with("[selection]", &format!("floor = \"{word}\"")));
        assert_eq!(config.selection.floor, floor);
    }
    check(
        &with("[selection]", "floor = \"Hardware\""),
        &["[selection] floor: \"Hardware\" is not known; use \"hardware\", \"emulated\" or"],
    );
}

#[test]
fn order_is_a_list_of_known_providers_without_repeats() {
    let order = |list: &str| with("[selection]", &format!("order = {list}"));
    check(&order("[]"), &["[selection] order: is empty; name at least one provider"]);
    check(
        &order("[\"soft\", \"tpm\", \"soft\", \"hsm\"]"),
        &[
            "[selection] order: there is no provider \"tpm\"; add it",
            "[selection] order: has provider \"soft\" more than once",
            "[selection] order: there is no provider \"hsm\"; add it",
        ],
    );
    check(&order("[\"Soft\"]"), &["[selection] order: a name or segment starts with a character"]);
}

#[test]
fn order_may_name_a_provider_that_has_other_faults() {
    let file = SHORTEST.replace("/usr/lib/lib", "../lib") + "[selection]\norder = [\"soft\"]";
    check(&file, &["[[provider]] #1 (\"soft\") plugin: \"../libprovider_soft.so\" is neither"]);
}

#[test]
fn rule_may_allow_every_operation() {
    for known in OPERATIONS {
        let keys = if known.needs_key { "keys = [\"**\"]\n" } else { "" };
        let rule = format!("principal = {{ uid = 0 }}\n{keys}operations = [\"{}\"]", known.name);
        assert_eq!(parse(&with("[[rule]]", &rule)).rules.len(), 1, "{}", known.name);
    }
}

#[test]
fn operation_without_key_needs_no_pattern_and_with_key_needs_one() {
    let needing: Vec<&str> =
        OPERATIONS.iter().filter(|known| known.needs_key).map(|known| known.name).collect();
    assert_eq!(
        needing.join(" "),
        "create import show rotate destroy seal unseal rewrap mac verify sign public \
         move encrypt decrypt rsa derive export_derived create_counter increment_counter \
         read_counter destroy_counter"
    );
    let free: Vec<&str> =
        OPERATIONS.iter().filter(|known| !known.needs_key).map(|known| known.name).collect();
    assert_eq!(
        free.join(" "),
        "list list_counters random status providers retry verify_audit metrics"
    );
}

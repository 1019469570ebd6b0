//! Nothing makes the reader fall over, or refuse a file without saying why.

use proptest::prelude::*;

use super::*;

#[test]
fn file_nested_too_deep_is_refused() {
    for deep in [
        format!("{}1", "a.".repeat(200_000) + "a = "),
        format!("[{}a]", "a.".repeat(200_000)),
        format!("[[{}a]]", "a.".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}", "{a=".repeat(200_000)),
    ] {
        let error = read(&deep).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { .. }), "{}", deep.get(..20).unwrap());
    }
}

/// Headings, keys and values near enough to what is known to get past the first checks.
const HEADINGS: &str = "[listen] [state] [plugins] [[provider]] [provider.settings] [provider.env] \
    [provider.deadlines] [selection] [[rule]] [audit] [limits] [rule.principal] [provider] [rule]";
const KEYS: &str = "socket mode group dir name plugin isolation sha256 protection settings \
    pin_source LD_X open queue_length order floor principal keys operations path connections \
    '' uid provider rule";
const VALUES: &str = r#"true 1.5 nan [] {} [1] ["soft"] [{}] [[]] 1979-05-27 "/a" "10s" "x"
    "9999999999999999999s" "file:/a" {uid=-1} {name=1} "\u0000" "0660" "soft" -9223372036854775808
    "#;

fn word(words: &'static str) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words.split_whitespace().collect::<Vec<_>>())
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        r"[^'\p{C}]{0,12}".prop_map(|text| format!("'{text}'")),
        word(VALUES).prop_map(str::to_owned),
    ]
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        word(HEADINGS).prop_map(str::to_owned),
        (word(KEYS), value()).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

/// Reads a file, which is refused only with a fault that has a message.
fn check_bytes(content: &[u8]) -> Result<(), TestCaseError> {
    if let Err(error) = config::check(Path::new("/f"), content, file::whole) {
        let message = error.to_string();
        prop_assert!(message.starts_with("/f: ") && message.len() > 10, "{}", message);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_bytes(&bytes)?;
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        check_bytes(text.as_bytes())?;
    }

    #[test]
    fn no_lines_make_the_reader_panic(lines in prop::collection::vec(line(), 0..12)) {
        check_bytes(lines.join("\n").as_bytes())?;
    }

    #[test]
    fn no_value_in_place_of_a_good_one_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..6),
    ) {
        let mut lines: Vec<String> = whole::EXAMPLE.lines().map(str::to_owned).collect();
        for (place, value) in changes {
            let line = place.get(&lines).clone();
            if let Some((key, _)) = line.split_once(" = ") {
                lines[place.index(whole::EXAMPLE.lines().count())] = format!("{key} = {value}");
            }
        }
        check_bytes(lines.join("\n").as_bytes())?;
    }
}

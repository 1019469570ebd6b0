//! The numbers of `docs/secrets.md`, held against the constants.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]

use std::path::Path;

use secret_manager::legacy::LEGACY_FILE_MAX_BYTES;
use secret_manager::{
    DELIVERIES_MAX, DELIVERY_MAX_BYTES, NEGATIVE_NAMES_MAX, SECRETS_MAX, TOMBSTONES_MAX,
};
use wire::limits::CONTEXT_MAX_BYTES;
use wire::secrets::{
    CONTENT_TYPE_MAX_BYTES, Date, SECRET_NAME_MAX_BYTES, SECRET_VALUE_MAX_BYTES, SecretVersion,
    TAG_NAME_MAX_BYTES, TAG_VALUE_MAX_BYTES, TAGS_MAX, VERSION_MAX_BYTES,
};

#[track_caller]
fn check(words: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/secrets.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(words), "{words:?} is not in docs/secrets.md");
}

#[test]
fn limits_of_a_secret_are_those_of_the_page() {
    check(&format!("joined by `/`, 1 to {SECRET_NAME_MAX_BYTES} bytes"));
    check(&format!("`[A-Za-z0-9_][A-Za-z0-9._-]*`, 1 to {VERSION_MAX_BYTES} bytes"));
    check(&format!("0 to {SECRET_VALUE_MAX_BYTES} bytes"));
    check(&format!("1 to {CONTENT_TYPE_MAX_BYTES} bytes of printable ASCII"));
    check(&format!("at most {TAGS_MAX}; name `[A-Za-z0-9._-]+` of 1 to {TAG_NAME_MAX_BYTES}"));
    check(&format!("value of at most {TAG_VALUE_MAX_BYTES} bytes"));
    check(&format!("the {CONTEXT_MAX_BYTES} bytes that the host allows"));
}

#[test]
fn defaults_are_those_of_the_page() {
    check(&format!("| `{}` |", SecretVersion::unnamed()));
    for date in [Date::MIN, Date::NEVER] {
        let text = date.to_string();
        let short = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
        let short = if date == Date::MIN { "0001-01-01T00:00:00" } else { short };
        check(&format!("`{short}Z`"));
    }
}

#[test]
fn bounds_of_stores_and_files_are_those_of_the_page() {
    check(&format!("at most {NEGATIVE_NAMES_MAX} names"));
    check(&format!("At most {SECRETS_MAX} versions of secrets"));
    check(&format!("At most {TOMBSTONES_MAX} tombstones"));
    check(&format!("At most {DELIVERIES_MAX} files of {DELIVERY_MAX_BYTES} bytes"));
    check(&format!("at most {LEGACY_FILE_MAX_BYTES} bytes"));
}

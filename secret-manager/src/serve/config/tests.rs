use std::path::Path;

use super::*;

const SMALLEST: &str = r#"
[listen]
socket = "/run/s/s.sock"
[state]
dir = "/var/lib/s"
[audit]
path = "/var/log/s/audit.log"
[[store]]
type = "file"
key = "s/store"
"#;

fn read(text: &str) -> Result<Config, String> {
    config::check(Path::new("f"), text.as_bytes(), file::whole).map_err(|error| error.to_string())
}

/// The faults of the smallest file with more at its end.
fn check(more: &str, faults: &[&str]) {
    let found = read(&format!("{SMALLEST}{more}")).unwrap_err();
    let expected: Vec<_> = faults.iter().map(|fault| format!("f: {fault}")).collect();
    assert_eq!(found, expected.join("\n"));
}

#[test]
fn smallest_file_is_one_store_without_source_and_rules() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.stores.len(), 1);
    assert_eq!((config.source.clone(), config.credentials.clone()), (None, None));
    assert_eq!(config.warnings(), [Warning::NoRules, Warning::NoCounter]);
    assert_eq!(config.host.socket, Path::new("/run/sealhost/sealhost.sock"));
}

#[test]
fn file_in_front_of_another_store_is_refused() {
    check(
        "[[store]]\ntype = \"memory\"\n",
        &[
            "[[store]] #1 type: is a file, and another store comes after it; only the last one, the base, may be",
        ],
    );
}

#[test]
fn file_without_store_is_refused() {
    let text = SMALLEST.split("[[store]]").next().unwrap();
    let found = read(text).unwrap_err();
    assert_eq!(found, "f: store: is missing; add at least one store, for example of type \"file\"");
}

#[test]
fn every_fault_of_a_credential_is_listed() {
    check(
        "[[credential]]\nunit = \"web\"\ncredential = \"a/b\"\nsecret = \".x\"\n",
        &[
            "[[credential]] #1 unit: \"web\" is not a unit; give its full name, such as \"web.service\"",
            "[[credential]] #1 credential: \"a/b\" is not the name of a credential; give 1 to 255 bytes without \"/\"",
            "[[credential]] #1 secret: a name or segment starts with a character that is not allowed first; give a name or version as docs/secrets.md section 1 allows",
        ],
    );
}

#[test]
fn credential_needs_a_socket_and_stands_once() {
    let one = "[[credential]]\nunit = \"web.service\"\ncredential = \"a\"\nsecret = \"x\"\n";
    check(one, &["credentials: is missing; add [credentials] socket, where systemd asks for them"]);
    let socket = "[credentials]\nsocket = \"/run/s/c.sock\"\n";
    check(
        &format!("{one}{one}{socket}"),
        &["[[credential]] #2 credential: and its unit stand in [[credential]] #1 too; keep one"],
    );
    assert!(read(&format!("{SMALLEST}{one}{socket}")).is_ok());
}

#[test]
fn source_of_unknown_type_is_refused() {
    check(
        "[source]\ntype = \"ftp\"\n",
        &["[source] type: \"ftp\" is none; give \"directory\" or \"mqtt\""],
    );
}

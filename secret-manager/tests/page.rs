//! Sections 7 and 8 of `docs/secrets.md`, held against types and reader: every example is read and
//! written alike, and every key of the configuration is there, and no other.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use secret_manager::serve::config::{Config, OPERATIONS};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::api::{Request, decode};
use wire::secrets::{
    BatchReply, BatchRequest, Change, DeleteReply, GetReply, ListReply, PutReply, PutRequest,
    SecretStatus, VersionsReply,
};

/// The parts of the smallest configuration.
const SMALLEST: [&str; 4] = [
    "[listen]\nsocket = \"/run/s/s.sock\"\n",
    "[state]\ndir = \"/var/lib/s\"\n",
    "[audit]\npath = \"/var/log/s/audit.log\"\n",
    "[[store]]\ntype = \"file\"\nkey = \"s/store\"\n",
];

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// The text under a heading of any level, up to the next one.
fn under(page: &str, heading: &str) -> String {
    let rest = page.lines().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<_> = rest.take_while(|line| !line.starts_with("##")).collect();
    assert!(!lines.is_empty(), "no text under {heading:?}");
    lines.join("\n")
}

/// The keys in the first cells of the rows under a heading.
fn rows(page: &str, heading: &str) -> BTreeSet<String> {
    let text = under(page, heading);
    let first = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    first
        .flat_map(|(cell, _)| cell.split(", "))
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

/// What the reader says to a file.
fn said(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, text).unwrap();
    Config::load(&file).map_or_else(|error| error.to_string(), |_good| String::new())
}

/// The keys that the reader knows at a place, learned by giving it one that it does not know.
fn known(more: &str) -> BTreeSet<String> {
    let section = more.lines().next().unwrap();
    let parts = SMALLEST.iter().filter(|part| !part.starts_with(section));
    let said = said(&format!("{}{more}unknown = 1\n", parts.copied().collect::<String>()));
    let fault = said.lines().find_map(|line| line.split_once("use one of: "));
    let (_, keys) = fault.unwrap_or_else(|| panic!("no keys in {said}"));
    keys.split(", ").map(str::to_owned).collect()
}

/// Compares the rows under a heading with the keys that the reader knows.
#[track_caller]
fn check(heading: &str, places: &[&str]) {
    let keys: BTreeSet<_> = places.iter().flat_map(|more| known(more)).collect();
    assert_eq!(rows(&page("secrets.md"), heading), keys, "{heading}");
}

#[test]
fn page_has_each_key_of_the_reader_and_no_other() {
    check("### `[host]`", &["[host]\n"]);
    let stores = ["[[store]]\ntype = \"memory\"\n", "[[store]]\ntype = \"file\"\n"];
    check("### `[[store]]`", &stores);
    let sources = ["[source]\ntype = \"directory\"\n", "[source]\ntype = \"mqtt\"\n"];
    check("### `[source]`", &sources);
    let credential = "### `[credentials]`, `[[credential]]`";
    check(credential, &["[[credential]]\n"]);
}

#[test]
fn shared_sections_are_those_of_the_host() {
    let config = page("config.md");
    for section in ["[listen]", "[state]", "[audit]", "[limits]"] {
        let heading = format!("## `{section}`");
        assert_eq!(rows(&config, &heading), known(&format!("{section}\n")), "{section}");
    }
    assert_eq!(known("[credentials]\n"), known("[listen]\n"));
}

#[test]
fn page_has_each_section_of_the_reader() {
    let said = said(&format!("unknown = 1\n{}", SMALLEST.concat()));
    let (_, sections) = said.split_once("use one of: ").unwrap();
    let text = page("secrets.md");
    for section in sections.trim().split(", ") {
        let names = [format!("`[{section}]`"), format!("`[[{section}]]`")];
        assert!(names.iter().any(|name| text.contains(name)), "{section}");
    }
}

#[test]
fn operations_of_the_page_are_the_constant() {
    let list = |needs_key| {
        let names = OPERATIONS.iter().filter(|known| known.needs_key == needs_key);
        names.map(|known| format!("`{}`", known.name)).collect::<Vec<_>>().join(", ")
    };
    let text = page("secrets.md");
    assert!(text.contains(&format!("Operations on secrets: {}.\n", list(true))));
    assert!(text.contains(&format!("Operations without a secret: {}.\n", list(false))));
}

/// Whether the reader takes a file with this line in a section.
#[track_caller]
fn check_range(section: &str, line: &str, fits: bool) {
    let parts = SMALLEST.iter().filter(|part| !part.starts_with("[[store]]"));
    let base = "[[store]]\ntype = \"file\"\nlabel = \"base\"\nkey = \"s/store\"\n";
    let said = said(&format!("{}{section}{line}\n{base}", parts.copied().collect::<String>()));
    assert_eq!(said.is_empty(), fits, "{line}: {said}");
}

#[test]
fn ranges_of_the_page_are_those_of_the_reader() {
    let memory = "[[store]]\ntype = \"memory\"\n";
    for (key, least, most) in [("entries", 1, 100_000), ("bytes", 1_048_576, 1_073_741_824)] {
        let row = under(&page("secrets.md"), "### `[[store]]`");
        assert!(row.contains(&format!("| {least} to {most} |")), "{key}");
        for (value, fits) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            check_range(memory, &format!("{key} = {value}"), fits);
        }
    }
    check_range(memory, &format!("label = \"{}\"", "l".repeat(32)), true);
    check_range(memory, &format!("label = \"{}\"", "l".repeat(33)), false);
    check_range(memory, "ttl = \"60m\"", true);
    check_range(memory, "ttl = \"61m\"", false);
    let mqtt = "[source]\ntype = \"mqtt\"\nbroker = \"tls://b:8883\"\ndevice = \"d\"\n";
    for (attempts, fits) in [(0, false), (1, true), (100, true), (101, false)] {
        check_range(mqtt, &format!("attempts = {attempts}"), fits);
    }
}

/// The JSON examples of an endpoint.
fn examples(endpoint: &str) -> Vec<String> {
    let text = under(&page("secrets.md"), endpoint);
    let blocks = text.split("```json\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

#[track_caller]
fn reply<T: DeserializeOwned + Serialize>(example: &str) {
    let value: T = serde_json::from_str(example).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), example);
}

#[track_caller]
fn request<T: Request + Serialize>(example: &str) {
    let value: T = decode(example.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), example);
}

#[test]
fn example_of_each_endpoint_is_read_and_written_alike() {
    let [asked, told] = &examples("### `PUT /v1/secrets/{name}`")[..] else { panic!() };
    request::<PutRequest>(asked);
    reply::<PutReply>(told);
    let [told] = &examples("### `GET /v1/secrets/{name}`")[..] else { panic!() };
    reply::<GetReply>(told);
    let [told] = &examples("### `DELETE /v1/secrets/{name}`")[..] else { panic!() };
    reply::<DeleteReply>(told);
    let [told] = &examples("### `GET /v1/secrets/{name}/versions`")[..] else { panic!() };
    reply::<VersionsReply>(told);
    let [told] = &examples("### `GET /v1/secrets`")[..] else { panic!() };
    reply::<ListReply>(told);
    let [asked, told] = &examples("### `POST /v1/batch`")[..] else { panic!() };
    request::<BatchRequest>(asked);
    reply::<BatchReply>(told);
    let [told] = &examples("### `GET /v1/status`, `GET /metrics`")[..] else { panic!() };
    reply::<SecretStatus>(told);
    let text = under(&page("secrets.md"), "### `GET /v1/watch`");
    let event = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    reply::<Change>(event);
}

//! Deliveries in a directory: order, form, limits, and who may write them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn directory(files: &[(&str, &str)]) -> (TempDir, DirectorySource) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let source = DirectorySource::new("usb", dir.path());
    (dir, source)
}

fn delivery(issued: &str, secrets: &str, delete: &str) -> String {
    format!(
        r#"{{"format":"sealhost.delivery/1","issued":"{issued}","secrets":[{secrets}],"delete":[{delete}]}}"#
    )
}

fn refused(text: &str, words: &str) {
    let (_dir, source) = directory(&[("a.json", text)]);
    let fault = source.deliveries().unwrap_err().to_string();
    assert!(fault.contains(words), "{fault}");
    assert!(!fault.contains("marker"), "{fault}");
}

async fn check(files: &[(&str, &str)], asked: &str, found: &[&str]) {
    let (_dir, source) = directory(files);
    let (name, version) = asked.split_once('@').unwrap_or((asked, ""));
    let wanted = Wanted {
        name: name.parse().unwrap(),
        version: (!version.is_empty()).then(|| version.parse().unwrap()),
    };
    let answers = source.fetch(&[wanted]).await.unwrap();
    let values = answers[0].iter().map(|draft| str::from_utf8(draft.value.as_bytes()).unwrap());
    assert_eq!(values.collect::<Vec<_>>(), found);
}

const MAY: &str = "2026-05-01T00:00:00Z";
const JUNE: &str = "2026-06-01T00:00:00Z";

#[tokio::test]
async fn secret_is_found_by_name_and_version() {
    let file = delivery(
        MAY,
        r#"{"name":"a","version":"v1","text":"one"},{"name":"a","version":"v2","value":"dHdv"},{"name":"b","text":"three"}"#,
        "",
    );
    let files = [("1.json", file.as_str())];
    check(&files, "a", &["one", "two"]).await;
    check(&files, "a@v2", &["two"]).await;
    check(&files, "b@default", &["three"]).await;
    check(&files, "c", &[]).await;
}

#[tokio::test]
async fn later_delivery_counts_whatever_its_file_is_called() {
    let old = delivery(MAY, r#"{"name":"a","text":"old"}"#, "");
    let new = delivery(JUNE, r#"{"name":"a","text":"new"}"#, "");
    check(&[("1.json", &new), ("2.json", &old)], "a", &["new"]).await;
    check(&[("1.json", &old), ("2.json", &new)], "a", &["new"]).await;
}

#[tokio::test]
async fn later_delivery_takes_away_what_it_deletes() {
    let old = delivery(
        MAY,
        r#"{"name":"a","version":"v1","text":"one"},{"name":"a","version":"v2","text":"two"}"#,
        "",
    );
    let one = delivery(JUNE, "", r#"{"name":"a","version":"v1"}"#);
    check(&[("1.json", &old), ("2.json", &one)], "a", &["two"]).await;
    let all = delivery(JUNE, "", r#"{"name":"a"}"#);
    check(&[("1.json", &old), ("2.json", &all)], "a", &[]).await;
}

#[tokio::test]
async fn file_that_is_still_being_written_is_not_read() {
    let whole = delivery(MAY, r#"{"name":"a","text":"x"}"#, "");
    check(&[(".a.json", "{"), ("b.json.part", "{"), ("c.json", &whole)], "a", &["x"]).await;
}

#[test]
fn delivery_of_another_form_is_refused_by_its_place() {
    refused("{", "at line 1 column 1");
    refused(r#"{"format":"other/1","issued":"2026-05-01T00:00:00Z"}"#, "at line 0 column 0");
    refused(&delivery("soon", "", ""), "at line 1");
    refused(&delivery(MAY, r#"{"name":"a","text":"marker","value":"eA=="}"#, ""), "at line 0");
    refused(&delivery(MAY, r#"{"name":"a"}"#, ""), "at line 0");
    refused(&delivery(MAY, r#"{"name":"a","text":"marker","when":1}"#, ""), "at line 1");
    refused(&delivery(MAY, r#"{"name":"../a","text":"marker"}"#, ""), "at line 1");
    refused(
        &delivery(MAY, r#"{"name":"a","text":"marker","expiration":"0001-01-01T00:00:00Z"}"#, ""),
        "at line 0",
    );
}

#[test]
fn delivery_at_limit_is_read() {
    let mut text = delivery(MAY, r#"{"name":"a","text":"x"}"#, "");
    text.push_str(&" ".repeat(DELIVERY_MAX_BYTES - text.len()));
    let (_dir, source) = directory(&[("a.json", &text)]);
    assert_eq!(source.deliveries().unwrap().len(), 1);
}

#[test]
fn delivery_one_past_limit_is_refused() {
    refused(&" ".repeat(DELIVERY_MAX_BYTES + 1), "at most 4194304 bytes");
}

#[test]
fn deliveries_at_limit_are_read_and_one_more_refuses_them_all() {
    let (dir, source) = directory(&[]);
    let text = delivery(MAY, "", "");
    for number in 0..DELIVERIES_MAX {
        fs::write(dir.path().join(format!("{number}.json")), &text).unwrap();
    }
    assert_eq!(source.deliveries().unwrap().len(), DELIVERIES_MAX);
    fs::write(dir.path().join("more.json"), &text).unwrap();
    assert!(matches!(source.deliveries(), Err(DirectoryFault::TooMany { .. })));
}

#[test]
fn what_others_can_write_is_not_read() {
    let (dir, source) = directory(&[("a.json", &delivery(MAY, "", ""))]);
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&dir.path().join("a.json"), 0o666);
    assert!(matches!(source.deliveries(), Err(DirectoryFault::Untrusted(_))));
    open(&dir.path().join("a.json"), 0o600);
    open(dir.path(), 0o777);
    assert!(matches!(source.deliveries(), Err(DirectoryFault::Untrusted(_))));
    open(dir.path(), 0o700);
    assert!(source.deliveries().is_ok());
}

#[tokio::test]
async fn directory_that_is_not_there_does_not_answer() {
    let source = DirectorySource::new("usb", Path::new("/nonexistent"));
    let wanted = [Wanted { name: "a".parse().unwrap(), version: None }];
    let error = source.fetch(&wanted).await.unwrap_err();
    assert!(matches!(error, SourceError::Silent { .. }), "{error}");
}

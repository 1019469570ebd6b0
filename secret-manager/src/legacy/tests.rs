//! Files as edge-secrets wrote them.

use wire::secrets::{Author, Date};

use super::{ExportFault, ImportFault, LEGACY_FILE_MAX_BYTES, export, import};
use crate::secret::{Draft, Secret, Stamp, Standing, Value};

fn stored(drafts: Vec<Draft>) -> Vec<Secret> {
    let stamp = Stamp {
        standing: Standing::Offered,
        at: Date::MIN,
        by: &Author::user(0),
        as_of: Date::MIN,
    };
    drafts.into_iter().map(|draft| draft.into_secret(None, &stamp)).collect()
}

fn check(file: &str, expected: &[(&str, Option<&str>, &str)]) {
    let drafts = import(file.as_bytes()).unwrap();
    let found = drafts.iter().map(|draft| {
        let value = str::from_utf8(draft.value.as_bytes()).unwrap();
        (draft.name.as_str(), draft.version.as_ref().map(|version| version.as_str()), value)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

fn refused(file: &str, fault: &str) {
    let faults = import(file.as_bytes()).unwrap_err();
    assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), [fault]);
}

#[test]
fn m2_file_of_one_secret_is_written_as_edge_secrets_wrote_it() {
    let value = Value::new(b"dlroW olleH".to_vec().into()).unwrap();
    let draft = Draft::new("test".parse().unwrap(), Some("v1".parse().unwrap()), value);
    let text = export(&stored(vec![draft])).unwrap();
    let expected = r#"{"test":{"v1":{"Name":"test","Version":"v1","Value":"dlroW olleH","ActivationDate":"0001-01-01T00:00:00","ExpirationDate":"9999-12-31T23:59:59.9999999"}}}"#;
    assert_eq!(str::from_utf8(&text).unwrap(), expected);
}

#[test]
fn m19_fields_in_another_order_and_escaped_plus_signs_are_read() {
    check(
        r#"{"a":{"1":{"Name":"a","Value":"x\u002By+z\u00e4","Version":"1","ExpirationDate":"9999-12-31T23:59:59.9999999","ActivationDate":"0001-01-01T00:00:00"}}}"#,
        &[("a", Some("1"), "x+y+zä")],
    );
    check("\u{feff}{\n  \"a\": {\"1\": {\"Value\": \"v\"}}\n}", &[("a", Some("1"), "v")]);
    check("{}", &[]);
}

#[test]
fn m19_missing_and_null_fields_have_defaults() {
    check(
        r#"{"a":{"":{"Name":null,"Version":null,"Value":null,"ActivationDate":null,"Later":1}}}"#,
        &[("a", None, "")],
    );
}

#[test]
fn m20_dates_without_a_zone_are_in_utc() {
    let file = r#"{"a":{"1":{"ActivationDate":"2021-06-01T09:00:00","ExpirationDate":"2021-06-01T18:00:00+09:00"}}}"#;
    let faults = import(file.as_bytes()).unwrap_err();
    assert!(faults[0].to_string().ends_with("is not before its ExpirationDate"), "{faults:?}");
    let file = r#"{"a":{"1":{"ActivationDate":"2021-06-01T08:59:59","ExpirationDate":"2021-06-01T18:00:00+09:00"}}}"#;
    let drafts = import(file.as_bytes()).unwrap();
    assert_eq!(drafts[0].activation, Date::parse("2021-06-01T08:59:59Z").unwrap());
    assert_eq!(drafts[0].expiration, Date::parse("2021-06-01T09:00:00Z").unwrap());
}

#[test]
fn every_entry_that_is_no_secret_here_is_named() {
    let file = r#"{"a b":{"1":{"Value":"marker"}},"a":{"1/2":{"Value":"marker"},"2":{"ActivationDate":"soon"}}}"#;
    let faults = import(file.as_bytes()).unwrap_err();
    assert_eq!(faults.len(), 3);
    assert!(faults.iter().all(|fault| matches!(fault, ImportFault::Entry { .. })), "{faults:?}");
    assert!(!format!("{faults:?}").contains("marker"));
}

#[test]
fn entry_that_contradicts_its_place_is_refused() {
    refused(
        r#"{"a":{"1":{"Name":"b"}}}"#,
        r#"entry "a" version "1": its Name is another than the one it stands under"#,
    );
    refused(
        r#"{"a":{"1":{"Version":"2"}}}"#,
        r#"entry "a" version "1": its Version is another than the one it stands under"#,
    );
}

#[test]
fn entry_without_a_version_beside_version_default_is_refused() {
    refused(
        r#"{"a":{"":{"Value":"x"},"default":{"Value":"y"}}}"#,
        r#"entry "a" version "default": its version stands there already"#,
    );
}

#[test]
fn long_name_is_cut_in_its_fault() {
    let file = format!(r#"{{"a {}":{{"1":{{}}}}}}"#, "b".repeat(100_000));
    let faults = import(file.as_bytes()).unwrap_err();
    assert!(faults.iter().all(|fault| fault.to_string().len() < 300), "{}", faults.len());
}

#[test]
fn file_that_is_none_is_refused_by_its_place() {
    refused("[]", "not a file of edge-secrets, at line 1 column 0");
    refused(
        r#"{"a":{"1":{"Value":"x"},"1":{"Value":"y"}}}"#,
        "not a file of edge-secrets, at line 1 column 42",
    );
    refused("{", "not a file of edge-secrets, at line 1 column 1");
}

#[test]
fn file_at_limit_is_read() {
    let mut file = b"{}".to_vec();
    file.resize(LEGACY_FILE_MAX_BYTES, b' ');
    assert!(import(&file).is_ok());
}

#[test]
fn file_one_past_limit_is_refused() {
    let faults = import(&vec![b' '; LEGACY_FILE_MAX_BYTES + 1]).unwrap_err();
    assert_eq!(faults, [ImportFault::TooLong { bytes: LEGACY_FILE_MAX_BYTES + 1 }]);
}

#[test]
fn binary_value_cannot_be_exported() {
    let value = Value::new(vec![0xff].into()).unwrap();
    let draft = Draft::new("a".parse().unwrap(), None, value);
    let fault = ExportFault::NotText { name: "a".into(), version: "default".into() };
    assert_eq!(export(&stored(vec![draft])), Err(fault));
}

#[test]
fn what_is_exported_is_imported_alike() {
    let file = r#"{"a":{"1":{"Name":"a","Version":"1","Value":"\"\\\n+ä","ActivationDate":"2021-06-01T08:59:59.1234567Z","ExpirationDate":"2021-06-02T00:00:00Z"},"2":{"Name":"a","Version":"2","Value":"","ActivationDate":"0001-01-01T00:00:00","ExpirationDate":"9999-12-31T23:59:59.9999999"}}}"#;
    let text = export(&stored(import(file.as_bytes()).unwrap())).unwrap();
    assert_eq!(str::from_utf8(&text).unwrap(), file);
}

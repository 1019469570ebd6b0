//! How secrets and stores are shown. Never with a value.

use wire::secrets::{Date, SecretRecord, SecretStatus, StoreStatus};

use crate::screen::{NOTHING, plain, table, time};

/// One line per secret version, the name first.
pub(super) fn list(records: &[SecretRecord]) -> String {
    if records.is_empty() {
        return "there are no secrets that you may see\n".to_owned();
    }
    let head = ["SECRET", "VERSION", "ACTIVE FROM", "UNTIL", "TYPE", "UPDATED", "BY"];
    table(&head, records.iter().map(line))
}

/// The versions of one secret.
pub(super) fn versions(records: &[SecretRecord]) -> String {
    let mut text = list(records);
    for record in records.iter().filter(|record| !record.tags.is_empty()) {
        text.push_str(&format!("tags of {}: {}\n", record.version, plain(&tags(record))));
    }
    text
}

/// The daemon and its stores, the head first.
pub(super) fn status(status: &SecretStatus) -> String {
    let mut text =
        format!("secret-manager {}, since {}\n", plain(&status.version), time(&status.started_at));
    if status.clock_behind {
        text.push_str("the clock of the machine is behind the dates on record\n");
    }
    let source = status.source.as_deref().unwrap_or("none");
    text.push_str(&format!("source  {}\n\n", plain(source)));
    text.push_str(&table(&["STORE", "SECRETS", "SEALED BY"], status.stores.iter().map(store)));
    text
}

fn line(record: &SecretRecord) -> Vec<String> {
    vec![
        record.name.to_string(),
        record.version.to_string(),
        date(record.activation, Date::MIN),
        date(record.expiration, Date::NEVER),
        record.content_type.as_ref().map_or_else(|| NOTHING.to_owned(), ToString::to_string),
        time(&record.updated_at.to_string()),
        record.updated_by.to_string(),
    ]
}

/// A date that says nothing is not written out.
fn date(date: Date, nothing: Date) -> String {
    if date == nothing { NOTHING.to_owned() } else { time(&date.to_string()) }
}

fn tags(record: &SecretRecord) -> String {
    record
        .tags
        .entries()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn store(store: &StoreStatus) -> Vec<String> {
    vec![
        store.label.clone(),
        store.secrets.to_string(),
        store.key.clone().unwrap_or_else(|| NOTHING.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(more: &str) -> SecretRecord {
        let text = format!(
            r#"{{"name":"web/db","version":"v2","activation":"2026-12-01T00:00:00Z","expiration":"9999-12-31T23:59:59.9999999Z",{more}"created_at":"2026-01-01T00:00:00Z","created_by":"uid:0","updated_at":"2026-01-02T03:04:05.5Z","updated_by":"uid:1000"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn list_shows_dates_that_say_something() {
        assert_eq!(
            list(&[record("")]),
            "\
SECRET  VERSION  ACTIVE FROM           UNTIL  TYPE  UPDATED               BY
web/db  v2       2026-12-01T00:00:00Z  -      -     2026-01-02T03:04:05Z  uid:1000
"
        );
    }

    #[test]
    fn versions_show_their_tags() {
        let record = record(r#""content_type":"text/plain","tags":{"a":"b","c":"d"},"#);
        let text = versions(&[record]);
        assert!(text.contains("text/plain") && text.ends_with("tags of v2: a=b, c=d\n"), "{text}");
    }

    #[test]
    fn list_without_secrets_says_so() {
        assert_eq!(list(&[]), "there are no secrets that you may see\n");
    }

    #[test]
    fn status_shows_each_store_and_its_key() {
        let text = r#"{"version":"0.1.0","started_at":"2026-01-02T03:04:05.6Z","stores":[{"label":"memory","secrets":1},{"label":"file","secrets":12,"key":"secrets/store"}],"source":"mqtt","clock_behind":false}"#;
        assert_eq!(
            status(&serde_json::from_str(text).unwrap()),
            "\
secret-manager 0.1.0, since 2026-01-02T03:04:05Z
source  mqtt

STORE   SECRETS  SEALED BY
memory  1        -
file    12       secrets/store
"
        );
    }
}

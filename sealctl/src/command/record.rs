//! How key records are shown.

use wire::api::{KeyRecord, VersionRecord, VersionState};

use crate::screen::{NOTHING, table, time};

/// One key with its versions.
pub(super) fn one(record: &KeyRecord) -> String {
    let names = |names: &[wire::name::ProviderName]| {
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "{}\n  usage      {} ({})\n  floor      {}\n  providers  {}\n",
        record.name,
        record.usage.as_str(),
        record.algorithm.as_str(),
        record.floor.as_str(),
        record.providers.as_deref().map_or_else(|| "in the configured order".to_owned(), names),
    );
    if record.fallback {
        text.push_str("  fallback   seals with another provider while its own is down\n");
    }
    if let Some(pcrs) = &record.pcrs {
        let numbers: Vec<_> = pcrs.sha256.iter().map(u8::to_string).collect();
        text.push_str(&format!("  pcrs       sha256: {}\n", numbers.join(", ")));
    }
    let head = ["VERSION", "STATE", "PROVIDER", "PROTECTION", "ORIGIN", "FALLBACK", "CREATED"];
    text.push('\n');
    text.push_str(&table(&head, record.versions.iter().map(version)));
    text
}

/// One line per key.
pub(super) fn list(records: &[KeyRecord]) -> String {
    if records.is_empty() {
        return "there are no keys that you may see\n".to_owned();
    }
    let head = ["KEY", "USAGE", "ACTIVE", "PROVIDER", "PROTECTION", "ORIGIN", "VERSIONS"];
    table(&head, records.iter().map(line))
}

fn line(record: &KeyRecord) -> Vec<String> {
    let active = record.versions.iter().find(|version| version.state == VersionState::Active);
    let of_active =
        |text: fn(&VersionRecord) -> String| active.map_or_else(|| NOTHING.to_owned(), text);
    let kept = record.versions.iter().filter(|version| version.state != VersionState::Destroyed);
    vec![
        record.name.to_string(),
        record.usage.as_str().to_owned(),
        of_active(|version| version.version.to_string()),
        of_active(|version| version.provider.to_string()),
        of_active(|version| version.protection.as_str().to_owned()),
        of_active(|version| version.origin.as_str().to_owned()),
        kept.count().to_string(),
    ]
}

fn version(version: &VersionRecord) -> Vec<String> {
    vec![
        version.version.to_string(),
        version.state.as_str().to_owned(),
        version.provider.to_string(),
        version.protection.as_str().to_owned(),
        version.origin.as_str().to_owned(),
        if version.fallback { "yes" } else { NOTHING }.to_owned(),
        time(&version.created_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> KeyRecord {
        let text = r#"{"name":"secrets/db","usage":"seal","algorithm":"hmac-sha256","floor":"software","fallback":true,"providers":["tpm","soft"],"pcrs":{"sha256":[0,7]},"versions":[
            {"version":1,"state":"destroyed","provider":"tpm","protection":"hardware","origin":"generated","fallback":false,"created_at":"2026-01-02T03:04:05Z"},
            {"version":2,"state":"active","provider":"tpm","protection":"hardware","origin":"generated","fallback":false,"created_at":"2026-01-03T03:04:05Z"},
            {"version":3,"state":"decrypt-only","provider":"soft","protection":"software","origin":"generated","fallback":true,"created_at":"2026-01-04T03:04:05Z"}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn record_is_shown_with_every_version() {
        assert_eq!(
            one(&record()),
            "\
secrets/db
  usage      seal (hmac-sha256)
  floor      software
  providers  tpm, soft
  fallback   seals with another provider while its own is down
  pcrs       sha256: 0, 7

VERSION  STATE         PROVIDER  PROTECTION  ORIGIN     FALLBACK  CREATED
1        destroyed     tpm       hardware    generated  -         2026-01-02T03:04:05Z
2        active        tpm       hardware    generated  -         2026-01-03T03:04:05Z
3        decrypt-only  soft      software    generated  yes       2026-01-04T03:04:05Z
"
        );
    }

    #[test]
    fn list_shows_the_active_version() {
        assert_eq!(
            list(&[record()]),
            "\
KEY         USAGE  ACTIVE  PROVIDER  PROTECTION  ORIGIN     VERSIONS
secrets/db  seal   2       tpm       hardware    generated  2
"
        );
    }

    #[test]
    fn list_of_a_key_without_active_version_shows_none() {
        let mut record = record();
        record.versions.truncate(1);
        let list = list(&[record]);
        assert!(
            list.ends_with("secrets/db  seal   -       -         -           -       0\n"),
            "{list}"
        );
    }

    #[test]
    fn list_without_keys_says_so() {
        assert_eq!(list(&[]), "there are no keys that you may see\n");
    }
}

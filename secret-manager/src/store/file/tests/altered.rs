//! Rows that were edited, moved or put back, and files that are something else.

use super::*;

#[tokio::test]
async fn m18_values_that_changed_places_do_not_open() {
    let bench = Bench::new().filled().await;
    bench.edit(
        "CREATE TEMP TABLE old AS SELECT name, sealed FROM secrets;
         UPDATE secrets SET sealed = (SELECT sealed FROM old WHERE old.name <> secrets.name)",
    );
    let store = bench.open().await;
    for of in ["a", "b"] {
        let error = read(&store, of).await.unwrap_err();
        assert!(matches!(error, StoreError::Seal(SealError::Integrity)), "{error}");
    }
}

#[tokio::test]
async fn m18_value_that_is_no_envelope_does_not_open() {
    let bench = Bench::new().filled().await;
    bench.edit("UPDATE secrets SET sealed = 'x' WHERE name = 'a'");
    let store = bench.open().await;
    assert_eq!(read(&store, "a").await.unwrap_err().code(), Code::Integrity);
    check(&store, "b", Some("beta")).await;
}

/// Edits that leave rows which can be read, and which nobody wrote so.
const EDITS: [&str; 14] = [
    r#"UPDATE secrets SET metadata = replace(metadata, '9999-12-31', '9998-12-31')"#,
    r#"UPDATE secrets SET metadata = replace(metadata, '0001-01-01', '2025-01-01')"#,
    r#"UPDATE secrets SET metadata = replace(metadata, 'uid:1000', 'uid:0')"#,
    r#"UPDATE secrets SET metadata = replace(metadata, 'blue', 'green')"#,
    r#"UPDATE secrets SET metadata = replace(metadata, '"offered"', '"asked-for"')"#,
    "UPDATE secrets SET name = 'd' WHERE name = 'b'",
    "UPDATE secrets SET version = 'v2' WHERE name = 'b'",
    "UPDATE secrets SET write = randomblob(16) WHERE name = 'b'",
    "DELETE FROM secrets WHERE name = 'b'",
    "DELETE FROM secrets; DELETE FROM tombstones",
    "DELETE FROM tombstones",
    "UPDATE tombstones SET deleted_at = '0001-01-01T00:00:00.000000000Z'",
    "UPDATE store SET clock = '0001-01-01T00:00:00.000000000Z'",
    "DELETE FROM store",
];

#[tokio::test]
async fn m18_edited_row_refuses_the_store() {
    let bench = Bench::new().filled().await;
    let good = bench.copy();
    for edit in EDITS {
        bench.edit(edit);
        bench.refused("was altered").await;
        bench.put_back(&good);
    }
    check(&bench.open().await, "a", Some("alpha")).await;
}

#[tokio::test]
async fn row_that_says_nothing_refuses_the_store() {
    let bench = Bench::new().filled().await;
    let good = bench.copy();
    for edit in [
        "UPDATE secrets SET metadata = '{}'",
        "UPDATE secrets SET name = '../b' WHERE name = 'b'",
        "UPDATE secrets SET write = x'00'",
        "UPDATE tombstones SET deleted_at = 'yesterday'",
        "UPDATE store SET clock = ''",
        "UPDATE store SET state = -1",
    ] {
        bench.edit(edit);
        bench.refused("unreadable row").await;
        bench.put_back(&good);
    }
}

#[tokio::test]
async fn m18_row_of_before_a_change_cannot_be_put_back() {
    let bench = Bench::new().filled().await;
    bench.edit("CREATE TABLE kept AS SELECT * FROM secrets WHERE name = 'a'");
    let store = bench.open().await;
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    bench.edit("INSERT OR REPLACE INTO secrets SELECT * FROM kept");
    bench.refused("was altered").await;
}

#[tokio::test]
async fn store_sealed_by_another_key_is_refused_and_stays() {
    let mut bench = Bench::new().filled().await;
    let right = std::mem::replace(&mut bench.sealer, TestSealer::new());
    bench.refused("was altered").await;
    bench.sealer = right;
    check(&bench.open().await, "a", Some("alpha")).await;
}

#[tokio::test]
async fn file_of_a_later_layout_is_refused() {
    let bench = Bench::new().filled().await;
    bench.edit("PRAGMA user_version = 2");
    bench.refused("has layout 2").await;
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_and_stays() {
    let bench = Bench::new();
    fs::write(bench.path(), "not a database, but long enough to be looked at").unwrap();
    bench.refused("file is not a database").await;
    assert!(fs::read(bench.path()).unwrap().starts_with(b"not a database"));
}

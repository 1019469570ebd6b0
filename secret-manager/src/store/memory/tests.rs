//! Memory: bounds, time to live, order of use, sealing.

use wire::api::Protection;

use super::*;
use crate::secret::{Draft, Stamp, Standing};
use crate::testing::{TestSealer, clock, draft, name, user};

const BOUNDS: MemoryBounds =
    MemoryBounds { entries: 3, bytes: 30, ttl: Some(Duration::from_secs(60)) };

fn secret(clock: &StoreClock, draft: Draft) -> Secret {
    let at = clock.stamp();
    let stamp = Stamp { standing: Standing::Offered, at, by: &user(), as_of: at };
    draft.into_secret(None, &stamp)
}

async fn put(store: &MemoryStore, of: &str, value: &str) -> Result<Secret, StoreError> {
    let secret = secret(&store.clock, draft(of, "v1", value));
    store.write(std::slice::from_ref(&secret), Claim::Put).await?;
    Ok(secret)
}

async fn check(store: &MemoryStore, secret: &Secret, held: bool) {
    let read = store.read(&secret.metadata).await.unwrap();
    assert_eq!(read.is_some(), held);
    if let Some(read) = read {
        assert_eq!(read.secret.value, secret.value);
    }
}

#[tokio::test]
async fn cache_at_its_bound_of_entries_drops_what_was_used_longest_ago() {
    let store = MemoryStore::cache("m", BOUNDS, clock().0);
    let a = put(&store, "a", "1").await.unwrap();
    let b = put(&store, "b", "2").await.unwrap();
    let c = put(&store, "c", "3").await.unwrap();
    check(&store, &a, true).await;
    let d = put(&store, "d", "4").await.unwrap();
    check(&store, &b, false).await;
    for kept in [&a, &c, &d] {
        check(&store, kept, true).await;
    }
}

#[tokio::test]
async fn cache_at_its_bound_of_bytes_makes_room() {
    let store = MemoryStore::cache("m", BOUNDS, clock().0);
    let a = put(&store, "a", &"x".repeat(15)).await.unwrap();
    let b = put(&store, "b", &"x".repeat(15)).await.unwrap();
    check(&store, &a, true).await;
    assert_eq!(store.held(), (2, 30));
    put(&store, "c", "x").await.unwrap();
    check(&store, &b, false).await;
    assert_eq!(store.held(), (2, 16));
}

#[tokio::test]
async fn value_past_the_bound_alone_pushes_nothing_out() {
    let store = MemoryStore::cache("m", BOUNDS, clock().0);
    let a = put(&store, "a", "1").await.unwrap();
    let big = put(&store, "b", &"x".repeat(31)).await.unwrap();
    check(&store, &big, false).await;
    check(&store, &a, true).await;
    let at_limit = put(&store, "b", &"x".repeat(29)).await.unwrap();
    check(&store, &at_limit, true).await;
    check(&store, &a, true).await;
}

#[tokio::test]
async fn base_at_its_bounds_takes_nothing_more_and_loses_nothing() {
    let store = MemoryStore::base("m", BOUNDS, clock().0);
    let mut kept = Vec::new();
    for of in ["a", "b", "c"] {
        kept.push(put(&store, of, &"x".repeat(10)).await.unwrap());
    }
    let full = put(&store, "d", "").await.unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    let full = put(&store, "a", &"x".repeat(11)).await.unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    for secret in &kept {
        check(&store, secret, true).await;
    }
    let replaced = put(&store, "a", &"y".repeat(10)).await.unwrap();
    check(&store, &replaced, true).await;
}

#[tokio::test]
async fn entry_is_kept_until_its_time_is_up() {
    let (clock, hand) = clock();
    for store in [
        MemoryStore::cache("m", BOUNDS, clock.clone()),
        MemoryStore::base("m", BOUNDS, clock.clone()),
    ] {
        let a = put(&store, "a", "1").await.unwrap();
        hand.advance(Duration::from_nanos(59_999_999_999));
        check(&store, &a, true).await;
        hand.advance(Duration::from_nanos(1));
        check(&store, &a, false).await;
        assert!(store.look(&name("a")).await.unwrap().versions.is_empty());
        assert!(store.list().await.unwrap().is_empty());
        assert_eq!(store.held(), (1, 1), "not wiped yet");
        store.sweep();
        assert_eq!(store.held(), (0, 0));
    }
}

#[tokio::test]
async fn copy_of_another_write_is_not_served() {
    let store = MemoryStore::cache("m", BOUNDS, clock().0);
    let old = put(&store, "a", "1").await.unwrap();
    let new = put(&store, "a", "2").await.unwrap();
    check(&store, &old, false).await;
    check(&store, &new, true).await;
    assert_eq!(store.held(), (1, 1));
}

#[tokio::test]
async fn m1_sealed_memory_holds_another_form_than_the_value() {
    let sealer = TestSealer::new();
    let bounds = MemoryBounds { bytes: 1 << 20, ..BOUNDS };
    let store = MemoryStore::base("m", bounds, clock().0).sealed_by(sealer).unwrap();
    let secret = put(&store, "test", "Hello World").await.unwrap();
    check(&store, &secret, true).await;
    let read = store.read(&secret.metadata).await.unwrap().unwrap();
    assert_eq!(read.protection, Some(Protection::Software));
    let kept = store.shelf().index.row(&name("test"), &"v1".parse().unwrap()).cloned().unwrap();
    match kept.kept {
        Kept::Sealed(text, _) => assert!(text.as_str().starts_with("sealhost:1:")),
        Kept::Plain(_) => panic!("the value is kept in the clear"),
    }
}

#[tokio::test]
async fn debug_shows_no_value() {
    let store = MemoryStore::base("m", BOUNDS, clock().0);
    put(&store, "a", "marker").await.unwrap();
    let shown = format!("{store:?}");
    assert!(!shown.contains("marker") && !shown.contains("109, 97"), "{shown}");
}

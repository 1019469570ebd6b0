//! Older files, and counters that fail, stand still, come late or go back.

use super::*;

#[tokio::test]
async fn m18_file_of_before_a_change_is_refused_by_the_counter() {
    let bench = Bench::counted().filled().await;
    let older = bench.copy();
    let store = bench.open().await;
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    let newest = bench.copy();
    bench.put_back(&older);
    bench.refused("is an older copy").await;
    bench.copy().into_keys().for_each(|path| fs::remove_file(path).unwrap());
    bench.refused("is an older copy").await;
    bench.put_back(&newest);
    check(&bench.open().await, "a", Some("newer")).await;
}

#[tokio::test]
async fn number_of_the_state_cannot_be_lifted_to_the_counter() {
    let bench = Bench::counted().filled().await;
    let older = bench.copy();
    let store = bench.open().await;
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    bench.put_back(&older);
    bench.edit("UPDATE store SET state = state + 1");
    bench.refused("was altered").await;
}

#[tokio::test]
async fn counter_of_another_store_is_noticed() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let now = counter.get().unwrap();
    counter.set(Some(now - 2));
    bench.refused("as if it were another store's").await;
    counter.set(None);
    bench.refused("its counter is at nothing").await;
    counter.set(Some(now));
    check(&bench.open().await, "a", Some("alpha")).await;
}

#[tokio::test]
async fn change_that_was_not_counted_is_counted_at_the_next_opening() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let before = counter.get().unwrap();
    let store = bench.open().await;
    counter.is_down.store(true, Ordering::SeqCst);
    let refused = bench.put(&store, "a", "newer").await.unwrap_err();
    assert!(matches!(refused, StoreError::Uncounted(_)), "{refused}");
    check(&store, "a", Some("newer")).await;
    let refused = bench.put(&store, "a", "newest").await.unwrap_err();
    assert!(matches!(refused, StoreError::CountFirst(_)), "{refused}");
    check(&store, "a", Some("newer")).await;
    drop(store);
    counter.is_down.store(false, Ordering::SeqCst);
    let store = bench.open().await;
    check(&store, "a", Some("newer")).await;
    bench.put(&store, "a", "newest").await.unwrap();
    assert_eq!(counter.get(), Some(before + 2));
}

#[tokio::test]
async fn increment_whose_answer_was_lost_is_not_made_twice() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let before = counter.get().unwrap();
    let store = bench.open().await;
    counter.loses_answers.store(true, Ordering::SeqCst);
    bench.put(&store, "a", "newer").await.unwrap_err();
    counter.loses_answers.store(false, Ordering::SeqCst);
    bench.put(&store, "a", "newest").await.unwrap();
    assert_eq!(counter.get(), Some(before + 2));
    drop(store);
    check(&bench.open().await, "a", Some("newest")).await;
}

#[tokio::test]
async fn increment_that_happens_late_is_followed() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let store = bench.open().await;
    counter.loses_answers.store(true, Ordering::SeqCst);
    bench.put(&store, "a", "newer").await.unwrap_err();
    counter.loses_answers.store(false, Ordering::SeqCst);
    // The one whose answer was lost happens a second time, on its way through the host.
    counter.set(counter.get().map(|value| value + 1));
    bench.put(&store, "a", "newest").await.unwrap();
    drop(store);
    check(&bench.open().await, "a", Some("newest")).await;
}

#[tokio::test]
async fn increment_that_happens_late_between_two_changes_is_followed() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let store = bench.open().await;
    counter.set(counter.get().map(|value| value + 1));
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    let store = bench.open().await;
    check(&store, "a", Some("newer")).await;
    bench.put(&store, "a", "newest").await.unwrap();
}

#[tokio::test]
async fn counter_that_is_gone_or_went_back_stops_changes_and_not_reads() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let store = bench.open().await;
    counter.loses_answers.store(true, Ordering::SeqCst);
    bench.put(&store, "a", "newer").await.unwrap_err();
    for value in [None, Some(7)] {
        counter.set(value);
        let refused = bench.put(&store, "a", "newest").await.unwrap_err();
        assert!(matches!(refused, StoreError::CountFirst(_)), "{refused}");
        check(&store, "a", Some("newer")).await;
    }
}

#[tokio::test]
async fn accepted_store_keeps_what_opens_and_counts_anew() {
    let bench = Bench::counted().filled().await;
    let older = bench.copy();
    let store = bench.open().await;
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    bench.put_back(&older);
    bench.edit("UPDATE secrets SET write = randomblob(16) WHERE name = 'b'");
    bench.refused("").await;
    let store = bench.try_open(Accept::Present).await.unwrap();
    check(&store, "a", Some("alpha")).await;
    check(&store, "b", None).await;
    drop(store);
    let accepted = bench.copy();
    bench.put_back(&older);
    bench.refused("is an older copy").await;
    bench.put_back(&accepted);
    let store = bench.open().await;
    bench.put(&store, "a", "newer still").await.unwrap();
    drop(store);
    check(&bench.open().await, "a", Some("newer still")).await;
    bench.put_back(&older);
    bench.refused("is an older copy").await;
}

#[tokio::test]
async fn accepting_a_store_that_verifies_changes_nothing() {
    let bench = Bench::counted().filled().await;
    let before = bench.counter.as_ref().unwrap().get();
    check(&bench.try_open(Accept::Present).await.unwrap(), "b", Some("beta")).await;
    assert_eq!(bench.counter.as_ref().unwrap().get(), before);
}

#[tokio::test]
async fn change_without_the_host_is_unavailable_and_leaves_what_was() {
    let bench = Bench::counted().filled().await;
    let store = bench.open().await;
    bench.sealer.set_down(true);
    let refused = bench.put(&store, "a", "newer").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(read(&store, "a").await.unwrap_err().code(), Code::Unavailable);
    bench.sealer.set_down(false);
    check(&store, "a", Some("alpha")).await;
}

/// What is on disk at each step of a change, and the counter beside it.
#[tokio::test]
async fn m17_crash_between_commit_and_count_is_completed() {
    let bench = Bench::counted().filled().await;
    let counter = bench.counter.as_ref().unwrap();
    let store = bench.open().await;
    counter.is_down.store(true, Ordering::SeqCst);
    bench.put(&store, "a", "newer").await.unwrap_err();
    let crashed = bench.copy();
    drop(store);
    counter.is_down.store(false, Ordering::SeqCst);
    bench.put_back(&crashed);
    let behind = counter.get();
    let store = bench.open().await;
    assert_eq!(counter.get(), behind.map(|behind| behind + 1), "completed at once");
    check(&store, "a", Some("newer")).await;
    bench.put(&store, "b", "newer").await.unwrap();
    assert_eq!(counter.get(), behind.map(|behind| behind + 2));
}

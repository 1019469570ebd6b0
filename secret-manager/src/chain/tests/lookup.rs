//! Get, get of several, force, list.

use super::*;

#[tokio::test]
async fn m3_list_takes_from_the_file_once_and_then_from_memory() {
    let bench = Bench::new().await;
    for of in ["a", "b", "c", "d"] {
        bench.put(of, "v1", of).await;
    }
    bench.memory_is_emptied().await;
    let names = ["a", "b", "c", "d"].map(|of| query(of, ""));
    for (range, held) in [(0..2, 2), (2..4, 4), (0..4, 4)] {
        let opened = bench.sealer.opened.load(Ordering::SeqCst);
        let found = bench.chain.get_many(&names[range.clone()], Freshness::Stored).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(bench.memory.held().0, held);
        let opened = bench.sealer.opened.load(Ordering::SeqCst) - opened;
        assert_eq!(opened, if range == (0..4) { 0 } else { 2 });
    }
    assert_eq!(bench.file.len(), 4);
    assert_eq!(bench.source.requests(), 0);
}

#[tokio::test]
async fn m4_newest_activation_is_found() {
    let bench = Bench::new().await;
    let later = Draft { activation: date("2025-06-01T00:00:00Z"), ..draft("a", "v2", "two") };
    bench.chain.put(later, &user()).await.unwrap();
    bench.put("a", "v1", "one").await;
    bench.check("a", "two", "memory").await;
}

#[tokio::test]
async fn m6_version_out_of_its_dates_is_asked_of_the_source_and_never_another() {
    let bench = Bench::new().await;
    let expired = Draft { expiration: date("2025-06-01T00:00:00Z"), ..draft("a", "v1", "one") };
    bench.chain.put(expired, &user()).await.unwrap();
    bench.put("a", "v2", "two").await;
    bench.refused("a@v1", Code::NotFound).await;
    let asked = bench.source.asked.lock().unwrap().concat();
    let asked: Vec<_> = asked.iter().map(|it| it.version.as_ref().unwrap().as_str()).collect();
    assert_eq!(asked, ["v1"]);
    bench.check("a", "two", "memory").await;
}

#[tokio::test]
async fn m7_cold_chain_asks_once_and_keeps_what_comes_in_every_layer() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "canary")]);
    bench.check("a", "canary", "test").await;
    assert_eq!((bench.source.requests(), bench.file.len(), bench.memory.held()), (1, 1, (1, 6)));
    bench.check("a", "canary", "memory").await;
    bench.memory_is_emptied().await;
    bench.check("a", "canary", "file").await;
    bench.check("a", "canary", "memory").await;
    assert_eq!(bench.source.requests(), 1);
    for entry in bench.dir.path().read_dir().unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
}

#[tokio::test]
async fn m8_force_asks_again_and_writes_every_layer_anew() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "old")]);
    bench.check("a", "old", "test").await;
    bench.source.take_away("a");
    bench.source.give(vec![draft("a", "v1", "new")]);
    bench.check("a", "old", "memory").await;
    bench.force("a", "new").await;
    assert_eq!(bench.source.requests(), 2);
    bench.check("a", "new", "memory").await;
    bench.memory_is_emptied().await;
    bench.check("a", "new", "file").await;
}

#[tokio::test]
async fn m9_forced_list_has_values_of_the_source_in_one_request() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "one"), draft("b", "v1", "two")]);
    let names = ["a", "b", "missing"].map(|of| query(of, ""));
    let found = bench.chain.get_many(&names, Freshness::Forced).await;
    Bench::found(&found[0], "one", "test");
    Bench::found(&found[1], "two", "test");
    assert!(matches!(found[2], Err(GetError::NotFound)));
    assert_eq!(bench.source.requests(), 1);
}

#[tokio::test]
async fn force_without_a_source_reads_the_base() {
    let (clock, _hand) = clock();
    let base = Arc::new(MemoryStore::base("base", BOUNDS, clock.clone()));
    let head = Arc::new(MemoryStore::cache("head", BOUNDS, clock.clone()));
    let chain = ChainBuilder::new(base, clock).in_front(head).build().unwrap();
    chain.put(draft("a", "", "x"), &user()).await.unwrap();
    let found = chain.get(&query("a", ""), Freshness::Forced).await;
    Bench::found(&found, "x", "base");
    Bench::found(&chain.get(&query("a", ""), Freshness::Stored).await, "x", "head");
}

#[tokio::test]
async fn m11_secret_without_a_version_is_stored_as_default() {
    let bench = Bench::new().await;
    bench.put("a", "", "put").await;
    bench.check("a@default", "put", "memory").await;
    bench.source.give(vec![draft("b", "", "delivered")]);
    bench.check("b", "delivered", "test").await;
    bench.check("b@default", "delivered", "memory").await;
}

#[tokio::test]
async fn m14_silent_source_is_unavailable_and_not_remembered_as_missing() {
    let bench = Bench::new().await;
    bench.source.is_silent.store(true, Ordering::SeqCst);
    bench.refused("a", Code::Unavailable).await;
    bench.source.is_silent.store(false, Ordering::SeqCst);
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.check("a", "x", "test").await;
}

#[tokio::test]
async fn m14_stored_secrets_are_served_while_the_source_is_silent() {
    let bench = Bench::new().await;
    bench.put("a", "v1", "x").await;
    bench.source.is_silent.store(true, Ordering::SeqCst);
    bench.check("a", "x", "memory").await;
    let forced = bench.chain.get(&query("a", ""), Freshness::Forced).await;
    assert_eq!(forced.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn m15_one_missing_of_three_is_missing_alone() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "one"), draft("c", "v1", "three")]);
    let names = ["a", "b", "c"].map(|of| query(of, ""));
    let found = bench.chain.get_many(&names, Freshness::Stored).await;
    Bench::found(&found[0], "one", "test");
    assert!(matches!(found[1], Err(GetError::NotFound)));
    Bench::found(&found[2], "three", "test");
    assert_eq!(bench.source.requests(), 1);
}

#[tokio::test]
async fn missing_secret_is_asked_for_once_until_its_time_is_up() {
    let bench = Bench::new().await;
    bench.refused("a", Code::NotFound).await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.refused("a", Code::NotFound).await;
    assert_eq!(bench.source.requests(), 1);
    bench.hand.advance(NEGATIVE_TTL);
    bench.check("a", "x", "test").await;
}

#[tokio::test]
async fn put_and_force_end_the_memory_of_what_is_missing() {
    let bench = Bench::new().await;
    bench.refused("a", Code::NotFound).await;
    bench.put("a", "v1", "x").await;
    bench.check("a", "x", "memory").await;
    bench.refused("b", Code::NotFound).await;
    bench.source.give(vec![draft("b", "v1", "y")]);
    bench.force("b", "y").await;
    bench.check("b", "y", "memory").await;
}

#[tokio::test]
async fn version_of_an_unknown_name_is_asked_for_twice_at_most() {
    let bench = Bench::new().await;
    bench.source.gives_latest_only.store(true, Ordering::SeqCst);
    bench.source.give(vec![draft("a", "v1", "one"), draft("a", "v2", "two")]);
    bench.check("a@v1", "one", "test").await;
    assert_eq!(bench.source.requests(), 2);
    // Both are known now, so that the newest is found without asking.
    bench.check("a", "two", "memory").await;
    assert_eq!(bench.source.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn m21_hundred_tasks_share_one_request() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    let gate = bench.source.hold();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let chain = bench.chain.clone();
        tasks.spawn(async move { chain.get(&query("a", ""), Freshness::Stored).await });
    }
    while bench.source.requests() == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(100);
    while let Some(found) = tasks.join_next().await {
        assert_eq!(found.unwrap().unwrap().secret.value.as_bytes(), b"x");
    }
    assert_eq!(bench.source.requests(), 1);
}

#[tokio::test]
async fn request_outlives_the_caller_who_made_it() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    let gate = bench.source.hold();
    let chain = bench.chain.clone();
    let first = tokio::spawn(async move { chain.get(&query("a", ""), Freshness::Stored).await });
    while bench.source.requests() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    gate.add_permits(1);
    bench.check("a", "x", "test").await;
    assert_eq!(bench.source.requests(), 1);
}

#[tokio::test]
async fn w10_copy_that_does_not_open_is_taken_from_the_base() {
    let (clock, _hand) = clock();
    let sealer = TestSealer::new();
    let base = Arc::new(MemoryStore::base("base", BOUNDS, clock.clone()));
    let head = MemoryStore::cache("head", BOUNDS, clock.clone());
    let head = Arc::new(head.sealed_by(Arc::<TestSealer>::clone(&sealer)).unwrap());
    let chain = ChainBuilder::new(base, clock).in_front(head).build().unwrap();
    chain.put(draft("a", "", "x"), &user()).await.unwrap();
    sealer.set_down(true);
    Bench::found(&chain.get(&query("a", ""), Freshness::Stored).await, "x", "base");
}

#[tokio::test]
async fn secret_of_the_source_is_served_even_when_it_cannot_be_stored() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.sealer.set_down(true);
    bench.check("a", "x", "test").await;
    assert_eq!(bench.file.len(), 0);
}

#[tokio::test]
async fn answer_about_another_name_or_never_active_is_passed_over() {
    let bench = Bench::new().await;
    let never = Draft { expiration: wire::secrets::Date::MIN, ..draft("a", "v1", "never") };
    bench.source.has.lock().unwrap().insert("a".into(), vec![never, draft("b", "v1", "other")]);
    bench.refused("a", Code::NotFound).await;
    assert_eq!(bench.file.len(), 0);
}

#[tokio::test]
async fn versions_are_listed_preferred_first_and_names_by_prefix() {
    let bench = Bench::new().await;
    for (of, version) in [("app/a", "v1"), ("app/a", "v2"), ("apple", "v1")] {
        bench.put(of, version, "x").await;
    }
    let versions = bench.chain.versions(&name("app/a")).await.unwrap();
    let versions: Vec<_> = versions.iter().map(|it| it.version.as_str()).collect();
    assert_eq!(versions, ["v2", "v1"]);
    assert_eq!(bench.chain.list("app/").await.unwrap().len(), 2);
    assert_eq!(bench.chain.list("").await.unwrap().len(), 3);
}

#[tokio::test]
async fn clock_turned_back_brings_no_expired_secret_to_life() {
    let bench = Bench::new().await;
    let value = Value::new(b"x".to_vec().into()).unwrap();
    let short =
        Draft { expiration: date("2026-01-02T00:00:00Z"), ..Draft::new(name("a"), None, value) };
    bench.chain.put(short, &user()).await.unwrap();
    bench.clock.observe(date("2026-06-01T00:00:00Z"));
    let now = bench.chain.now();
    assert!(now.behind);
    let asked = Query { at: Some(now.date), ..query("a", "") };
    let found = bench.chain.get(&asked, Freshness::Stored).await;
    assert!(matches!(found, Err(GetError::NotFound)));
}

#[tokio::test]
async fn copy_that_was_forgotten_is_brought_back_by_the_next_get() {
    let bench = Bench::new().await;
    bench.put("a", "", "x").await;
    let memory: &dyn Store = bench.memory.as_ref();
    memory.erase(&name("a"), None, Erasure::Forget).await.unwrap();
    bench.check("a", "x", "file").await;
    bench.check("a", "x", "memory").await;
}

//! Put, delete, clear, deliver.

use super::*;

#[tokio::test]
async fn m10_put_goes_from_the_base_to_the_head_sealed_by_each_with_its_own_key() {
    let (clock, _hand) = clock();
    let (one, two) = (TestSealer::new(), TestSealer::new());
    let base = MemoryStore::base("base", BOUNDS, clock.clone());
    let base = Arc::new(base.sealed_by(Arc::<TestSealer>::clone(&one)).unwrap());
    let head = MemoryStore::cache("head", BOUNDS, clock.clone());
    let head = Arc::new(head.sealed_by(Arc::<TestSealer>::clone(&two)).unwrap());
    let chain = ChainBuilder::new(Arc::<MemoryStore>::clone(&base), clock)
        .in_front(Arc::<MemoryStore>::clone(&head))
        .build()
        .unwrap();
    two.set_down(true);
    chain.put(draft("a", "", "x"), &user()).await.unwrap();
    assert_eq!((base.held().0, head.held().0), (1, 0), "the base alone");
    two.set_down(false);
    chain.put(draft("a", "", "x"), &user()).await.unwrap();
    assert_eq!((base.held().0, head.held().0), (1, 1));
    one.set_down(true);
    Bench::found(&chain.get(&query("a", ""), Freshness::Stored).await, "x", "head");
    let refused = chain.put(draft("b", "", "y"), &user()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!((base.held().0, head.held().0), (1, 1), "nothing in the head without the base");
}

#[tokio::test]
async fn m12_clear_empties_memory_and_file_and_leaves_the_source() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.check("a", "x", "test").await;
    bench.chain.clear().await.unwrap();
    assert_eq!((bench.file.len(), bench.memory.held()), (0, (0, 0)));
    bench.check("a", "x", "test").await;
}

#[tokio::test]
async fn m16_delete_erases_every_layer_and_keeps_the_source_out_until_forced() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.check("a", "x", "test").await;
    let erased = bench.chain.delete(&name("a"), None, &user()).await.unwrap();
    assert_eq!((erased, bench.file.len(), bench.memory.held()), (1, 0, (0, 0)));
    bench.refused("a", Code::NotFound).await;
    bench.refused("a@v1", Code::NotFound).await;
    assert_eq!(bench.source.requests(), 1, "a tombstone ends the lookup");
    bench.force("a", "x").await;
    bench.check("a", "x", "memory").await;
}

#[tokio::test]
async fn m16_answer_under_way_at_the_delete_is_dropped() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "x")]);
    for freshness in [Freshness::Stored, Freshness::Forced] {
        let gate = bench.source.hold();
        let (chain, requests) = (bench.chain.clone(), bench.source.requests());
        let get = tokio::spawn(async move { chain.get(&query("a", ""), freshness).await });
        while bench.source.requests() == requests {
            tokio::task::yield_now().await;
        }
        bench.chain.delete(&name("a"), None, &user()).await.unwrap();
        gate.add_permits(1);
        assert!(matches!(get.await.unwrap(), Err(GetError::NotFound)), "{freshness:?}");
        assert_eq!((bench.file.len(), bench.memory.held().0), (0, 0));
    }
}

#[tokio::test]
async fn m16_deletion_of_one_version_leaves_the_other() {
    let bench = Bench::new().await;
    bench.put("a", "v1", "one").await;
    bench.put("a", "v2", "two").await;
    let version = "v2".parse().unwrap();
    assert_eq!(bench.chain.delete(&name("a"), Some(&version), &user()).await.unwrap(), 1);
    bench.check("a", "one", "memory").await;
    bench.refused("a@v2", Code::NotFound).await;
}

#[tokio::test]
async fn put_after_a_delete_brings_back_what_was_put_alone() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "one")]);
    bench.check("a", "one", "test").await;
    bench.chain.delete(&name("a"), None, &user()).await.unwrap();
    bench.put("a", "v2", "two").await;
    bench.check("a", "two", "memory").await;
    bench.refused("a@v1", Code::NotFound).await;
}

#[tokio::test]
async fn put_during_a_request_is_not_overwritten_by_its_answer() {
    let bench = Bench::new().await;
    bench.source.give(vec![draft("a", "v1", "remote")]);
    let gate = bench.source.hold();
    let chain = bench.chain.clone();
    let get = tokio::spawn(async move { chain.get(&query("a", ""), Freshness::Stored).await });
    while bench.source.requests() == 0 {
        tokio::task::yield_now().await;
    }
    bench.put("a", "v1", "put").await;
    gate.add_permits(1);
    Bench::found(&get.await.unwrap(), "put", "memory");
    bench.check("a", "put", "memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m21_hundred_tasks_that_put_and_get_lose_no_update() {
    let bench = Bench::new().await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let chain = bench.chain.clone();
        tasks.spawn(async move {
            let version = format!("v{number}");
            chain.put(draft("a", &version, &version), &user()).await.unwrap();
            let found = chain.get(&query("a", &version), Freshness::Stored).await.unwrap();
            assert_eq!(found.secret.value.as_bytes(), version.as_bytes());
            let shared = chain.put(draft("b", "", &version), &user()).await.unwrap();
            let found = chain.get(&query("b", ""), Freshness::Stored).await.unwrap();
            // Whoever put last, it is never older than what was put here.
            assert!(found.secret.metadata.updated_at >= shared.updated_at);
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(bench.chain.versions(&name("a")).await.unwrap().len(), 100);
    let from_memory = bench.chain.get(&query("b", ""), Freshness::Stored).await.unwrap();
    bench.memory_is_emptied().await;
    let stored = bench.chain.get(&query("b", ""), Freshness::Stored).await.unwrap();
    assert_eq!(stored.secret.value, from_memory.secret.value);
    assert_eq!(stored.secret.metadata, from_memory.secret.metadata);
}

#[tokio::test]
async fn delivery_is_stored_and_the_same_again_changes_nothing() {
    let bench = Bench::new().await;
    let delivery = |value| Delivery {
        issued: date("2025-12-01T00:00:00Z"),
        secrets: vec![draft("a", "v1", value)],
        removals: vec![Removal { name: name("a"), version: None }],
    };
    let by = "source:test".parse().unwrap();
    assert_eq!(bench.chain.deliver(delivery("x"), &by).await.unwrap(), [Written::Stored]);
    let mut changes = bench.chain.watch();
    assert_eq!(bench.chain.deliver(delivery("y"), &by).await.unwrap(), [Written::Outdated]);
    assert!(changes.try_recv().is_err());
    bench.check("a", "x", "memory").await;
}

#[tokio::test]
async fn later_delivery_replaces_and_an_earlier_one_does_not() {
    let bench = Bench::new().await;
    let delivery = |issued: &str, value| Delivery {
        issued: date(issued),
        secrets: vec![draft("a", "v1", value)],
        removals: Vec::new(),
    };
    let by = "source:test".parse().unwrap();
    for (issued, value, found) in [
        ("2025-12-02T00:00:00Z", "second", "second"),
        ("2025-12-01T00:00:00Z", "first", "second"),
        ("2025-12-03T00:00:00Z", "third", "third"),
    ] {
        bench.chain.deliver(delivery(issued, value), &by).await.unwrap();
        bench.check("a", found, "memory").await;
    }
    // What a caller put since then is newer than what was written in December.
    bench.put("a", "v1", "put").await;
    bench.chain.deliver(delivery("2025-12-04T00:00:00Z", "fourth"), &by).await.unwrap();
    bench.check("a", "put", "memory").await;
}

#[tokio::test]
async fn delivery_from_the_future_counts_as_one_of_now() {
    let bench = Bench::new().await;
    let by = "source:test".parse().unwrap();
    let delivery = Delivery {
        issued: date("2099-01-01T00:00:00Z"),
        secrets: Vec::new(),
        removals: vec![Removal { name: name("a"), version: None }],
    };
    bench.chain.deliver(delivery, &by).await.unwrap();
    bench.source.give(vec![draft("a", "v1", "x")]);
    bench.tick();
    bench.force("a", "x").await;
}

#[tokio::test]
async fn delivered_removal_leaves_what_is_newer() {
    let bench = Bench::new().await;
    let by = "source:test".parse().unwrap();
    let deliver = |issued: &str, secrets, removals| {
        let delivery = Delivery { issued: date(issued), secrets, removals };
        bench.chain.deliver(delivery, &by)
    };
    let old = vec![draft("a", "v1", "one")];
    deliver("2025-12-01T00:00:00Z", old, Vec::new()).await.unwrap();
    bench.put("a", "v2", "two").await;
    let removals = vec![Removal { name: name("a"), version: None }];
    deliver("2025-12-02T00:00:00Z", Vec::new(), removals).await.unwrap();
    bench.refused("a@v1", Code::NotFound).await;
    bench.check("a", "two", "memory").await;
}

#[tokio::test]
async fn watcher_is_told_of_every_change() {
    let bench = Bench::new().await;
    let mut changes = bench.chain.watch();
    bench.put("a", "v1", "x").await;
    bench.chain.delete(&name("a"), None, &user()).await.unwrap();
    bench.chain.clear().await.unwrap();
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push((change.kind, change.name.map(|name| name.to_string())));
    }
    let a = Some("a".to_owned());
    assert_eq!(
        told,
        [(ChangeKind::Put, a.clone()), (ChangeKind::Delete, a), (ChangeKind::Clear, None)]
    );
}

#[tokio::test]
async fn put_that_is_never_active_is_refused_and_nothing_is_stored() {
    let bench = Bench::new().await;
    let never = Draft { expiration: wire::secrets::Date::MIN, ..draft("b", "", "x") };
    let refused = bench.chain.put_many(vec![draft("a", "", "x"), never], &user()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Invalid);
    assert_eq!(bench.file.len(), 0);
}

#[tokio::test]
async fn watcher_that_is_behind_is_told_how_many_changes_it_missed() {
    let (clock, _hand) = clock();
    let base = Arc::new(MemoryStore::base("base", BOUNDS, clock.clone()));
    let chain = ChainBuilder::new(base, clock).build().unwrap();
    let (mut at_limit, mut past) = (chain.watch(), chain.watch());
    for _ in 0..CHANGES_KEPT {
        chain.put(draft("a", "", "x"), &user()).await.unwrap();
    }
    assert!(at_limit.try_recv().is_ok());
    chain.put(draft("a", "", "x"), &user()).await.unwrap();
    let missed = past.try_recv().unwrap_err();
    assert_eq!(missed, broadcast::error::TryRecvError::Lagged(1));
}

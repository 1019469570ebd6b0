//! The chain over stores in memory and on disk, with a source that does as it is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use daemon::clock::ClockHand;
use tempfile::TempDir;
use tokio::task::JoinSet;
use wire::code::Code;
use wire::secrets::ChangeKind;

use super::*;
use crate::secret::{Draft, Value};
use crate::source::{Delivery, Removal};
use crate::store::file::{Accept, FileStore, FileStoreOptions};
use crate::store::memory::{MemoryBounds, MemoryStore};
use crate::store::{Erasure, Written};
use crate::testing::{TestSealer, TestSource, clock, date, draft, name, query, user};

const BOUNDS: MemoryBounds = MemoryBounds { entries: 100, bytes: 1 << 20, ttl: None };

/// Remote, file and memory, as edge-secrets has them.
struct Bench {
    chain: Chain,
    source: Arc<TestSource>,
    memory: Arc<MemoryStore>,
    file: FileStore,
    sealer: Arc<TestSealer>,
    hand: ClockHand,
    clock: StoreClock,
    dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (clock, hand) = clock();
        let (source, sealer) = (TestSource::new(), TestSealer::new());
        let dir = tempfile::tempdir().unwrap();
        let options = FileStoreOptions {
            label: "file".into(),
            path: dir.path().join("secrets.db"),
            sealer: Arc::<TestSealer>::clone(&sealer),
            counter: None,
            clock: clock.clone(),
            accept: Accept::Verified,
        };
        let file = FileStore::open(options).await.unwrap();
        let memory = Arc::new(MemoryStore::cache("memory", BOUNDS, clock.clone()));
        let chain = ChainBuilder::new(Arc::new(file.clone()), clock.clone())
            .in_front(Arc::<MemoryStore>::clone(&memory))
            .source(Arc::<TestSource>::clone(&source))
            .build()
            .unwrap();
        Self { chain, source, memory, file, sealer, hand, clock, dir }
    }

    #[track_caller]
    fn found(found: &Result<Got, GetError>, value: &str, from: &str) {
        match found {
            Ok(got) => {
                assert_eq!(str::from_utf8(got.secret.value.as_bytes()), Ok(value));
                assert_eq!(got.from, from);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What a lookup finds, and where.
    async fn check(&self, asked: &str, value: &str, from: &str) {
        let (of, version) = asked.split_once('@').unwrap_or((asked, ""));
        let found = self.chain.get(&query(of, version), Freshness::Stored).await;
        Self::found(&found, value, from);
    }

    async fn force(&self, asked: &str, value: &str) {
        let found = self.chain.get(&query(asked, ""), Freshness::Forced).await;
        Self::found(&found, value, "test");
    }

    async fn refused(&self, asked: &str, code: Code) {
        let (of, version) = asked.split_once('@').unwrap_or((asked, ""));
        let found = self.chain.get(&query(of, version), Freshness::Stored).await;
        assert_eq!(found.unwrap_err().code(), code);
    }

    async fn put(&self, of: &str, version: &str, value: &str) {
        self.chain.put(draft(of, version, value), &user()).await.unwrap();
    }

    fn tick(&self) {
        self.hand.advance(Duration::from_nanos(1));
    }

    async fn memory_is_emptied(&self) {
        let memory: &dyn Store = self.memory.as_ref();
        memory.clear().await.unwrap();
    }
}

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
async fn m11_secret_without_a_version_is_stored_as_default() {
    let bench = Bench::new().await;
    bench.put("a", "", "put").await;
    bench.check("a@default", "put", "memory").await;
    bench.source.give(vec![draft("b", "", "delivered")]);
    bench.check("b", "delivered", "test").await;
    bench.check("b@default", "delivered", "memory").await;
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

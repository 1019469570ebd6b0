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
            recorded: 0,
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

mod change;
mod lookup;

//! The file: edited, replayed, cut off, shared, and without host or counter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use tempfile::TempDir;
use wire::code::Code;
use wire::secrets::{Date, Tags};

use super::*;
use crate::secret::{Draft, Query, Stamp, Standing};
use crate::testing::{TestCounter, TestSealer, clock, draft, name, user};

/// A file, who seals it, and what counts its changes.
struct Bench {
    dir: TempDir,
    sealer: Arc<TestSealer>,
    counter: Option<Arc<TestCounter>>,
    clock: StoreClock,
}

/// The files of a store, to be put back.
type Copy = BTreeMap<PathBuf, Vec<u8>>;

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, sealer: TestSealer::new(), counter: None, clock: clock().0 }
    }

    fn counted() -> Self {
        Self { counter: Some(Arc::default()), ..Self::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("secrets.db")
    }

    async fn try_open(&self, accept: Accept) -> Result<FileStore, OpenError> {
        let counter = self.counter.as_ref();
        let options = FileStoreOptions {
            label: "file".into(),
            path: self.path(),
            sealer: Arc::<TestSealer>::clone(&self.sealer),
            counter: counter.map(|counter| Arc::<TestCounter>::clone(counter) as Arc<dyn Counter>),
            recorded: 0,
            clock: self.clock.clone(),
            accept,
        };
        FileStore::open(options).await
    }

    async fn open(&self) -> FileStore {
        self.try_open(Accept::Verified).await.unwrap()
    }

    async fn refused(&self, words: &str) {
        let refused = self.try_open(Accept::Verified).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }

    fn secret(&self, draft: Draft) -> Secret {
        let at = self.clock.stamp();
        let stamp = Stamp { standing: Standing::Offered, at, by: &user(), as_of: at };
        draft.into_secret(None, &stamp)
    }

    async fn put(&self, store: &FileStore, of: &str, value: &str) -> Result<(), StoreError> {
        let secret = self.secret(draft(of, "v1", value));
        let written = store.write(&[secret], Claim::Put).await?;
        assert_eq!(written, [Written::Stored]);
        Ok(())
    }

    /// A store with two secrets and a tombstone, closed.
    async fn filled(self) -> Self {
        let store = self.open().await;
        let tags = Tags::new([("team".to_owned(), "blue".to_owned())].into()).unwrap();
        let tagged = Draft { tags, ..draft("a", "v1", "alpha") };
        let secrets = [self.secret(tagged), self.secret(draft("b", "v1", "beta"))];
        store.write(&secrets, Claim::Put).await.unwrap();
        delete(&store, &self.clock, "c").await;
        self
    }

    fn edit(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    fn copy(&self) -> Copy {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn put_back(&self, copy: &Copy) {
        self.copy().into_keys().for_each(|path| fs::remove_file(path).unwrap());
        copy.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
}

async fn delete(store: &FileStore, clock: &StoreClock, of: &str) -> usize {
    let erasure = Erasure::Delete { at: clock.stamp(), by: user() };
    store.erase(&name(of), None, erasure).await.unwrap()
}

async fn read(store: &FileStore, of: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let known = store.look(&name(of)).await?;
    let query = Query { name: name(of), version: None, at: None };
    let Some(chosen) = crate::secret::select(&known.versions, &query) else { return Ok(None) };
    let read = store.read(chosen).await?;
    Ok(read.map(|read| read.secret.value.as_bytes().to_vec()))
}

async fn check(store: &FileStore, of: &str, value: Option<&str>) {
    let found = read(store, of).await.unwrap();
    assert_eq!(found.as_deref(), value.map(str::as_bytes));
}

mod altered;
mod counted;

#[tokio::test]
async fn store_is_read_again_after_it_was_closed() {
    let bench = Bench::new().filled().await;
    let store = bench.open().await;
    check(&store, "a", Some("alpha")).await;
    let known = store.look(&name("a")).await.unwrap();
    assert_eq!(known.versions[0].tags.entries()["team"], "blue");
    assert!(store.look(&name("c")).await.unwrap().is_deleted(None));
    assert_eq!(store.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn files_are_their_users_alone() {
    let bench = Bench::new().filled().await;
    let _open = bench.open().await;
    for path in bench.copy().into_keys() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn file_without_a_counter_cannot_tell_that_it_is_older() {
    let bench = Bench::new().filled().await;
    let older = bench.copy();
    let store = bench.open().await;
    bench.put(&store, "a", "newer").await.unwrap();
    drop(store);
    bench.put_back(&older);
    check(&bench.open().await, "a", Some("alpha")).await;
}

#[tokio::test]
async fn store_whose_host_is_down_is_refused_as_such() {
    let bench = Bench::new().filled().await;
    bench.sealer.set_down(true);
    bench.refused("cannot be verified").await;
    bench.sealer.set_down(false);
    check(&bench.open().await, "a", Some("alpha")).await;
}

#[tokio::test]
async fn m21_second_opener_is_told_that_the_store_is_in_use() {
    let bench = Bench::new().filled().await;
    let _first = bench.open().await;
    bench.refused("is in use by another process").await;
}

#[tokio::test]
async fn link_in_the_place_of_the_file_is_not_followed() {
    let bench = Bench::new();
    let elsewhere = bench.dir.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, bench.path()).unwrap();
    bench.refused("check its directory").await;
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn erased_value_is_gone_from_the_files() {
    let bench = Bench::new().filled().await;
    let sealed: String = Connection::open(bench.path())
        .unwrap()
        .query_row("SELECT sealed FROM secrets WHERE name = 'a'", [], |row| row.get(0))
        .unwrap();
    let holds = |copy: Copy| {
        let needle = sealed.as_bytes();
        copy.values().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    assert!(holds(bench.copy()));
    let store = bench.open().await;
    assert_eq!(delete(&store, &bench.clock, "a").await, 1);
    assert!(!holds(bench.copy()));
}

#[tokio::test]
async fn m12_cleared_store_is_empty_after_it_was_opened_again() {
    let bench = Bench::new().filled().await;
    let store = bench.open().await;
    store.clear().await.unwrap();
    drop(store);
    let store = bench.open().await;
    assert!(store.is_empty());
    assert!(store.look(&name("c")).await.unwrap().is_deleted(None), "tombstones stay");
}

#[tokio::test]
async fn dates_on_record_outlive_a_clock_that_was_turned_back() {
    let bench = Bench::new();
    let late = Date::parse("2030-01-01T00:00:00Z").unwrap();
    bench.clock.observe(late);
    let bench = bench.filled().await;
    let bench = Bench { clock: clock().0, ..bench };
    assert!(!bench.clock.now().behind);
    let _store = bench.open().await;
    assert!(bench.clock.now().behind && bench.clock.now().date > late);
}

/// where it is finished: the store has the change or has it not, and nothing else.
#[tokio::test]
async fn m17_change_cut_off_at_any_write_is_wholly_there_or_absent() {
    const PAGE: usize = 4096 + 24;
    let bench = Bench::new().filled().await;
    let (old, new) = ("alpha".repeat(3000), "omega".repeat(3000));
    let store = bench.open().await;
    bench.put(&store, "a", &old).await.unwrap();
    drop(store);
    let before = bench.copy();
    let store = bench.open().await;
    bench.put(&store, "a", &new).await.unwrap();
    let after = bench.copy();
    drop(store);
    let wal = bench.dir.path().join("secrets.db-wal");
    let log = after[&wal].clone();
    let frames = (32..log.len()).step_by(PAGE);
    let cuts = frames.flat_map(|at| [at, at + 1, at + PAGE / 2]);
    let end = log.len().saturating_sub(64)..=log.len();
    let mut outcomes = [0, 0];
    for cut in [0, 1, 31].into_iter().chain(cuts).chain(end).filter(|cut| *cut <= log.len()) {
        let mut copy = before.clone();
        copy.insert(wal.clone(), log[..cut].to_vec());
        bench.put_back(&copy);
        let store = bench.open().await;
        let found = read(&store, "a").await.unwrap().unwrap();
        assert!(found == old.as_bytes() || found == new.as_bytes(), "cut at {cut}");
        outcomes[usize::from(found == new.as_bytes())] += 1;
        check(&store, "b", Some("beta")).await;
    }
    assert!(outcomes[0] > 10 && outcomes[1] >= 1, "{outcomes:?}");
}

#[tokio::test]
async fn sealed_forms_and_metadata_alone_are_in_the_file() {
    let bench = Bench::new().filled().await;
    let bytes = bench.copy().into_values().flatten().collect::<Vec<_>>();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("blue") && holds("sealhost:1:"));
    assert!(!holds("alpha") && !holds("beta"));
}

#[tokio::test]
async fn tombstones_past_the_limit_push_out_the_oldest() {
    let mut index: Index<Stored, Buried> = Index::default();
    let tombstone = |number: usize| Buried {
        tombstone: Tombstone {
            name: name(&format!("n{number}")),
            version: None,
            deleted_at: Date::from_unix(i64::try_from(number).unwrap(), 0).unwrap(),
            deleted_by: user(),
        },
        digest: [0; 32],
    };
    for number in 0..crate::store::TOMBSTONES_MAX {
        index.bury(tombstone(number));
        assert!(number > 10 || index.grave_too_many().is_none());
    }
    assert!(index.grave_too_many().is_none());
    index.bury(tombstone(crate::store::TOMBSTONES_MAX));
    assert_eq!(index.grave_too_many().unwrap().name, name("n0"));
}

#[tokio::test]
async fn secrets_at_limit_are_stored_and_one_more_is_refused() {
    let bench = Bench::new();
    let store = bench.open().await;
    {
        // Sealing them all would take minutes; the bound is on what the index holds.
        let mut index = store.inner.index.write().unwrap();
        let metadata = bench.secret(draft("n", "v1", "")).metadata;
        for number in 1..SECRETS_MAX {
            let name = name(&format!("n{number}"));
            let metadata = Arc::new(Metadata { name, ..Metadata::clone(&metadata) });
            index.put(Stored { metadata, write: Id::from_bytes([0; 16]), digest: [0; 32] });
        }
    }
    bench.put(&store, "a", "the last").await.unwrap();
    assert_eq!(store.len(), SECRETS_MAX);
    let refused = bench.put(&store, "b", "one more").await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    bench.put(&store, "a", "in its place").await.unwrap();
    check(&store, "a", Some("in its place")).await;
}

#[tokio::test]
async fn directory_without_the_right_to_write_is_named() {
    let bench = Bench::new();
    let missing = Path::new("/nonexistent/secrets.db");
    let options = FileStoreOptions {
        label: "file".into(),
        path: missing.into(),
        sealer: Arc::<TestSealer>::clone(&bench.sealer),
        counter: None,
        recorded: 0,
        clock: bench.clock.clone(),
        accept: Accept::Verified,
    };
    let refused = FileStore::open(options).await.unwrap_err().to_string();
    assert!(refused.starts_with("store /nonexistent/secrets.db: "), "{refused}");
}

//! The library of the secret manager on the real host: values sealed in software and in a TPM.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::Clock;
use rusqlite::Connection;
use sealhost_client::Client;
use secret_manager::{
    Accept, Chain, ChainBuilder, Draft, FileStore, FileStoreOptions, Freshness, GetError, Got,
    HostSealer, MemoryBounds, MemoryStore, OpenError, PutError, Query, StoreClock, Value,
};
use serde_json::json;
use swtpm_fixtures::Swtpm;
use tempfile::TempDir;
use tests::{Sealhost, Setup};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use wire::api::Protection;
use wire::code::Code;
use wire::secrets::Author;

const BOUNDS: MemoryBounds = MemoryBounds { entries: 1000, bytes: 1 << 24, ttl: None };

/// A host with one key, and a directory for a store.
struct Bench {
    host: Sealhost,
    dir: TempDir,
    runtime: Runtime,
}

impl Bench {
    fn new(host: Sealhost, provider: &str) -> Self {
        host.create("secrets", "seal", provider);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self { host, dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn soft() -> Self {
        Self::new(Setup::soft().start(), "soft")
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("secrets.db")
    }

    fn try_open(&self, path: &Path) -> Result<Chain, OpenError> {
        let client = Client::new(self.host.socket()).timeout(Duration::from_secs(20));
        let clock = StoreClock::new(Clock::system());
        let options = FileStoreOptions {
            label: "file".into(),
            path: path.into(),
            sealer: Arc::new(HostSealer::new(client, "secrets".parse().unwrap())),
            counter: None,
            recorded: 0,
            clock: clock.clone(),
            accept: Accept::Verified,
        };
        let file = self.runtime.block_on(FileStore::open(options))?;
        let memory = MemoryStore::cache("memory", BOUNDS, clock.clone());
        Ok(ChainBuilder::new(Arc::new(file), clock).in_front(Arc::new(memory)).build().unwrap())
    }

    fn open(&self) -> Chain {
        self.try_open(&self.path()).unwrap()
    }

    fn put(&self, chain: &Chain, name: &str, value: &[u8]) -> Result<(), PutError> {
        let draft = draft(name, "v1", value);
        self.runtime.block_on(chain.put(draft, &Author::user(0))).map(drop)
    }

    fn get(&self, chain: &Chain, name: &str) -> Result<Got, GetError> {
        self.runtime.block_on(chain.get(&query(name), Freshness::Stored))
    }

    #[track_caller]
    fn check(&self, chain: &Chain, name: &str, value: &[u8]) {
        let got = self.get(chain, name).unwrap();
        assert!(got.secret.value.as_bytes() == value, "{name} has another value");
    }

    fn edit(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

fn draft(name: &str, version: &str, value: &[u8]) -> Draft {
    let value = Value::new(value.to_vec().into()).unwrap();
    Draft::new(name.parse().unwrap(), Some(version.parse().unwrap()), value)
}

fn query(name: &str) -> Query {
    Query { name: name.parse().unwrap(), version: None, at: None }
}

/// Stores, closes, restarts the host, and reads again from the file.
#[track_caller]
fn check_sealed(host: Sealhost, provider: &str, protection: Protection) {
    let mut bench = Bench::new(host, provider);
    let chain = bench.open();
    bench.put(&chain, "app/db", b"correct horse").unwrap();
    bench.put(&chain, "app/empty", b"").unwrap();
    drop(chain);
    bench.host.restart();
    let chain = bench.open();
    let got = bench.get(&chain, "app/db").unwrap();
    assert_eq!((got.from.as_str(), got.protection), ("file", Some(protection)));
    bench.check(&chain, "app/db", b"correct horse");
    bench.check(&chain, "app/empty", b"");
    let got = bench.get(&chain, "app/db").unwrap();
    assert_eq!((got.from.as_str(), got.protection), ("memory", None));
    drop(chain);
    for entry in bench.dir.path().read_dir().unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"correct horse"));
    }
}

#[test]
fn secret_sealed_in_software_is_read_after_a_restart() {
    check_sealed(Setup::soft().start(), "soft", Protection::Software);
}

#[test]
fn secret_sealed_by_a_tpm_is_read_after_a_restart() {
    let swtpm = Swtpm::start().unwrap();
    check_sealed(Setup::default().with_tpm(&swtpm).start(), "tpm", Protection::Emulated);
}

#[test]
fn m18_values_that_changed_places_do_not_open() {
    let bench = Bench::soft();
    let chain = bench.open();
    bench.put(&chain, "a", b"alpha").unwrap();
    bench.put(&chain, "b", b"beta").unwrap();
    drop(chain);
    bench.edit(
        "CREATE TEMP TABLE old AS SELECT name, sealed FROM secrets;
         UPDATE secrets SET sealed = (SELECT sealed FROM old WHERE old.name <> secrets.name)",
    );
    let chain = bench.open();
    for name in ["a", "b"] {
        assert_eq!(bench.get(&chain, name).unwrap_err().code(), Code::Integrity);
    }
}

#[test]
fn m18_value_that_is_no_envelope_or_of_another_key_does_not_open() {
    let bench = Bench::soft();
    bench.host.create("other", "seal", "soft");
    let other = bench.host.seal("other", "x");
    let chain = bench.open();
    bench.put(&chain, "a", b"alpha").unwrap();
    drop(chain);
    for sealed in ["x", "sealhost:1:AAAA", other.as_str()] {
        bench.edit(&format!("UPDATE secrets SET sealed = '{sealed}'"));
        assert_eq!(bench.get(&bench.open(), "a").unwrap_err().code(), Code::Integrity);
    }
}

#[test]
fn m18_edited_date_refuses_the_store() {
    let bench = Bench::soft();
    let chain = bench.open();
    bench.put(&chain, "a", b"alpha").unwrap();
    drop(chain);
    bench.edit("UPDATE secrets SET metadata = replace(metadata, '9999-12-31', '9998-12-31')");
    assert!(matches!(bench.try_open(&bench.path()), Err(OpenError::Altered { .. })));
}

#[test]
fn host_that_is_gone_is_unavailable_and_cached_secrets_are_served_on() {
    let mut bench = Bench::soft();
    let chain = bench.open();
    bench.put(&chain, "a", b"alpha").unwrap();
    drop(chain);
    let chain = bench.open();
    bench.check(&chain, "a", b"alpha");
    bench.put(&chain, "b", b"beta").unwrap();
    assert!(bench.host.stop().success());
    bench.check(&chain, "a", b"alpha");
    assert_eq!(bench.put(&chain, "c", b"x").unwrap_err().code(), Code::Unavailable);
    bench.host.start();
    bench.put(&chain, "c", b"x").unwrap();
    bench.check(&chain, "c", b"x");
}

#[test]
fn key_without_permission_or_of_another_usage_is_refused_by_the_host() {
    let bench = Bench::soft();
    bench.host.post("/v1/keys/mac", json!({"usage": "mac"})).done();
    let client = Client::new(bench.host.socket());
    let clock = StoreClock::new(Clock::system());
    let options = FileStoreOptions {
        label: "file".into(),
        path: bench.path(),
        sealer: Arc::new(HostSealer::new(client, "mac".parse().unwrap())),
        counter: None,
        recorded: 0,
        clock,
        accept: Accept::Verified,
    };
    let refused = bench.runtime.block_on(FileStore::open(options)).unwrap_err().to_string();
    assert!(refused.contains("see that the host serves its key"), "{refused}");
}

#[test]
fn value_at_limit_is_stored_and_read() {
    let bench = Bench::soft();
    let chain = bench.open();
    let longest = vec![7; wire::secrets::SECRET_VALUE_MAX_BYTES];
    bench.put(&chain, "a", &longest).unwrap();
    drop(chain);
    bench.check(&bench.open(), "a", &longest);
}

#[test]
fn many_secrets_are_stored_in_few_requests_and_read_again() {
    let bench = Bench::soft();
    let chain = bench.open();
    let drafts = (0..500).map(|number| draft(&format!("n{number}"), "v1", b"x")).collect();
    let before = bench.host.audit().len();
    bench.runtime.block_on(chain.put_many(drafts, &Author::user(0))).unwrap();
    assert_eq!(bench.host.audit().len() - before, 4, "128 a request");
    drop(chain);
    let chain = bench.open();
    assert_eq!(bench.runtime.block_on(chain.list("n")).unwrap().len(), 500);
    bench.check(&chain, "n499", b"x");
}

#[test]
fn m21_hundred_tasks_that_put_and_get_lose_no_update() {
    let bench = Bench::soft();
    let chain = bench.open();
    bench.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..100 {
            let chain = chain.clone();
            tasks.spawn(async move {
                let version = format!("v{number}");
                let draft = draft("a", &version, version.as_bytes());
                chain.put(draft, &Author::user(0)).await.unwrap();
                let query = Query { version: Some(version.parse().unwrap()), ..query("a") };
                let got = chain.get(&query, Freshness::Stored).await.unwrap();
                assert_eq!(got.secret.value.as_bytes(), version.as_bytes());
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    });
    drop(chain);
    let chain = bench.open();
    let versions = bench.runtime.block_on(chain.versions(&"a".parse().unwrap())).unwrap();
    assert_eq!(versions.len(), 100);
}

#[test]
fn m24_no_value_is_left_in_log_audit_or_files() {
    const CANARY: &str = "canary-5b1f0c";
    let mut bench = Bench::soft();
    let chain = bench.open();
    bench.put(&chain, "a", CANARY.as_bytes()).unwrap();
    bench.check(&chain, "a", CANARY.as_bytes());
    let chain = {
        drop(chain);
        bench.edit("UPDATE secrets SET sealed = replace(sealed, 'A', 'B')");
        bench.open()
    };
    let refused = bench.get(&chain, "a").unwrap_err();
    let shown = format!("{refused} {refused:?} {chain:?}");
    assert!(bench.host.stop().success());
    let audit = fs::read_to_string(bench.host.audit_path()).unwrap();
    let encoded = tests::b64(CANARY);
    for text in [&shown, &bench.host.log(), &audit] {
        assert!(!text.contains(CANARY) && !text.contains(&encoded));
    }
    for dir in [bench.dir.path(), bench.host.state_dir().as_path()] {
        for entry in dir.read_dir().unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
        }
    }
}

/// A small file system of its own.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::Builder::new().prefix("secrets-disk-").tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(mounted.unwrap().success(), "mount needs root");
        Self(dir)
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("secrets.db")
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let command =
            std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        let _left_behind = command;
    }
}

#[test]
fn full_disk_refuses_the_change_and_loses_nothing() {
    let disk = SmallDisk::mount();
    let bench = Bench::soft();
    let chain = bench.try_open(&disk.store()).unwrap();
    bench.put(&chain, "a", b"alpha").unwrap();
    let full = fs::write(disk.filler(), vec![0; 512 * 1024]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // The log has some room left in the pages that it has already.
    let value = vec![b'x'; 8000];
    let stored =
        (0..100).take_while(|number| bench.put(&chain, &format!("n{number}"), &value).is_ok());
    let stored = stored.count();
    assert!(stored < 100, "the disk is not full");
    let refused = bench.put(&chain, "a", &value).unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
    bench.check(&chain, "a", b"alpha");
    assert_eq!(
        bench.get(&chain, &format!("n{stored}")).unwrap_err().code(),
        Code::NotFound,
        "what was refused is not there"
    );
    fs::remove_file(disk.filler()).unwrap();
    bench.put(&chain, "b", b"beta").unwrap();
    drop(chain);
    let chain = bench.try_open(&disk.store()).unwrap();
    bench.check(&chain, "a", b"alpha");
    bench.check(&chain, "b", b"beta");
    for number in 0..stored {
        bench.check(&chain, &format!("n{number}"), &value);
    }
}

#[test]
fn second_writer_is_told_that_the_store_is_in_use() {
    let bench = Bench::soft();
    let chain = bench.open();
    bench.put(&chain, "a", b"alpha").unwrap();
    assert!(matches!(bench.try_open(&bench.path()), Err(OpenError::InUse { .. })));
    bench.put(&chain, "a", b"newer").unwrap();
    drop(chain);
    bench.check(&bench.open(), "a", b"newer");
}

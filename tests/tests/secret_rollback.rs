//! A store of secrets that is put back to what it was yesterday, on a host with a TPM and on one
//! without.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::Clock;
use sealhost_client::Client;
use secret_manager::{
    Accept, Chain, ChainBuilder, Draft, FileStore, FileStoreOptions, Freshness, HostCounter,
    HostSealer, OpenError, PutError, Query, StoreClock, Value,
};
use swtpm_fixtures::Swtpm;
use tempfile::TempDir;
use tests::{Sealhost, Setup};
use tokio::runtime::Runtime;
use wire::code::Code;
use wire::secrets::Author;

/// A host with a key, a directory for a store, and a counter for it.
struct Bench {
    host: Sealhost,
    dir: TempDir,
    runtime: Runtime,
}

type Copy = BTreeMap<PathBuf, Vec<u8>>;

impl Bench {
    fn new(host: Sealhost, provider: &str) -> Self {
        host.create("secrets", "seal", provider);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { host, dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn open(&self, accept: Accept) -> Result<Chain, OpenError> {
        let client = Client::new(self.host.socket()).timeout(Duration::from_secs(20));
        let clock = StoreClock::new(Clock::system());
        let counter = HostCounter::new(client.clone(), "stores/test".parse().unwrap());
        let options = FileStoreOptions {
            label: "file".into(),
            path: self.dir.path().join("secrets.db"),
            sealer: Arc::new(HostSealer::new(client, "secrets".parse().unwrap())),
            counter: Some(Arc::new(counter)),
            recorded: 0,
            clock: clock.clone(),
            accept,
        };
        let file = self.runtime.block_on(FileStore::open(options))?;
        Ok(ChainBuilder::new(Arc::new(file), clock).build().unwrap())
    }

    fn opened(&self) -> Chain {
        self.open(Accept::Verified).unwrap()
    }

    fn put(&self, chain: &Chain, value: &str) -> Result<(), PutError> {
        let value = Value::new(value.as_bytes().to_vec().into()).unwrap();
        let draft = Draft::new("a".parse().unwrap(), None, value);
        self.runtime.block_on(chain.put(draft, &Author::user(0))).map(drop)
    }

    #[track_caller]
    fn check(&self, chain: &Chain, value: &str) {
        let query = Query { name: "a".parse().unwrap(), version: None, at: None };
        let got = self.runtime.block_on(chain.get(&query, Freshness::Stored)).unwrap();
        assert_eq!(str::from_utf8(got.secret.value.as_bytes()).unwrap(), value);
    }

    fn counter(&self) -> u64 {
        self.host.get("/v1/counters/stores%2Ftest").ok()["value"].as_u64().unwrap()
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

/// Yesterday's file is refused, by a counter of this kind; today's is served, over a restart.
#[track_caller]
fn check(host: Sealhost, provider: &str, kind: &str) {
    let mut bench = Bench::new(host, provider);
    let chain = bench.opened();
    bench.put(&chain, "yesterday").unwrap();
    drop(chain);
    let yesterday = bench.copy();
    let before = bench.counter();
    let chain = bench.opened();
    bench.put(&chain, "today").unwrap();
    drop(chain);
    assert_eq!(bench.counter(), before + 1);
    assert_eq!(bench.host.get("/v1/counters/stores%2Ftest").text("kind"), kind);
    let today = bench.copy();
    bench.host.restart();

    bench.put_back(&yesterday);
    assert!(matches!(bench.open(Accept::Verified), Err(OpenError::Older { .. })));
    bench.put_back(&Copy::new());
    assert!(matches!(bench.open(Accept::Verified), Err(OpenError::Older { state: 0, .. })));
    bench.put_back(&today);
    bench.check(&bench.opened(), "today");

    bench.put_back(&yesterday);
    bench.check(&bench.open(Accept::Present).unwrap(), "yesterday");
    bench.check(&bench.opened(), "yesterday");
    bench.put_back(&today);
    assert!(matches!(bench.open(Accept::Verified), Err(OpenError::Older { .. })));
}

#[test]
fn m18_file_of_yesterday_is_refused_by_a_counter_in_the_registry() {
    check(Setup::soft().start(), "soft", "registry");
}

#[test]
fn m18_file_of_yesterday_is_refused_by_a_counter_in_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    check(Setup::default().with_tpm(&swtpm).start(), "tpm", "device");
}

#[test]
fn host_that_is_killed_again_and_again_costs_no_change_that_was_answered() {
    let mut bench = Bench::new(Setup::soft().start(), "soft");
    let chain = bench.opened();
    bench.put(&chain, "0").unwrap();
    let mut last = 0;
    for round in 1..=5 {
        let answered = std::thread::scope(|scope| {
            let chain = &chain;
            let bench = &bench;
            let writer = scope.spawn(move || {
                let mut number = last;
                while bench.put(chain, &(number + 1).to_string()).is_ok() {
                    number += 1;
                }
                number
            });
            // After a few answers, wherever the host then is.
            let audit = bench.host.audit().len();
            bench.host.wait_until("some puts", |host| host.audit().len() > audit + 5 * round);
            tests::sealhost::signal(bench.host.pid(), "KILL");
            writer.join().unwrap()
        });
        bench.host.kill();
        bench.host.start();
        // The change that was not answered is there, or is not.
        let query = Query { name: "a".parse().unwrap(), version: None, at: None };
        let got = bench.runtime.block_on(chain.get(&query, Freshness::Stored)).unwrap();
        let found: usize = str::from_utf8(got.secret.value.as_bytes()).unwrap().parse().unwrap();
        assert!(found == answered || found == answered + 1, "{answered} and then {found}");
        bench.put(&chain, &found.to_string()).unwrap();
        last = found;
    }
    drop(chain);
    bench.check(&bench.opened(), &last.to_string());
}

#[test]
fn counter_that_was_destroyed_refuses_the_store() {
    let bench = Bench::new(Setup::soft().start(), "soft");
    let chain = bench.opened();
    bench.put(&chain, "x").unwrap();
    bench.host.delete("/v1/counters/stores%2Ftest?confirm=stores%2Ftest").done();
    assert_eq!(bench.put(&chain, "y").unwrap_err().code(), Code::Unavailable);
    drop(chain);
    assert!(matches!(bench.open(Accept::Verified), Err(OpenError::ForeignCounter { .. })));
    bench.check(&bench.open(Accept::Present).unwrap(), "y");
    bench.check(&bench.opened(), "y");
}

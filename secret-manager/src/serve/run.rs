//! From a configuration to a serving daemon, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use daemon::audit::AuditError;
use daemon::clock::Clock;
use daemon::limit::Limiter;
use daemon::listener::{Activated, ListenError};
use daemon::rules::RuleBook;
use daemon::shutdown::{Reloads, Shutdown};
use daemon::trust::{LockError, TrustError};
use daemon::{audit, http, listener, notify, process, shutdown, trust};
use sealhost_client::Client;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use wire::code::Fault;
use wire::secrets::Author;

use super::config::{
    Config, HostConfig, MqttConfig, SourceConfig, StoreConfig, StoreKind, load_rules,
};
use super::credential::{self, Giver};
use super::feed;
use super::feed::mqtt::Feed;
use super::http::Native;
use super::line::Manager;
use crate::chain::{Chain, ChainBuilder};
use crate::clock::StoreClock;
use crate::counter::{Counter, HostCounter};
use crate::error::{OpenError, StoreError};

use crate::sealer::HostSealer;
use crate::source::directory::DirectorySource;
use crate::source::mqtt::{
    self, Credentials, MqttOptions, MqttSource, NoPassword, PasswordFile, Push,
};
use crate::store::Store;
use crate::store::file::{Accept, FileStore, FileStoreOptions};
use crate::store::memory::MemoryStore;

/// Another daemon that is ending may hold the state directory for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// The names that our sockets have among those of the service manager.
const ACTIVATED_NAME: &str = "api";
const ACTIVATED_CREDENTIALS: &str = "credentials";
/// How often expired values are looked for in memory.
const SWEEP: Duration = Duration::from_secs(5);

/// Why the daemon does not start, or ends early. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or directory is not to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Another one has the state directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The audit cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A store cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A source has no proper label.
    #[error("{0}; change [source] label")]
    Source(Fault),
    /// The system refused something at the start.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// Runs the daemon until it is asked to stop, or cannot start.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    config_path: &Path,
    accept: Accept,
    mut activated: Activated,
) -> Result<(), RunError> {
    let clock = Clock::system();
    let running = config.clone();
    let state_dir = trust::private_dir(&config.state_dir)?;
    let _lock = trust::lock_dir(&state_dir, LOCK_PATIENCE)?;
    let (mut shutdown, _trigger, reloads) =
        shutdown::listen().map_err(|error| RunError::System("signals", error))?;
    let tail = audit::open(&config.audit)?;
    let recorded = tail.last_generation().unwrap_or(0);
    let opened = tokio::select! {
        opened = open(&config, state_dir, Known { recorded, accept }, &clock) => opened?,
        () = shutdown.requested() => return Ok(()),
    };
    // The audit never goes back, whatever the base is now.
    let audit = tail.start(opened.chain.generation().max(recorded), clock.clone())?;
    let rules = RuleBook::new(config.rules);
    let manager =
        Arc::new(Manager::new(opened.chain, rules, audit, clock.clone(), first_request()?));
    let (listener, _socket_file) = listener::open(&mut activated, ACTIVATED_NAME, &config.listen)?;
    let limiter = Limiter::for_process(config.limits, clock.clone());
    let mut tasks = tokio::task::JoinSet::new();
    let mut credentials_file = None;
    if let Some(credentials) = config.credentials {
        let (listener, file) =
            listener::open(&mut activated, ACTIVATED_CREDENTIALS, &credentials.listen)?;
        credentials_file = file;
        let giver = Giver {
            manager: Arc::clone(&manager),
            credentials: credentials.all.into(),
            limiter: limiter.clone(),
        };
        tasks.spawn(credential::serve(listener, giver, shutdown.clone()));
    }
    tasks.spawn(sweep(opened.in_memory, shutdown.clone()));
    match opened.feed {
        None => {}
        Some(Feeding::Directory(source, by, poll)) => {
            let chain = manager.chain.clone();
            tasks.spawn(feed::directory::take_in(chain, source, by, poll, shutdown.clone()));
        }
        Some(Feeding::Mqtt(feed, pushes)) => {
            tasks.spawn(feed.run(pushes, shutdown.clone()));
        }
    }
    notify::ready("serving");
    tracing::info!(socket = %config.listen.path.display(), "secret-manager is ready");
    tokio::spawn(notify::feed_watchdog());
    let reloading =
        tokio::spawn(reload_rules(Arc::clone(&manager), config_path.to_owned(), running, reloads));

    let dialect = Native { manager: Arc::clone(&manager), shutdown: shutdown.clone() };
    http::serve(listener, dialect, limiter, config.timeouts, shutdown).await;

    notify::stopping();
    reloading.abort();
    // Ended by the abort, or before: nothing reads the rules after the audit says stop.
    let _ = reloading.await;
    while tasks.join_next().await.is_some() {}
    drop(credentials_file);
    process::record_stop(&manager.audit, &clock, manager.chain.generation())?;
    tracing::info!("secret-manager has stopped");
    Ok(())
}

/// What is known of the base before it is opened.
#[derive(Clone, Copy)]
struct Known {
    /// The last generation in the audit.
    recorded: u64,
    /// What the operator says of it.
    accept: Accept,
}

/// What stands behind the requests.
struct Opened {
    chain: Chain,
    in_memory: Vec<Arc<MemoryStore>>,
    feed: Option<Feeding>,
}

/// What a source brings of its own accord.
enum Feeding {
    Directory(Arc<DirectorySource>, Author, Duration),
    Mqtt(Box<Feed>, mpsc::Receiver<Push>),
}

async fn open(
    config: &Config,
    state_dir: PathBuf,
    known: Known,
    clock: &Clock,
) -> Result<Opened, RunError> {
    let clock = StoreClock::new(clock.clone());
    let client = client(&config.host);
    let mut in_memory = Vec::new();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    let last = config.stores.len();
    for (number, StoreConfig { label, kind }) in (1..).zip(&config.stores) {
        stores.push(match kind {
            StoreKind::Memory { bounds, key } => {
                let new = if number == last { MemoryStore::base } else { MemoryStore::cache };
                let store = new(label, *bounds, clock.clone());
                let store = match key {
                    None => store,
                    Some(key) => {
                        store.sealed_by(Arc::new(HostSealer::new(client.clone(), key.clone())))?
                    }
                };
                let store = Arc::new(store);
                in_memory.push(Arc::clone(&store));
                store
            }
            StoreKind::File { file, key, counter } => {
                let counter = counter.as_ref().map(|name| {
                    let counter = HostCounter::new(client.clone(), name.clone());
                    Arc::new(counter) as Arc<dyn Counter>
                });
                let options = FileStoreOptions {
                    label: label.clone(),
                    path: state_dir.join(file),
                    sealer: Arc::new(HostSealer::new(client.clone(), key.clone())),
                    counter,
                    // The audit has the base's generation, and no cache's.
                    recorded: if number == last { known.recorded } else { 0 },
                    clock: clock.clone(),
                    accept: known.accept,
                };
                Arc::new(FileStore::open(options).await?)
            }
        });
    }
    let base = stores.pop().ok_or(StoreError::Bug("a configuration without stores"))?;
    let mut builder = ChainBuilder::new(base, clock.clone()).negative_ttl(config.negative_ttl);
    // The configuration has the head first, the builder begins at the base.
    for store in stores.into_iter().rev() {
        builder = builder.in_front(store);
    }
    let Some(source) = &config.source else {
        let chain = builder.build().map_err(RunError::Source)?;
        return Ok(Opened { chain, in_memory, feed: None });
    };
    let (chain, feed) = match source {
        SourceConfig::Directory { label, path, poll } => {
            let source = Arc::new(DirectorySource::new(label, path));
            let chain = builder.source(Arc::clone(&source) as _).build();
            let feed = Feeding::Directory(source, author(label)?, *poll);
            (chain.map_err(RunError::Source)?, feed)
        }
        SourceConfig::Mqtt(mqtt) => {
            let (source, pushes) = MqttSource::start(options(mqtt, clock));
            let source = Arc::new(source);
            let chain = builder.source(Arc::clone(&source) as _).build();
            let chain = chain.map_err(RunError::Source)?;
            let by = author(&mqtt.label)?;
            let feed = Feed::new(chain.clone(), source, by, mqtt.wanted.clone(), mqtt.patience);
            (chain, Feeding::Mqtt(Box::new(feed), pushes))
        }
    };
    Ok(Opened { chain, in_memory, feed: Some(feed) })
}

fn author(label: &str) -> Result<Author, RunError> {
    let author = format!("source:{label}").parse::<Author>();
    author.map_err(|error| RunError::Source(error.into()))
}

fn options(config: &MqttConfig, clock: StoreClock) -> MqttOptions {
    let credentials: Arc<dyn Credentials> = match &config.password {
        Some(path) => Arc::new(PasswordFile(path.clone())),
        None => Arc::new(NoPassword),
    };
    MqttOptions {
        label: config.label.clone(),
        profile: config.profile.clone(),
        broker: config.broker.clone(),
        user: config.user.clone(),
        credentials,
        policy: config.policy,
        patience: config.patience,
        keep_alive: config.keep_alive,
        clock,
        draw: mqtt::draw,
    }
}

fn client(host: &HostConfig) -> Client {
    let client = Client::new(&host.socket);
    match host.uid {
        Some(uid) => client.expect_server_uid(uid),
        None => client,
    }
}

fn first_request() -> Result<u64, RunError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_unspecified| {
        RunError::System("no randomness", std::io::Error::other("getrandom failed"))
    })?;
    Ok(u64::from_be_bytes(bytes))
}

/// Drops from memory what its time to live has run out for.
async fn sweep(stores: Vec<Arc<MemoryStore>>, mut shutdown: Shutdown) {
    let mut every = interval(SWEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => stores.iter().for_each(|store| store.sweep()),
            () = shutdown.requested() => return,
        }
    }
}

/// Reads the rules again at each SIGHUP; keeps the last good ones.
async fn reload_rules(manager: Arc<Manager>, path: PathBuf, running: Config, mut reloads: Reloads) {
    loop {
        reloads.next().await;
        notify::reloading();
        let outcome = process::take_over(load_rules(&path, &running), &manager.rules);
        let generation = manager.chain.generation();
        process::record_reload(&manager.audit, &manager.clock, generation, outcome);
        notify::ready("serving");
    }
}

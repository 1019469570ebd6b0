//! The configuration of the daemon: one TOML file, read strictly, once at start and again for its
//! rules on SIGHUP. `docs/secrets.md` section 8 is its page.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod credential;
mod fault;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod source;
mod store;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::audit::Settings;
use daemon::config::{self, ConfigError, Reload};
use daemon::http::Timeouts;
use daemon::limit::Limits;
use daemon::listener::Endpoint;
use daemon::rules::{Operation, Rules};
use daemon::sandbox::{Demand, Network, Paths, Sandbox, Unix};
use wire::name::KeyName;
use wire::secrets::SecretName;

use super::request::{DELETE, GET, LIST, METRICS, PUT, STATUS};
use crate::lifecycle::Patience;
use crate::source::mqtt::{Broker, Policy, Profile};
use crate::store::memory::MemoryBounds;

pub use credential::{Credential, Credentials};

/// Every operation, by its name in rules and in the audit.
pub const OPERATIONS: &[Operation] = &[
    Operation { name: GET, needs_key: true },
    Operation { name: PUT, needs_key: true },
    Operation { name: DELETE, needs_key: true },
    Operation { name: LIST, needs_key: true },
    Operation { name: STATUS, needs_key: false },
    Operation { name: METRICS, needs_key: false },
];

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: Endpoint,
    /// Where the stores are; made, mode 0700.
    pub state_dir: PathBuf,
    /// The audit log.
    pub audit: Settings,
    /// How many connections and requests there may be.
    pub limits: Limits,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// The host that seals.
    pub host: HostConfig,
    /// The stores, from the head to the base; at least one.
    pub stores: Vec<StoreConfig>,
    /// The remote source.
    pub source: Option<SourceConfig>,
    /// How long it is remembered that the source does not have a secret.
    pub negative_ttl: Duration,
    /// Who may do what.
    pub rules: Rules,
    /// What systemd gets, and where it asks.
    pub credentials: Option<Credentials>,
    /// How strictly the daemon confines itself.
    pub sandbox: Demand,
}

/// Where the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Its socket.
    pub socket: PathBuf,
    /// The user that it runs as, when not root, ours, or the owner of the socket.
    pub uid: Option<u32>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its name, in replies and in the log.
    pub label: String,
    /// What it is.
    pub kind: StoreKind,
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In memory; sealed there too, when there is a key.
    Memory {
        /// How much, and how long.
        bounds: MemoryBounds,
        /// The host's key.
        key: Option<KeyName>,
    },
    /// A file in the state directory.
    File {
        /// Its name there.
        file: String,
        /// The host's key.
        key: KeyName,
        /// The host's counter, by which an older copy is noticed.
        counter: Option<KeyName>,
    },
}

/// The remote source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A directory of deliveries.
    Directory {
        /// Its name, in authors and in the log.
        label: String,
        /// The directory.
        path: PathBuf,
        /// How often it is looked at for what was not asked for.
        poll: Duration,
    },
    /// The cloud, by MQTT.
    Mqtt(Box<MqttConfig>),
}

/// A source behind an MQTT broker (`docs/mqtt.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Its name, in authors and in the log.
    pub label: String,
    /// The topics, and who we are.
    pub profile: Profile,
    /// Where the broker is.
    pub broker: Broker,
    /// The user name, where the profile has none of its own.
    pub user: Option<String>,
    /// The file with the password.
    pub password: Option<PathBuf>,
    /// What is taken without having been asked for.
    pub policy: Policy,
    /// How often it is asked, and after which pauses.
    pub patience: Patience,
    /// After how much silence the broker is asked whether it is still there.
    pub keep_alive: Duration,
    /// The secrets that this device is to have; asked for at the start when one is not there.
    pub wanted: Vec<SecretName>,
}

/// What is allowed, and worth a line in the log at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// There is no rule.
    NoRules,
    /// Nothing is kept over a restart.
    MemoryOnly,
    /// An older copy of a file would not be noticed.
    NoCounter,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`]; every fault of the content at once, with its key and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path, file::whole)
    }

    /// What the daemon is left: its own files, those that its source reads, the broker's port, and
    /// the host's socket among all Unix sockets.
    #[must_use]
    pub fn sandbox(&self, config: &Path) -> Sandbox {
        let asked = self.credentials.iter().map(|credentials| &credentials.listen);
        let sockets = std::iter::once(&self.listen).chain(asked);
        let sockets: Vec<_> = sockets.map(|listen| listen.path.as_path()).collect();
        let mut paths = Paths::of_daemon(config, &self.state_dir, &self.audit.path, &sockets);
        let network = match &self.source {
            None => Network::None,
            Some(SourceConfig::Directory { path, .. }) => {
                paths.read.push(path.clone());
                Network::None
            }
            Some(SourceConfig::Mqtt(mqtt)) => {
                // Both are read anew at each connection, and may be other files by then.
                let read = mqtt.password.iter().chain(mqtt.broker.authorities());
                paths.read.extend(read.filter_map(|path| path.parent().map(Path::to_owned)));
                mqtt.broker.port().map_or(Network::None, |port| Network::Named(vec![port]))
            }
        };
        Sandbox {
            paths: Some(paths),
            network,
            unix: Unix::Any,
            programs: false,
            administers: true,
            limits: daemon::sandbox::Limits::default(),
        }
    }

    /// Tells what is allowed but should be in the log.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let in_memory = |store: &StoreConfig| matches!(store.kind, StoreKind::Memory { .. });
        let none = self.rules.is_empty().then_some(Warning::NoRules);
        let memory = self.stores.iter().all(in_memory).then_some(Warning::MemoryOnly);
        let uncounted =
            |store: &StoreConfig| matches!(store.kind, StoreKind::File { counter: None, .. });
        let uncounted = self.stores.iter().any(uncounted).then_some(Warning::NoCounter);
        none.into_iter().chain(memory).chain(uncounted).collect()
    }
}

/// Reads the file again, for its rules. Everything else waits for a restart.
///
/// # Errors
/// As [`Config::load`].
pub fn load_rules(path: &Path, running: &Config) -> Result<Reload, ConfigError> {
    // Taken apart by name, so that a new section cannot be forgotten here.
    let Config {
        listen,
        state_dir,
        audit,
        limits,
        timeouts,
        host,
        stores,
        source,
        negative_ttl,
        rules,
        credentials,
        sandbox,
    } = Config::load(path)?;
    let sections = [
        ("[listen]", listen != running.listen),
        ("[state]", state_dir != running.state_dir),
        ("[audit]", audit != running.audit),
        ("[limits]", (limits, timeouts) != (running.limits, running.timeouts)),
        ("[host]", host != running.host),
        ("[[store]]", stores != running.stores),
        ("[source]", (&source, negative_ttl) != (&running.source, running.negative_ttl)),
        ("[credentials]", credentials != running.credentials),
        ("[sandbox]", sandbox != running.sandbox),
    ];
    Ok(Reload::new(rules, sections))
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRules => "there is no [[rule]], so that nobody may do anything; add one",
            Self::MemoryOnly => {
                "every [[store]] is in memory, so that secrets are gone at the next start"
            }
            Self::NoCounter => {
                "a [[store]] of type \"file\" has no counter, so that an older copy in its place is \
                 not noticed; add counter"
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! The configuration of the daemon: one TOML file, read strictly, once at start and again for its
//! rules on SIGHUP. `docs/config.md` is its page.
//!
//! Secrets are never in the file, only where to read them; nothing is opened here but the file.
//! Settings of a provider pass through unparsed.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod confinement;
mod fault;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod keyd;
mod operations;
mod provider;
mod reload;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::audit;
use daemon::config::{self, ConfigError, Reload};
use daemon::http::Timeouts;
use daemon::limit::Limits;
use daemon::listener::Endpoint;
use daemon::rules::Rules;
use daemon::sandbox::Demand;
use provider_core::Settings;
use wire::api::Protection;
use wire::name::ProviderName;

use crate::plugin::{Deadlines, Isolation, PluginSource};

pub use keyd::KeydSettings;
pub use operations::OPERATIONS;

/// Deadlines of a provider.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
const QUEUE_DEADLINE: Duration = Duration::from_secs(5);
const GENERATE_DEADLINE: Duration = Duration::from_secs(120);
/// The default of `condition_every`.
const CONDITION_EVERY: Duration = Duration::from_secs(60);
const MAC_DEADLINE: Duration = Duration::from_secs(5);

/// Calls that may wait for a provider, and the most that can be configured.
const QUEUE_LENGTH: usize = 768;
const QUEUE_LENGTH_MAX: i64 = 65_536;

/// Least protection of a new key version.
const FLOOR: Protection = Protection::Hardware;

/// How long a provider is gone before seals go elsewhere.
const FALLBACK_AFTER: Duration = Duration::from_secs(10);

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: Endpoint,
    /// The dialect of the aziot Key Service, where it is switched on.
    pub keyd: Option<KeydSettings>,
    /// Where the registry is; made, mode 0700, by whoever opens it.
    pub state_dir: PathBuf,
    /// The providers, in the order of the file; at least one, each name once.
    pub providers: Vec<ProviderConfig>,
    /// Which provider a new key goes to.
    pub selection: Selection,
    /// Who may do what.
    pub rules: Rules,
    /// The audit log.
    pub audit: audit::Settings,
    /// How many connections and requests there may be.
    pub limits: Limits,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// How strictly the daemon confines itself.
    pub sandbox: Demand,
}

/// One configured provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Its name.
    pub name: ProviderName,
    /// Its plugin, and how that is run.
    pub source: PluginSource,
    /// The protection that the operator states, to be reported instead of what the provider says.
    pub protection: Option<Protection>,
    /// What the provider is told, as the operator wrote it.
    pub settings: Settings,
    /// The secrets that the provider is told, by name (`pin` for the key `pin_source`), and where
    /// to read each; sorted by name.
    pub secrets: Vec<(String, SecretSource)>,
    /// How long its calls may take.
    pub deadlines: Deadlines,
    /// How often its device is asked for its memory of failed authorizations.
    pub condition_every: Duration,
}

/// Where to read a secret. The secret itself is never in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file of the daemon's own, `file:/PATH`.
    File(PathBuf),
    /// A credential passed by the service manager, `credential:NAME`; the name is a file name.
    Credential(String),
    /// An envelope that this host unseals, `sealed:/PATH`.
    Sealed(PathBuf),
    /// 32 random bytes that the host makes at the provider's first opening and keeps in the state
    /// directory, `generated`.
    Generated,
}

/// Which provider a new key version goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The providers to try, first to last; at least one. A provider outside the list is used
    /// only by keys that name it.
    pub order: Vec<ProviderName>,
    /// Least protection of a new key version; a key may ask for more, never for less.
    pub floor: Protection,
    /// How long a key's provider is gone before its seals fall back, where the key allows it.
    pub fallback_after: Duration,
}

/// What is allowed, and worth a line in the log at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The plugin runs in the host's own process.
    InProcess(ProviderName),
    /// There is no rule.
    NoRules,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// Users and groups of the rules are looked up; providers, devices and secrets are not
    /// touched. The environment plays no part.
    ///
    /// # Limits
    /// A file of 1 MiB; one byte more is [`ConfigError::TooLarge`]. Those of the keys are in
    /// `docs/config.md`.
    ///
    /// # Errors
    /// [`ConfigError`]; every fault of the content at once, with its key and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path, file::whole)
    }

    /// Tells what is allowed but should be in the log.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let in_process = |provider: &&ProviderConfig| match provider.source.isolation {
            Isolation::InProcess => true,
            Isolation::Process => false,
        };
        let in_process = self.providers.iter().filter(in_process);
        let in_process = in_process.map(|provider| Warning::InProcess(provider.name.clone()));
        in_process.chain(self.rules.is_empty().then_some(Warning::NoRules)).collect()
    }
}

/// Reads the file again, for its rules.
///
/// The whole file is checked, so that a broken one changes nothing: the caller keeps the rules
/// that it has. Only the rules are taken over. Everything else needs a restart, because devices,
/// sockets and files are open by then; which sections of the file differ from what `running`
/// says is in [`Reload::waiting`].
///
/// # Limits
/// As [`Config::load`].
///
/// # Errors
/// As [`Config::load`].
pub fn load_rules(path: &Path, running: &Config) -> Result<Reload, ConfigError> {
    Config::load(path).map(|new| reload::reload(new, running))
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProcess(name) => write!(
                f,
                "provider {name} runs in the host's process, so its faults are the host's; use \
                 isolation = \"process\" unless its code is trusted"
            ),
            Self::NoRules => {
                f.write_str("there is no [[rule]], so that nobody may do anything; add one")
            }
        }
    }
}

#[cfg(test)]
mod tests;

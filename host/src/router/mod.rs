//! From a key version to the provider instance that holds it: which are open, which are gone,
//! and where a new version goes.

mod advice;
mod breaker;
mod condition;
mod counter;
mod opening;
mod provider;
mod secrets;
mod select;
mod supervise;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use wire::api::ProviderStatus;
use wire::name::ProviderName;

use crate::changes::Changes;
use crate::config::{ProviderConfig, Selection};
use crate::error::{Failure, HostError};
use crate::plugin::{Account, Answer, Call, DeviceKey, Spawner};
use crate::registry::{Registry, RegistryError, Version};

pub use opening::RecoveryLog;
pub(crate) use opening::settled;
pub use provider::Provider;
pub use select::{Selected, Wanted};
pub use supervise::StartError;

/// All provider instances of the configuration.
#[derive(Debug)]
pub struct Router {
    providers: BTreeMap<ProviderName, Arc<Provider>>,
    selection: Selection,
    changes: Changes,
    registry: Arc<Registry>,
    spawner: Arc<Spawner>,
    clock: daemon::clock::Clock,
    state_dir: PathBuf,
    /// For each plugin, the turn to show a device a PIN.
    pin_turns: BTreeMap<PathBuf, tokio::sync::Mutex<()>>,
    /// The tasks that keep instances open; each holds its link.
    supervisors: Mutex<JoinSet<()>>,
}

impl Router {
    /// Takes the configured providers; none is opened yet.
    #[must_use]
    pub fn new(
        providers: Vec<ProviderConfig>,
        selection: Selection,
        registry: Arc<Registry>,
        spawner: Arc<Spawner>,
        clock: daemon::clock::Clock,
        state_dir: PathBuf,
    ) -> Self {
        let pin_turns = providers
            .iter()
            .map(|config| (config.source.path.clone(), tokio::sync::Mutex::default()));
        let pin_turns = pin_turns.collect();
        let providers = providers
            .into_iter()
            .map(|config| (config.name.clone(), Arc::new(Provider::new(config, clock.now_text()))))
            .collect();
        let (supervisors, changes) = (Mutex::default(), Changes::default());
        Self {
            providers,
            selection,
            changes,
            registry,
            spawner,
            clock,
            state_dir,
            pin_turns,
            supervisors,
        }
    }

    /// The least protection of a new key version, and how long a fallback waits.
    #[must_use]
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The locks of keys that are being changed.
    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Makes a call with a key version, on somebody's account, at the instance that holds it.
    ///
    /// # Errors
    /// `Unavailable` where it is not open, or what the call failed with.
    pub async fn call(
        &self,
        account: Account,
        version: &Version,
        usage: wire::api::Usage,
        call: impl FnOnce(DeviceKey) -> Call,
    ) -> Result<Answer, HostError> {
        let provider = self.provider(&version.provider)?;
        let key = DeviceKey {
            usage: crate::convert::usage(usage),
            id: version.id,
            blob: Arc::clone(&version.blob),
        };
        provider.call(account, call(key)).await
    }

    /// An instance by name.
    ///
    /// # Errors
    /// `Unavailable`: the configuration no longer has it.
    pub fn provider(&self, name: &ProviderName) -> Result<&Arc<Provider>, HostError> {
        self.providers.get(name).ok_or_else(|| {
            let gone = format!("provider {name} is not in the configuration any more");
            HostError::from(Failure::Unavailable(gone)).at(name)
        })
    }

    /// Whether an instance has been gone for so long that seals may go elsewhere.
    #[must_use]
    pub fn fallback_is_due(&self, name: &ProviderName) -> bool {
        let gone = self.providers.get(name).and_then(|provider| provider.gone_for());
        gone.is_some_and(|gone| gone >= self.selection.fallback_after)
    }

    /// The name of the first open instance in the configured order, for work without a key.
    ///
    /// # Errors
    /// `Unavailable`: none is open.
    pub fn first_open(&self) -> Result<&Arc<Provider>, HostError> {
        let open = |name: &&ProviderName| {
            self.providers.get(*name).is_some_and(|provider| provider.is_working())
        };
        let name = self.selection.order.iter().find(open);
        match name {
            Some(name) => self.provider(name),
            None => Err(Failure::Unavailable("no provider is open".into()).into()),
        }
    }

    /// Asks for another try at opening an instance now, though its PIN was refused.
    ///
    /// # Errors
    /// `NotFound`: there is no such instance. `Registry`: the refusal cannot be forgotten.
    pub async fn retry(&self, name: &ProviderName) -> Result<ProviderStatus, HostError> {
        let provider = self.providers.get(name);
        let provider = provider.ok_or(Failure::NotFound("there is no such provider"))?;
        self.registry.set_refused_pin(name, None).map_err(Failure::Registry)?;
        provider.try_again().await;
        Ok(self.status_of(provider))
    }

    /// What there is to say of every instance, in the order of their names.
    #[must_use]
    pub fn statuses(&self) -> Vec<ProviderStatus> {
        self.providers.values().map(|provider| self.status_of(provider)).collect()
    }

    fn status_of(&self, provider: &Provider) -> ProviderStatus {
        let mut status = provider.status();
        status.fallback_active = self.fallback_is_due(provider.name())
            && self.registry.keys().iter().any(|key| {
                let active = key.active().is_some_and(|it| it.provider == *provider.name());
                active && key.fallback().is_some()
            });
        status
    }

    fn supervisors(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All instances.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Closes every instance and waits for its worker to end, so that devices are left in order.
    pub async fn close(&self) {
        let mut supervisors = std::mem::take(&mut *self.supervisors());
        supervisors.shutdown().await;
        for provider in self.providers.values() {
            provider.close();
        }
        let spawner = Arc::clone(&self.spawner);
        // Failing to wait leaves workers to the kernel, which ends them with us.
        let _ = tokio::task::spawn_blocking(move || spawner.wait_for_workers()).await;
    }
}

/// How soon a provider that did not open is tried again: quickly at first, then ever more slowly.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(5);

    const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    fn take(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(Self::LAST);
        now
    }
}

/// A registry fault that must stop the start.
fn is_fatal(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::HeadAltered(_)
            | RegistryError::RecordAltered { .. }
            | RegistryError::CounterAltered(_)
    )
}

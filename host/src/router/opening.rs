//! Opening an instance: secrets, worker, self test, record key, and whatever a crash left over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use provider_core::{Algorithm, AuthSubject, ErrorKind, KeyId, KeySpec, Mac, Usage};
use tokio::sync::MutexGuard;
use wire::api::BreakerCause;
use wire::name::{KeyName, ProviderName};

use super::Router;
use super::advice::{advice, may_be_of_the_sandbox};
use super::provider::{Availability, Provider};
use super::secrets::SecretError;
use crate::plugin::{
    Answer, Call, CallError, DeviceKey, Link, OpenFailure, OpenRequest, PluginSource,
};
use crate::registry::{
    CheckpointKey, Counter, HandleKey, Instance, InstanceKeys, Key, RecordKey, RecordKeyName,
    RegistryError, Stage, Version, checkpoint_key_input, handle_key_input, record_key_input,
};

/// Why an instance did not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(
        "its PIN was refused before ({reason}); correct it and run: sealctl provider retry {name}"
    )]
    PinWasRefused { name: ProviderName, reason: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(
        "the device computes the same HMAC differently each time; look after the device, or its \
         connection; it is tried again by itself"
    )]
    Contradiction,
    #[error("{0}")]
    Unexpected(&'static str),
}

/// Is told of every change that a crash left over and that opening completed.
pub trait RecoveryLog: Send + Sync + std::fmt::Debug {
    /// A version was undone or its destruction completed.
    ///
    /// # Errors
    /// A reason not to go on: the record cannot be written.
    fn recovered(&self, key: &KeyName, version: &Version, generation: u64) -> Result<(), String>;

    /// A counter was undone or its destruction completed.
    ///
    /// # Errors
    /// As [`recovered`](Self::recovered).
    fn recovered_counter(&self, counter: &Counter, generation: u64) -> Result<(), String>;
}

impl Router {
    /// Tries once to open an instance, and admits it to the registry.
    pub(super) async fn open_once(
        &self,
        provider: &Provider,
        log: &dyn RecoveryLog,
    ) -> Result<Arc<Link>, OpenError> {
        let name = provider.name();
        let refused_before = |reason| OpenError::PinWasRefused { name: name.clone(), reason };
        if let Some(reason) = self.registry.refused_pin(name)? {
            return Err(refused_before(reason));
        }
        let known = self.registry.instance(name);
        let (source, deadlines) = (&provider.config.source, provider.config.deadlines);
        let settings = &provider.config.settings;
        // Before there are secrets in memory.
        let needs = Link::needs(source, &self.spawner, settings, deadlines).await?;
        let secrets = self.secrets_of(provider).await?;
        let link = {
            let _alone = self.turn_to_show_a_pin(provider).await;
            let refused = self.refused_subjects(provider)?;
            let request = OpenRequest {
                settings: settings.clone(),
                needs,
                secrets,
                known: known.as_ref().map(|instance| instance.identity.clone()),
                refused: refused.iter().map(|(subject, _)| subject.clone()).collect(),
            };
            match Link::open(source, &self.spawner, request, deadlines).await {
                Ok(link) => link,
                Err(OpenFailure::Withheld(subject)) => {
                    let reason = refused.into_iter().find(|(it, _)| *it == subject);
                    return Err(refused_before(
                        reason.map(|(_, reason)| reason).unwrap_or_default(),
                    ));
                }
                Err(OpenFailure::Failed { error, subject }) => {
                    self.remember_refusal(provider, &error, subject.as_ref())?;
                    return Err(error.into());
                }
            }
        };
        self.forget_refusal(provider, &link)?;
        link.call(Call::SelfTest).await?;
        match known {
            Some(instance) => {
                let keys = self.instance_keys(name, &link, &instance.record_key).await?;
                self.registry.attach(name, keys)?;
            }
            None => self.add_instance(name, &link).await?,
        }
        self.complete_leftovers(name, &link, log).await?;
        Ok(Arc::new(link))
    }

    /// Waits until no other instance of the same plugin is being shown a PIN, so that of two that
    /// lead to one token the second knows that the first was refused.
    async fn turn_to_show_a_pin(&self, provider: &Provider) -> Option<MutexGuard<'_, ()>> {
        let turn = self.pin_turns.get(&provider.config.source.path)?;
        if provider.shows_a_pin() { Some(turn.lock().await) } else { None }
    }

    /// What must not be shown this provider's PIN, and why.
    fn refused_subjects(
        &self,
        provider: &Provider,
    ) -> Result<Vec<(AuthSubject, String)>, RegistryError> {
        if !provider.shows_a_pin() || provider.may_try_again.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        self.registry.refused_subjects()
    }

    /// A refused PIN is not tried again until an operator says so: tokens lock after a few. What
    /// refused it is remembered where it has a name, so that no other instance tries it either.
    pub(super) fn remember_refusal(
        &self,
        provider: &Provider,
        error: &CallError,
        subject: Option<&AuthSubject>,
    ) -> Result<(), RegistryError> {
        if !error.is_refused() || !provider.shows_a_pin() {
            return Ok(());
        }
        provider.may_try_again.store(false, Ordering::Relaxed);
        let name = provider.name();
        let reason = format!("{}, provider {name}: {error}", self.clock.now_text());
        match subject {
            Some(subject) => self.registry.set_refused_subject(subject, Some(&reason)),
            None => self.registry.set_refused_pin(name, Some(&reason)),
        }
    }

    /// A PIN was accepted: the tries that the one before used up are given back.
    fn forget_refusal(&self, provider: &Provider, link: &Link) -> Result<(), RegistryError> {
        if provider.may_try_again.swap(false, Ordering::Relaxed)
            && let Some(subject) = link.subject()
        {
            self.registry.set_refused_subject(subject, None)?;
        }
        Ok(())
    }

    /// Records an instance at its first opening. Its internal key has an id that follows from the
    /// registry and the name, so that what a crash left behind is found and replaced.
    async fn add_instance(&self, name: &ProviderName, link: &Link) -> Result<(), OpenError> {
        let id = internal_key_id(self.registry.id(), name);
        let left_behind = DeviceKey { usage: Usage::Seal, id, blob: Arc::from([]) };
        link.call(Call::Destroy(left_behind)).await?;
        let spec =
            KeySpec { usage: Usage::Seal, algorithm: Algorithm::HmacSha256, id, state: None };
        let Answer::Blob(blob) = link.call(Call::Generate(spec)).await? else {
            return Err(OpenError::Unexpected("generate did not answer with a blob"));
        };
        let record_key = RecordKeyName { id, blob };
        let keys = self.instance_keys(name, link, &record_key).await?;
        let identity = link.identity().clone();
        let instance = Instance { name: name.clone(), identity, record_key };
        self.registry.add_instance(&instance, keys)?;
        Ok(())
    }

    /// Derives an instance's keys, each by one HMAC of its device under its internal key.
    ///
    /// Everything is authenticated by these keys, so that one wrong answer would make a good
    /// registry look altered, or authenticate changes by a key that nobody has again. The device
    /// is therefore asked until it has given the same answers twice in a row.
    ///
    /// # Errors
    /// `Contradiction`: it did not, in [`DERIVATIONS_MAX`] times. `Call`.
    async fn instance_keys(
        &self,
        name: &ProviderName,
        link: &Link,
        key: &RecordKeyName,
    ) -> Result<InstanceKeys, OpenError> {
        let blob: Arc<[u8]> = Arc::from(&key.blob.0[..]);
        let mac = async |input| {
            let key = DeviceKey { usage: Usage::Seal, id: key.id, blob: Arc::clone(&blob) };
            let Answer::Mac(mac) = link.call(Call::Mac(key, input)).await? else {
                return Err(OpenError::Unexpected("mac did not answer with a mac"));
            };
            Ok(mac)
        };
        let mut before: Option<[Mac; 3]> = None;
        for _ in 0..DERIVATIONS_MAX {
            let record = mac(record_key_input(self.registry.id())).await?;
            let checkpoint = mac(checkpoint_key_input(self.registry.id())).await?;
            let handle = mac(handle_key_input(self.registry.id())).await?;
            let derived = [record, checkpoint, handle];
            match &before {
                Some(before)
                    if before.iter().zip(&derived).all(|(one, other)| same(one, other)) =>
                {
                    let [record, checkpoint, handle] = &derived;
                    return Ok(InstanceKeys {
                        record: RecordKey::from_device_mac(record.expose()),
                        checkpoint: CheckpointKey::from_device_mac(checkpoint.expose()),
                        handle: HandleKey::from_device_mac(handle.expose()),
                    });
                }
                Some(_) => tracing::warn!(
                    provider = %name,
                    "the device answered wrongly: the same HMAC twice, with two results; it is \
                     asked again"
                ),
                None => {}
            }
            before = Some(derived);
        }
        Err(OpenError::Contradiction)
    }

    /// Undoes versions and counters that were being made, and completes destructions, that were
    /// cut short by a crash or by the loss of the device. What somebody is still at work on is
    /// waited for.
    pub(super) async fn complete_leftovers(
        &self,
        name: &ProviderName,
        link: &Link,
        log: &dyn RecoveryLog,
    ) -> Result<(), OpenError> {
        for (key_name, found) in self.registry.leftovers(name) {
            let _change = self.changes.of(&key_name).await;
            let Some(key) = self.registry.key(&key_name) else { continue };
            let left = |version: &&Version| version.is_unfinished() && version.id == found.id;
            let Some(version) = key.versions.iter().find(left).cloned() else { continue };
            let device_key = DeviceKey {
                usage: crate::convert::usage(key.terms.usage),
                id: version.id,
                blob: Arc::clone(&version.blob),
            };
            link.call(Call::Destroy(device_key)).await?;
            let generation = self.registry.put_key(Some(&key), settled(&key, version.number))?;
            tracing::warn!(key = %key_name, version = version.number, "completed a change that was cut short");
            let told = log.recovered(&key_name, &version, generation);
            told.map_err(|_reason| OpenError::Unexpected("the audit cannot be written"))?;
        }
        self.complete_counters(name, link, log).await
    }

    /// The same for counters.
    async fn complete_counters(
        &self,
        name: &ProviderName,
        link: &Link,
        log: &dyn RecoveryLog,
    ) -> Result<(), OpenError> {
        for found in self.registry.unfinished_counters(name) {
            let _change = self.changes.of(&found.name).await;
            let Some(counter) = self.registry.counter(&found.name) else { continue };
            let Some(home) = counter.device().filter(|_| !counter.is_live()) else { continue };
            link.call(Call::CounterDestroy(home.counter())).await?;
            let generation = self.registry.remove_counter(&counter)?;
            tracing::warn!(counter = %counter.name, "completed a change that was cut short");
            let told = log.recovered_counter(&counter, generation);
            told.map_err(|_reason| OpenError::Unexpected("the audit cannot be written"))?;
        }
        Ok(())
    }
}

/// A key after one of its unfinished versions was removed from its device: a version that was
/// being made is forgotten, one that was being destroyed is destroyed.
///
/// A version that was to follow destroyed ones, whose records went when it was announced, is all
/// that keeps their numbers from being used again, and stays as a destroyed one.
pub(crate) fn settled(key: &Key, number: u32) -> Key {
    let mut after = key.clone();
    let keeps_the_numbers = number > 1 && key.versions.len() == 1;
    after.versions.retain(|version| {
        version.number != number || version.stage != Stage::Creating || keeps_the_numbers
    });
    for version in &mut after.versions {
        if version.number == number {
            version.stage = Stage::Destroyed;
            version.blob = Arc::from([]);
        }
    }
    after
}

impl OpenError {
    /// What is wrong, and what to do.
    pub(super) fn reason(&self, source: &PluginSource) -> String {
        let mut reason = match advice(self, source.isolation) {
            Some(advice) => format!("{self}; {advice}"),
            None => self.to_string(),
        };
        if source.is_confined() && may_be_of_the_sandbox(self) {
            reason += "; where it lacks a file or a socket, state that in [provider.sandbox]";
        }
        reason
    }

    /// How the instance is to be shown after this, for this reason, and why calls fail.
    ///
    /// Absent is only what a provider says is not there. A plugin that crashes or hangs tells
    /// nothing about its device, and so must not lead new keys to a lesser one.
    pub(super) fn availability(&self, known: bool, reason: String) -> (Availability, BreakerCause) {
        let cause = match self {
            Self::Call(error) if error.is_gone() => BreakerCause::Gone,
            Self::Call(CallError::Timeout(_)) => BreakerCause::Silent,
            Self::Call(_)
            | Self::PinWasRefused { .. }
            | Self::Secret(_)
            | Self::Registry(_)
            | Self::Contradiction
            | Self::Unexpected(_) => BreakerCause::Refusing,
        };
        let availability = match self {
            Self::Call(error) if error.is_device_gone() && !known => Availability::Absent(reason),
            Self::Call(error) if error.is_wrong_device() => Availability::Replaced(reason),
            Self::Call(_)
            | Self::PinWasRefused { .. }
            | Self::Secret(_)
            | Self::Registry(_)
            | Self::Contradiction
            | Self::Unexpected(_) => Availability::Down(reason),
        };
        (availability, cause)
    }

    /// Whether a call of this opening is still inside the plugin, or left it in a state that
    /// nobody knows.
    pub(super) fn left_plugin_in_doubt(&self) -> bool {
        match self {
            Self::Call(CallError::Timeout(_)) => true,
            Self::Call(CallError::Provider(error)) => error.kind == ErrorKind::Panicked,
            Self::Call(CallError::Busy | CallError::Gone(_) | CallError::Plugin(_))
            | Self::PinWasRefused { .. }
            | Self::Secret(_)
            | Self::Registry(_)
            | Self::Contradiction
            | Self::Unexpected(_) => false,
        }
    }
}

/// How often a device is asked for the keys of its instance, until two answers in a row agree:
/// enough for one wrong answer, whichever it is.
const DERIVATIONS_MAX: usize = 4;

fn same(one: &Mac, other: &Mac) -> bool {
    verify_slices_are_equal(one.expose(), other.expose()).is_ok()
}

fn internal_key_id(registry: &[u8], name: &ProviderName) -> KeyId {
    let text = [b"sealhost/internal-key/1/", registry, name.as_str().as_bytes()].concat();
    let digest = digest::digest(&digest::SHA256, &text);
    let mut id = [0; 16];
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    KeyId(id)
}

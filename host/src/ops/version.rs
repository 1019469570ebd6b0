//! Making a key version so that a crash at any moment leaves it whole or absent: the record is
//! announced, then the device makes the key, then the key is used once, then the record is
//! completed.

use std::sync::Arc;

use aws_lc_rs::rand;
use provider_core::{KeyBlob, KeyId, KeySpec, SecretBytes};
use wire::api::Origin;
use wire::name::KeyName;

use super::Job;
use super::first_use::use_once;
use crate::convert;
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call, DeviceKey};
use crate::registry::{Key, Registry, RegistryError, Stage, Terms, Version};
use crate::reply::Used;
use crate::router::{Selected, settled};

/// Where the bytes of a new version come from.
#[derive(Clone, Copy)]
pub(super) enum Material<'a> {
    /// The device draws them.
    Generated,
    /// The caller brings them.
    Imported(&'a [u8]),
}

/// A version to be made.
pub(super) struct NewVersion<'a> {
    pub(super) name: &'a KeyName,
    /// The key as it is, under its lock; `None` when there is none.
    pub(super) before: Option<Arc<Key>>,
    pub(super) terms: Terms,
    pub(super) selected: Selected,
    pub(super) material: Material<'a>,
    pub(super) fallback: bool,
}

/// Makes a version and returns the key that has it.
///
/// # Errors
/// Those of registry and provider; `BrokenKey`: the device made a key that does not work. After a
/// definite refusal nothing is left; after a timeout or a lost device the announcement stays until
/// the provider is back and is then undone.
pub(super) async fn make_version(
    job: &Job<'_>,
    new: NewVersion<'_>,
    used: &mut Used,
) -> Result<Arc<Key>, HostError> {
    let NewVersion { name, before, terms, selected, material, fallback } = new;
    let provider = &selected.provider;
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_unspecified| Failure::Bug("no randomness"))?;
    let id = KeyId(id);
    let number = before.as_ref().map_or(1, |key| key.next_number());
    let origin = match material {
        Material::Generated => Origin::Generated,
        Material::Imported(_) => Origin::ImportedClear,
    };
    let mut version =
        Version::announced(number, provider.name().clone(), id, origin, selected.protection);
    version.fallback = fallback;
    version.created_at = job.host.clock.now_text();
    version.created_by = job.authorized.principal().uid();
    used.note(&version);

    // The records of a destroyed key do not outlive its terms; its numbers do.
    let kept = before.as_ref().filter(|key| key.exists());
    let mut announced = Key {
        name: name.clone(),
        terms: terms.clone(),
        versions: kept.map(|key| key.versions.clone()).unwrap_or_default(),
    };
    announced.versions.push(version);
    let announced = write(job, before, announced).await?;

    let spec = KeySpec {
        usage: convert::usage(terms.usage),
        algorithm: convert::algorithm(terms.algorithm),
        id,
        state: terms.state,
    };
    let spec_usage = spec.usage;
    let call = match material {
        Material::Generated => Call::Generate(spec),
        Material::Imported(key) => Call::Import(spec, SecretBytes::copy_of(key)),
    };
    let blob = match provider.call(job.account(), call).await {
        Ok(Answer::Blob(KeyBlob(blob))) => blob,
        Ok(_) => return Err(Failure::Bug("generate did not answer with a blob").into()),
        Err(error) => {
            // What cannot be undone now stays announced; the caller is told the first failure.
            let _undone = settle(job, name).await;
            return Err(error);
        }
    };
    let made = DeviceKey { usage: spec_usage, id, blob: Arc::from(&blob[..]) };
    if let Err(error) = use_once(job, provider, &made, material).await {
        // By its blob first, as settling knows the id alone.
        let _destroyed = provider.call(job.account(), Call::Destroy(made)).await;
        let _undone = settle(job, name).await;
        return Err(error);
    }
    let mut live = Key::clone(&announced);
    for version in live.versions.iter_mut().filter(|version| version.number == number) {
        version.stage = Stage::Live;
        version.blob = Arc::clone(&made.blob);
    }
    match write(job, Some(announced), live).await {
        Ok(key) => Ok(key),
        Err(error) => {
            // Somebody may have undone the announcement meanwhile, and with it our way to the key.
            let _destroyed = provider.call(job.account(), Call::Destroy(made)).await;
            let _undone = settle(job, name).await;
            Err(error)
        }
    }
}

/// Completes whatever an earlier change of this key left unfinished, as far as its providers are
/// there, and returns the key as it then is. The caller holds the key's lock, so nobody else is
/// at work on it.
///
/// # Errors
/// `Unavailable` when something unfinished remains, because its provider is not there.
pub(super) async fn settle(job: &Job<'_>, name: &KeyName) -> Result<Option<Arc<Key>>, HostError> {
    let mut key = job.host.registry.key(name);
    while let Some(current) = key.clone() {
        let unfinished = current.versions.iter().find(|version| version.is_unfinished());
        let Some(version) = unfinished else { break };
        let usage = current.terms.usage;
        if job.host.router.call(job.account(), version, usage, Call::Destroy).await.is_err() {
            let waits = format!(
                "an earlier change of the key waits for provider {} to come back",
                version.provider
            );
            return Err(HostError::from(Failure::Unavailable(waits)).at(&version.provider));
        }
        let after = settled(&current, version.number);
        key = write_or_remove(job, Some(current), after).await?;
    }
    Ok(key)
}

/// Writes a key, and returns it as it was written.
pub(super) async fn write(
    job: &Job<'_>,
    before: Option<Arc<Key>>,
    after: Key,
) -> Result<Arc<Key>, HostError> {
    let written = write_or_remove(job, before, after).await?;
    Ok(written.ok_or(Failure::Bug("a key without versions was written"))?)
}

async fn write_or_remove(
    job: &Job<'_>,
    before: Option<Arc<Key>>,
    after: Key,
) -> Result<Option<Arc<Key>>, HostError> {
    let name = after.name.clone();
    in_registry(job, move |registry| {
        registry.put_key(before.as_ref(), after)?;
        Ok(registry.key(&name))
    })
    .await
}

/// Works on the registry where waiting for the disk is allowed.
pub(super) async fn in_registry<T: Send + 'static>(
    job: &Job<'_>,
    work: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, HostError> {
    let registry = Arc::clone(&job.host.registry);
    let done = tokio::task::spawn_blocking(move || work(&registry)).await;
    let done = done.map_err(|_panicked| Failure::Bug("the registry panicked"))?;
    Ok(done.map_err(Failure::Registry)?)
}

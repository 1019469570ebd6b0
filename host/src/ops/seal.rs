//! Seals plaintexts under a key's active version, or, where the operator allowed it for the key
//! and its provider has been gone long enough, under a fallback version.

use std::sync::Arc;

use aws_lc_rs::rand;
use wire::api::{OneOrItems, SealItem, SealReply, SealedText, Usage};
use wire::envelope::NONCE_BYTES;
use wire::name::KeyName;

use super::envelope::{new_data_key, wrap_data_key};
use super::version::{Material, NewVersion, make_version, settle};
use super::{Job, each, living_key, version_of};
use crate::error::{Failure, HostError};
use crate::registry::{Key, Version};
use crate::reply::{Batch, Reply, Used};
use crate::router::Wanted;

pub(super) async fn seal(
    job: &Job<'_>,
    name: &KeyName,
    items: &OneOrItems<SealItem>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let done = each!(items, used, item => seal_item(job, name, item, used).await);
    Ok(Reply::Sealed(done?))
}

async fn seal_item(
    job: &Job<'_>,
    name: &KeyName,
    item: &SealItem,
    used: &mut Used,
) -> Result<SealReply, HostError> {
    let key = living_key(job, name, Usage::Seal, "seal")?;
    let active = version_of(&key, None)?;
    if !stands_aside(job, &key, active) {
        match seal_under(job, &key, active, item, used).await {
            // The device may have gone just now, and have been gone for longer than we knew.
            Err(error) if error.is_gone() && stands_aside(job, &key, active) => {}
            sealed => return sealed,
        }
    }
    let (key, number) = fallback_version(job, &key, used).await?;
    seal_under(job, &key, version_of(&key, Some(number))?, item, used).await
}

/// Whether new seals of a key go elsewhere while its provider is gone.
fn stands_aside(job: &Job<'_>, key: &Key, active: &Version) -> bool {
    key.terms.fallback && job.host.router.fallback_is_due(&active.provider)
}

async fn seal_under(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
    item: &SealItem,
    used: &mut Used,
) -> Result<SealReply, HostError> {
    used.note(version);
    let data_key = new_data_key()?;
    let recipient = wrap_data_key(&job.host.router, job.account(), key, version, &data_key).await?;
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).map_err(|_unspecified| Failure::Bug("no randomness"))?;
    let plaintext = item.plaintext.as_bytes();
    let recipients = vec![recipient];
    let envelope =
        wire::envelope::seal(&key.name, &data_key, recipients, nonce, &item.context, plaintext)?;
    Ok(SealReply {
        sealed: SealedText(envelope.to_text()),
        key: key.name.clone(),
        version: version.number,
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
        fallback: version.fallback,
    })
}

/// The fallback version of this outage: the one there is, if its provider works, else a new one
/// on the next provider at or above the key's floor.
async fn fallback_version(
    job: &Job<'_>,
    key: &Arc<Key>,
    used: &mut Used,
) -> Result<(Arc<Key>, u32), HostError> {
    if let Some(number) = working_fallback(job, key) {
        return Ok((Arc::clone(key), number));
    }
    let _change = job.host.router.changes().of(&key.name).await;
    // Somebody else may have made it while we waited.
    // An earlier change that the gone provider cut short can wait for it; this one cannot.
    let key = match settle(job, &key.name).await {
        Ok(key) => key,
        Err(_waits) => job.host.registry.key(&key.name),
    };
    let key = key.filter(|key| key.exists());
    let key = key.ok_or(Failure::NotFound("there is no such key"))?;
    if let Some(number) = working_fallback(job, &key) {
        return Ok((key, number));
    }
    let active = version_of(&key, None)?;
    let terms = key.terms.clone();
    let wanted = Wanted { instead_of: Some(&active.provider), ..Wanted::new(&terms) };
    let selected = job.host.router.select(&wanted).map_err(|error| {
        let down = format!("provider {} is down, and {error}", active.provider);
        HostError::from(Failure::Unavailable(down)).at(&active.provider)
    })?;
    tracing::warn!(
        key = %key.name, gone = %active.provider, instead = %selected.provider.name(),
        "fallback: new seals go to another provider"
    );
    job.host.record_intent(job, "fallback").await?;
    let new = NewVersion {
        name: &key.name,
        before: Some(Arc::clone(&key)),
        terms: terms.clone(),
        selected,
        material: Material::Generated,
        fallback: true,
    };
    let made = make_version(job, new, used).await;
    if made.is_ok() {
        job.host.metrics.count_fallback_version();
    }
    job.host.record_outcome(job, "fallback", used, made.as_ref().err()).await?;
    let key = made?;
    let number = working_fallback(job, &key).ok_or(Failure::Bug("no fallback version was made"))?;
    Ok((key, number))
}

fn working_fallback(job: &Job<'_>, key: &Key) -> Option<u32> {
    let version = key.fallback()?;
    let provider = job.host.router.provider(&version.provider).ok()?;
    provider.is_working().then_some(version.number)
}

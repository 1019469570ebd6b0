//! Destroys a key: every version, on its device, and then in the registry.

use std::sync::Arc;

use wire::api::DestroyReply;
use wire::code::{Code, Fault};
use wire::name::KeyName;

use super::Job;
use super::version::{settle, write};
use crate::error::{Failure, HostError};
use crate::registry::{Key, Stage};
use crate::reply::Reply;

pub(super) async fn destroy(
    job: &Job<'_>,
    name: &KeyName,
    confirm: Option<&KeyName>,
) -> Result<Reply, HostError> {
    if confirm != Some(name) {
        let detail = "confirm must repeat the key's name: ?confirm=NAME";
        return Err(Failure::Decode(Fault::new(Code::Invalid, detail)).into());
    }
    let _change = job.host.router.changes().of(name).await;
    let key = settle(job, name).await?.filter(|key| key.exists());
    let key = key.ok_or(Failure::NotFound("there is no such key"))?;
    let destroyed = destroy_all(job, &key).await?;
    Ok(Reply::Destroyed(DestroyReply { key: name.clone(), destroyed }))
}

/// Destroys a key as long as it is the one of this generation; one that is gone, or that another
/// has taken the place of since its handle was looked at, is destroyed already.
pub(super) async fn destroy_generation(
    job: &Job<'_>,
    name: &KeyName,
    generation: u32,
) -> Result<(), HostError> {
    let _change = job.host.router.changes().of(name).await;
    let key = settle(job, name).await?;
    let key = key.filter(|key| key.exists() && key.generation() == Some(generation));
    if let Some(key) = key {
        destroy_all(job, &key).await?;
    }
    Ok(())
}

/// Destroys every version of a key, whose lock the caller holds; returns their numbers, the newest
/// first.
///
/// # Errors
/// `Unavailable`: a device is not there; nothing is destroyed then. Those of the providers.
pub(super) async fn destroy_all(job: &Job<'_>, key: &Arc<Key>) -> Result<Vec<u32>, HostError> {
    // Half a destruction helps nobody: all the devices must be there.
    for version in key.live_versions() {
        let provider = job.host.router.provider(&version.provider)?;
        if !provider.is_working() {
            let down = format!("provider {} holds a version and is down", version.provider);
            return Err(HostError::from(Failure::Unavailable(down)).at(&version.provider));
        }
    }
    let destroyed: Vec<_> = key.live_versions().map(|version| version.number).collect();
    let mut condemned = Key::clone(key);
    for version in &mut condemned.versions {
        if version.stage == Stage::Live {
            version.stage = Stage::Destroying;
        }
    }
    let condemned = write(job, Some(Arc::clone(key)), condemned).await?;
    drop(condemned);
    settle(job, &key.name).await?;
    Ok(destroyed.into_iter().rev().collect())
}

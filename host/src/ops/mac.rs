//! Computes and checks MACs. The key never leaves its device; a check recomputes and compares in
//! constant time.

use aws_lc_rs::constant_time;
use wire::api::{Base64Array, MacItem, MacReply, OneOrItems, Usage, VerifyReply, VerifyRequest};
use wire::name::KeyName;

use super::{Job, each, living_key, version_of};
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call};
use crate::registry::{Key, Version};
use crate::reply::{Batch, Reply, Used};

pub(super) async fn mac(
    job: &Job<'_>,
    name: &KeyName,
    items: &OneOrItems<MacItem>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let done = each!(items, used, item => mac_item(job, name, item, used).await);
    Ok(Reply::Macs(done?))
}

async fn mac_item(
    job: &Job<'_>,
    name: &KeyName,
    item: &MacItem,
    used: &mut Used,
) -> Result<MacReply, HostError> {
    let key = living_key(job, name, Usage::Mac, "mac")?;
    let version = version_of(&key, item.version)?;
    used.note(version);
    let mac = compute(job, &key, version, item.message.as_bytes()).await?;
    Ok(MacReply {
        mac: Base64Array::new(mac),
        key: key.name.clone(),
        version: version.number,
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
    })
}

pub(super) async fn verify(
    job: &Job<'_>,
    name: &KeyName,
    request: &VerifyRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let key = living_key(job, name, Usage::Mac, "verify")?;
    let candidates: Vec<_> = match request.version {
        Some(_) => vec![version_of(&key, request.version)?],
        None => key.live_versions().collect(),
    };
    let mut matched = None;
    for version in candidates {
        used.note(version);
        let mac = compute(job, &key, version, request.message.as_bytes()).await?;
        if constant_time::verify_slices_are_equal(&mac, request.mac.as_bytes()).is_ok() {
            matched = Some(version);
            break;
        }
    }
    let named = request.version.and_then(|number| key.live(number));
    let told = matched.or(named);
    Ok(Reply::Verified(VerifyReply {
        valid: matched.is_some(),
        key: key.name.clone(),
        version: told.map(|version| version.number),
        provider: told.map(|version| version.provider.clone()),
        protection: told.map(|version| version.protection),
        origin: told.map(|version| version.origin),
    }))
}

/// HMAC-SHA256 of a message by one version.
pub(super) async fn compute(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
    message: &[u8],
) -> Result<[u8; 32], HostError> {
    let message = message.to_vec();
    let call = |key| Call::Mac(key, message);
    let Answer::Mac(mac) =
        job.host.router.call(job.account(), version, key.terms.usage, call).await?
    else {
        return Err(Failure::Bug("mac did not answer with a mac").into());
    };
    let mac = mac.expose().try_into();
    mac.map_err(|_length| Failure::Bug("a mac of another length").into())
}

//! Moves envelopes to a key's active version, without their context and without their plaintext.

use wire::api::{OneOrItems, RewrapItem, RewrapReply, SealedText, Usage};
use wire::name::KeyName;

use super::envelope::{parse, unwrap_envelope, wrap_data_key};
use super::{Job, each, living_key, version_of};
use crate::error::{Failure, HostError};
use crate::reply::{Batch, Reply, Used};

pub(super) async fn rewrap(
    job: &Job<'_>,
    name: &KeyName,
    items: &OneOrItems<RewrapItem>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let done = each!(items, used, item => rewrap_item(job, name, item, used).await);
    Ok(Reply::Rewrapped(done?))
}

async fn rewrap_item(
    job: &Job<'_>,
    name: &KeyName,
    item: &RewrapItem,
    used: &mut Used,
) -> Result<RewrapReply, HostError> {
    let key = living_key(job, name, Usage::Seal, "rewrap")?;
    let envelope = parse(&item.sealed)?;
    let router = &job.host.router;
    let (data_key, number) = unwrap_envelope(router, job.account(), &key, &envelope).await?;
    let (from, to) = (version_of(&key, Some(number))?, version_of(&key, None)?);
    used.note(to);
    if to.protection < from.protection && item.allow_lower != Some(true) {
        let detail = format!(
            "the active version has {} protection, the envelope {}; set allow_lower to accept it",
            to.protection.as_str(),
            from.protection.as_str()
        );
        return Err(Failure::Conflict(detail).into());
    }
    let recipient = wrap_data_key(router, job.account(), &key, to, &data_key).await?;
    let moved = wire::envelope::replace_recipients(&envelope, &data_key, vec![recipient])?;
    Ok(RewrapReply {
        sealed: SealedText(moved.to_text()),
        key: key.name.clone(),
        version: to.number,
        provider: to.provider.clone(),
        protection: to.protection,
        origin: to.origin,
        fallback: to.fallback,
    })
}

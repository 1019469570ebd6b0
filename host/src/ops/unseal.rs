//! Opens envelopes. A blob whose provider is down stays shut until it is back: there is nothing to
//! fall back to.

use wire::api::{OneOrItems, SecretBase64, UnsealItem, UnsealReply, Usage};
use wire::name::KeyName;

use super::envelope::{parse, unwrap_envelope};
use super::{Job, each, living_key, version_of};
use crate::error::{Failure, HostError};
use crate::reply::{Batch, Reply, Used};

pub(super) async fn unseal(
    job: &Job<'_>,
    name: &KeyName,
    items: &OneOrItems<UnsealItem>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let done = each!(items, used, item => unseal_item(job, name, item, used).await);
    Ok(Reply::Unsealed(done?))
}

async fn unseal_item(
    job: &Job<'_>,
    name: &KeyName,
    item: &UnsealItem,
    used: &mut Used,
) -> Result<UnsealReply, HostError> {
    let key = living_key(job, name, Usage::Seal, "unseal")?;
    let envelope = parse(&item.sealed)?;
    let (data_key, number) =
        unwrap_envelope(&job.host.router, job.account(), &key, &envelope).await?;
    let version = version_of(&key, Some(number))?;
    used.note(version);
    let plaintext = wire::envelope::open(&envelope, &data_key, &item.context)?;
    Ok(UnsealReply {
        plaintext: SecretBase64::new(plaintext).map_err(Failure::Decode)?,
        key: key.name.clone(),
        version: version.number,
        provider: version.provider.clone(),
        protection: version.protection,
        origin: version.origin,
    })
}

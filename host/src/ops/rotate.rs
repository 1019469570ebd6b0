//! Makes a new active version of a key; the old ones still open what they sealed.

use wire::name::KeyName;

use super::Job;
use super::version::{Material, NewVersion, make_version, settle};
use crate::convert;
use crate::error::{Failure, HostError};
use crate::reply::{Reply, Used};
use crate::router::Wanted;

pub(super) async fn rotate(
    job: &Job<'_>,
    name: &KeyName,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let _change = job.host.router.changes().of(name).await;
    let key = settle(job, name).await?.filter(|key| key.exists());
    let key = key.ok_or(Failure::NotFound("there is no such key"))?;
    let terms = key.terms.clone();
    let selected = job.host.router.select(&Wanted::new(&terms))?;
    let material = Material::Generated;
    let new = NewVersion { name, before: Some(key), terms, selected, material, fallback: false };
    let key = make_version(job, new, used).await?;
    Ok(Reply::Key(convert::key_record(&key)))
}

//! Makes a key with its first version.

use wire::api::CreateRequest;
use wire::name::KeyName;

use super::Job;
use super::version::{Material, NewVersion, make_version, settle};
use crate::convert;
use crate::error::{Failure, HostError};
use crate::registry::Terms;
use crate::reply::{Reply, Used};
use crate::router::Wanted;

pub(super) async fn create(
    job: &Job<'_>,
    name: &KeyName,
    request: &CreateRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let _change = job.host.router.changes().of(name).await;
    let before = settle(job, name).await?;
    if before.as_ref().is_some_and(|key| key.exists()) {
        return Err(Failure::Conflict("a key of this name exists".into()).into());
    }
    let terms = Terms {
        usage: request.usage,
        algorithm: request.algorithm.unwrap_or_else(|| request.usage.algorithm()),
        floor: floor_of(job, request.floor)?,
        fallback: request.fallback.unwrap_or(false),
        state: convert::state_binding(request)?,
        providers: request.providers.clone(),
    };
    let selected = job.host.router.select(&Wanted::new(&terms))?;
    let material = Material::Generated;
    let new = NewVersion { name, before, terms, selected, material, fallback: false };
    let key = make_version(job, new, used).await?;
    Ok(Reply::Created(convert::key_record(&key)))
}

/// The floor of a new key: the configured one, or a higher one that was asked for.
pub(super) fn floor_of(
    job: &Job<'_>,
    asked: Option<wire::api::Protection>,
) -> Result<wire::api::Protection, HostError> {
    let configured = job.host.router.selection().floor;
    match asked {
        Some(asked) if asked < configured => {
            let detail = format!(
                "floor {} is below the configured floor {}",
                asked.as_str(),
                configured.as_str()
            );
            Err(Failure::Decode(wire::code::Fault::new(wire::code::Code::Invalid, detail)).into())
        }
        Some(asked) => Ok(asked),
        None => Ok(configured),
    }
}

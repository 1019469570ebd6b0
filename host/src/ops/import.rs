//! Imports a MAC key or a signing key, as a new key or as a new version of one.

use std::sync::Arc;

use wire::api::ImportRequest;
use wire::code::{Code, Fault};
use wire::name::KeyName;

use super::Job;
use super::create::floor_of;
use super::version::{Material, NewVersion, make_version, settle};
use crate::convert;
use crate::error::{Failure, HostError};
use crate::registry::{Key, Terms};
use crate::reply::{Reply, Used};
use crate::router::Wanted;

pub(super) async fn import(
    job: &Job<'_>,
    name: &KeyName,
    request: &ImportRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let _change = job.host.router.changes().of(name).await;
    let before = settle(job, name).await?;
    let living = before.as_ref().filter(|key| key.exists());
    let terms = match (living, request.new_version.unwrap_or(false)) {
        (Some(_), false) => {
            return Err(Failure::Conflict("a key of this name exists".into()).into());
        }
        (Some(key), true) => terms_of_existing(key, request)?,
        (None, true) => return Err(Failure::NotFound("there is no such key").into()),
        (None, false) => Terms {
            usage: request.usage,
            algorithm: request.usage.algorithm(),
            floor: floor_of(job, request.floor)?,
            fallback: false,
            state: None,
            providers: request.providers.clone(),
        },
    };
    let wanted = Wanted { import: true, ..Wanted::new(&terms) };
    let selected = job.host.router.select(&wanted)?;
    let material = Material::Imported(request.key.as_bytes());
    let new = NewVersion { name, before, terms, selected, material, fallback: false };
    let key = make_version(job, new, used).await?;
    Ok(Reply::Created(convert::key_record(&key)))
}

/// A further version goes by what was agreed on when the key was made.
fn terms_of_existing(key: &Arc<Key>, request: &ImportRequest) -> Result<Terms, HostError> {
    if key.terms.usage != request.usage {
        return Err(Failure::WrongUsage { is: key.terms.usage.as_str(), asked: "import" }.into());
    }
    if request.floor.is_some() || request.providers.is_some() {
        let detail = "floor and providers of a key are set when it is made";
        return Err(Failure::Decode(Fault::new(Code::Invalid, detail)).into());
    }
    Ok(key.terms.clone())
}

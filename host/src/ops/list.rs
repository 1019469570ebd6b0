//! Describes keys.

use wire::api::KeyList;
use wire::name::KeyName;

use super::Job;
use crate::convert;
use crate::error::{Failure, HostError};
use crate::reply::Reply;

pub(super) fn show(job: &Job<'_>, name: &KeyName) -> Result<Reply, HostError> {
    let key =
        job.host.registry.key(name).filter(|key| !convert::key_record(key).versions.is_empty());
    let key = key.ok_or(Failure::NotFound("there is no such key"))?;
    Ok(Reply::Key(convert::key_record(&key)))
}

/// Keys that are not destroyed and that the caller may show.
pub(super) fn list(job: &Job<'_>) -> Reply {
    let rules = job.host.rules.current();
    let principal = job.authorized.principal();
    let keys = job.host.registry.keys();
    let visible = keys
        .iter()
        .filter(|key| key.live_versions().next().is_some())
        .filter(|key| rules.visible(principal, "show", key.name.as_str()));
    Reply::Keys(KeyList { keys: visible.map(|key| convert::key_record(key)).collect() })
}

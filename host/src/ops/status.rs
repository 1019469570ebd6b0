//! Describes the host and its providers, and tries a provider again.

use wire::api::{ProviderList, Status};
use wire::name::ProviderName;

use super::Job;
use crate::convert;
use crate::error::HostError;
use crate::reply::{Reply, Used};

pub(super) fn status(job: &Job<'_>) -> Reply {
    let host = job.host;
    let selection = host.router.selection();
    Reply::Status(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: host.started_at.clone(),
        generation: host.registry.generation(),
        order: selection.order.clone(),
        floor: selection.floor,
        sandbox: convert::confined(&host.confined),
        providers: host.router.statuses(),
    })
}

pub(super) fn providers(job: &Job<'_>) -> Reply {
    Reply::Providers(ProviderList { providers: job.host.router.statuses() })
}

pub(super) async fn retry(
    job: &Job<'_>,
    provider: &ProviderName,
    used: &mut Used,
) -> Result<Reply, HostError> {
    used.provider = Some(provider.clone());
    Ok(Reply::Provider(job.host.router.retry(provider).await?))
}

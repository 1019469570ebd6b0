//! Draws random bytes from the first open provider of the configured order.

use wire::api::{RandomReply, RandomRequest, SecretBase64};
use zeroize::Zeroizing;

use super::Job;
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call};
use crate::reply::{Reply, Used};

pub(super) async fn random(
    job: &Job<'_>,
    request: &RandomRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let provider = job.host.router.first_open()?;
    let protection = provider.protection().ok_or(Failure::Bug("an open provider without info"))?;
    used.provider = Some(provider.name().clone());
    used.protection = Some(protection);
    let Answer::Random(bytes) = provider.call(job.account(), Call::Random(request.bytes)).await?
    else {
        return Err(Failure::Bug("random did not answer with bytes").into());
    };
    // A worker that is not what it was could say so.
    if bytes.len() != request.bytes {
        return Err(Failure::Bug("random did not answer with as many bytes as asked for").into());
    }
    Ok(Reply::Random(RandomReply {
        random: SecretBase64::new(Zeroizing::new(bytes.expose().to_vec()))?,
        provider: provider.name().clone(),
        protection,
    }))
}

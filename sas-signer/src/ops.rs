//! What each request does, once it is authorized.

use daemon::rules::Authorized;
use wire::api::VersionState;
use wire::code::{Code, Fault};
use wire::sas::{
    ImportRequest, RotateReply, RotateRequest, SasKeyName, SasKeyRecord, SignerStatus, Slot,
    SlotRecord, TokenRequest, VerifyRequest,
};

use crate::access::Access;
use crate::mac::By;
use crate::pipeline::Daemon;
use crate::request::{Reply, Request};
use crate::resource::Resource;
use crate::rules::Refused;
use crate::slots::Slots;
use crate::state::Saved;
use crate::{host, key};

/// What the record of a request says beyond the request.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// The key version that signed, verified or was imported.
    pub(crate) by: Option<By>,
    /// What the token is for.
    pub(crate) resource: Option<String>,
    /// When the token expires.
    pub(crate) expires_at: Option<u64>,
    /// How a token that is not good is recorded, though the request succeeded.
    pub(crate) verdict: Option<Code>,
}

/// Does what was asked.
///
/// # Errors
/// Those of `docs/sas.md`.
pub(crate) async fn perform(
    daemon: &Daemon,
    access: &Access,
    authorized: &Authorized<'_>,
    request: &Request,
    used: &mut Used,
) -> Result<Reply, Fault> {
    match request {
        Request::Token(request) => token(daemon, access, authorized, request, used).await,
        Request::Verify(request) => verify(daemon, request, used).await,
        Request::Import(name, request) => import(daemon, name, request, used).await,
        Request::Rotate(name, request) => rotate(daemon, name, request, used).await,
        Request::Show(name) => Ok(Reply::Key(show(daemon, name).await?)),
        Request::List => {
            let visible = |key: &SasKeyName| access.shows(authorized.principal(), key);
            Ok(Reply::Issued(daemon.signer.issued(visible)))
        }
        Request::Status => Ok(Reply::Status(status(daemon))),
        Request::Metrics => Ok(Reply::Metrics(daemon.metrics.text())),
    }
}

async fn token(
    daemon: &Daemon,
    access: &Access,
    authorized: &Authorized<'_>,
    request: &TokenRequest,
    used: &mut Used,
) -> Result<Reply, Fault> {
    let grant = access.grant(authorized, request).map_err(|refused| match refused {
        Refused::Denied => crate::pipeline::denied(),
        Refused::Ttl { .. } | Refused::Field(_) => refused.into(),
    })?;
    let reply = daemon.signer.token(&grant, authorized.principal().uid()).await?;
    daemon.metrics.count_token(reply.from_cache);
    used.by = Some(By {
        version: reply.version,
        provider: reply.provider.clone(),
        protection: reply.protection,
        origin: reply.origin,
    });
    used.resource = Some(Resource::of(grant.profile()).as_str().to_owned());
    used.expires_at = Some(reply.expires_at);
    Ok(Reply::Token(reply))
}

async fn verify(daemon: &Daemon, request: &VerifyRequest, used: &mut Used) -> Result<Reply, Fault> {
    let (reply, by) = daemon.signer.verify(request).await?;
    used.by = by;
    used.resource.clone_from(&reply.resource);
    used.expires_at = reply.expires_at;
    used.verdict = (!reply.valid).then_some(Code::Integrity);
    Ok(Reply::Verified(reply))
}

async fn import(
    daemon: &Daemon,
    name: &SasKeyName,
    request: &ImportRequest,
    used: &mut Used,
) -> Result<Reply, Fault> {
    let mut state = daemon.state.lock().await;
    let active = daemon.signer.active(name);
    let reply = key::import(&daemon.host, name, request, active).await?;
    used.by = Some(By {
        version: reply.version,
        provider: reply.provider.clone(),
        protection: reply.protection,
        origin: reply.origin,
    });
    // The slot's key is another now, whether or not that can be noted.
    daemon.signer.forget(name);
    let slots = state.1.slots.clone();
    save(daemon, &mut state, slots)?;
    Ok(Reply::Imported(reply))
}

async fn rotate(
    daemon: &Daemon,
    name: &SasKeyName,
    request: &RotateRequest,
    used: &mut Used,
) -> Result<Reply, Fault> {
    let mut state = daemon.state.lock().await;
    let to = request.to.unwrap_or_else(|| daemon.signer.active(name).other());
    let slot = slot(daemon, name, to).await?.ok_or_else(|| {
        Fault::new(Code::Conflict, format!("there is no {} key to sign with", to.as_str()))
    })?;
    used.by = Some(By {
        version: slot.version,
        provider: slot.provider,
        protection: slot.protection,
        origin: slot.origin,
    });
    let slots = state.1.slots.with(name, to);
    save(daemon, &mut state, slots.clone())?;
    daemon.signer.set_slots(slots);
    Ok(Reply::Rotated(RotateReply { key: name.clone(), active: to }))
}

/// Notes a change on disk, and then in memory.
fn save(
    daemon: &Daemon,
    state: &mut (crate::state::StateFile, Saved),
    slots: Slots,
) -> Result<(), Fault> {
    let (file, saved) = state;
    let new = Saved { generation: saved.generation.saturating_add(1), slots };
    tokio::task::block_in_place(|| file.write(&new)).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the state cannot be written");
        Fault::new(Code::Internal, "the signer cannot note the change")
    })?;
    daemon.generation.store(new.generation, std::sync::atomic::Ordering::Relaxed);
    *saved = new;
    Ok(())
}

async fn show(daemon: &Daemon, name: &SasKeyName) -> Result<SasKeyRecord, Fault> {
    let mut slots = Vec::with_capacity(Slot::ALL.len());
    for each in Slot::ALL {
        slots.extend(slot(daemon, name, each).await?);
    }
    if slots.is_empty() {
        return Err(Fault::new(Code::NotFound, "there is no such key"));
    }
    Ok(SasKeyRecord { key: name.clone(), active: daemon.signer.active(name), slots })
}

async fn slot(daemon: &Daemon, name: &SasKeyName, slot: Slot) -> Result<Option<SlotRecord>, Fault> {
    let host_key = name.host_key(slot);
    let record = match daemon.host.key(&host_key).await {
        Ok(record) => record,
        Err(error) if error.code() == Some(Code::NotFound) => return Ok(None),
        Err(error) => return Err(host::fault(&error).0),
    };
    let active = record.versions.into_iter().rev().find(|it| it.state == VersionState::Active);
    Ok(active.map(|version| SlotRecord {
        slot,
        host_key,
        version: version.version,
        provider: version.provider,
        protection: version.protection,
        origin: version.origin,
        created_at: version.created_at,
    }))
}

fn status(daemon: &Daemon) -> SignerStatus {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    SignerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: daemon.started_at.clone(),
        generation: daemon.generation(),
        cached_tokens: count(daemon.signer.cached()),
        issued_tokens: count(daemon.signer.issued(|_| true).tokens.len()),
    }
}

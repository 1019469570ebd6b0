//! Gives handles of keys: of one that is there, that is made, imported, or renamed.

use std::sync::Arc;

use aws_lc_rs::rand;
use provider_core::key::check_import_length;
use wire::api::Usage;
use wire::code::{Code, Fault};
use wire::name::{KeyName, ProviderName};

use super::destroy::destroy_all;
use super::version::{Material, NewVersion, in_registry, make_version, settle};
use super::{Job, named_key};
use crate::convert;
use crate::error::{Failure, HostError};
use crate::registry::{Key, Terms};
use crate::reply::{Reply, Used};
use crate::request::{Claims, Handle, HandleRequest, HandleTerms, Import, NONCE_BYTES};
use crate::router::{Selected, Wanted};

pub(super) async fn handle(
    job: &Job<'_>,
    name: &KeyName,
    request: &HandleRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let key = match request {
        HandleRequest::Find => named_key(job, name)?,
        HandleRequest::Create(terms) => create(job, name, terms, used).await?,
        HandleRequest::Import(terms, import) => {
            self::import(job, name, terms, import, used).await?
        }
        HandleRequest::Move(from) => rename(job, from, name).await?,
    };
    if let Some(version) = key.active() {
        used.note(version);
    }
    Ok(Reply::Handle(issue(job, &key, None)?))
}

async fn create(
    job: &Job<'_>,
    name: &KeyName,
    asked: &HandleTerms,
    used: &mut Used,
) -> Result<Arc<Key>, HostError> {
    let _change = job.host.router.changes().of(name).await;
    let before = settle(job, name).await?;
    if before.as_ref().is_some_and(|key| key.exists()) {
        return Err(Failure::Conflict("a key of this name exists".into()).into());
    }
    let (terms, selected) = choose(job, asked, false)?;
    let material = Material::Generated;
    let new = NewVersion { name, before, terms, selected, material, fallback: false };
    make_version(job, new, used).await
}

/// New first, then swap: the bytes become a new version, and what was made with the old one still
/// opens.
async fn import(
    job: &Job<'_>,
    name: &KeyName,
    asked: &HandleTerms,
    import: &Import,
    used: &mut Used,
) -> Result<Arc<Key>, HostError> {
    check_length(asked, import)?;
    let _change = job.host.router.changes().of(name).await;
    let before = settle(job, name).await?;
    let living = before.as_ref().filter(|key| key.exists());
    let (terms, selected) = match living {
        Some(_) if !import.replace => {
            return Err(Failure::Conflict("a key of this name exists".into()).into());
        }
        Some(key) => {
            if !asked.kinds.iter().any(|(usage, _)| *usage == key.terms.usage) {
                let is = key.terms.usage.as_str();
                return Err(Failure::WrongUsage { is, asked: "import" }.into());
            }
            let terms = key.terms.clone();
            let wanted = Wanted { import: true, ..Wanted::new(&terms) };
            let selected = job.host.router.select(&wanted)?;
            (terms, selected)
        }
        None => choose(job, asked, true)?,
    };
    let material = Material::Imported(import.key.expose());
    let new = NewVersion { name, before, terms, selected, material, fallback: false };
    make_version(job, new, used).await
}

/// Refuses bytes of a length that no key of the usage has, before anything is announced.
fn check_length(asked: &HandleTerms, import: &Import) -> Result<(), HostError> {
    for (usage, _) in &asked.kinds {
        check_import_length(convert::usage(*usage), &import.key)
            .map_err(|error| Failure::Decode(Fault::new(Code::Invalid, error.detail)))?;
    }
    Ok(())
}

/// The first of what was asked for that a provider can hold.
fn choose(
    job: &Job<'_>,
    asked: &HandleTerms,
    import: bool,
) -> Result<(Terms, Selected), HostError> {
    let mut refused = None;
    for (usage, algorithm) in &asked.kinds {
        let terms = Terms {
            usage: *usage,
            algorithm: *algorithm,
            floor: asked.floor,
            fallback: false,
            state: None,
            providers: asked.providers.clone(),
        };
        let selected = job.host.router.select(&Wanted { import, ..Wanted::new(&terms) });
        match selected {
            Ok(selected) => return Ok((terms, selected)),
            Err(error) if matches!(error.failure, Failure::NoProvider(_)) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    let nothing = || HostError::from(Fault::new(Code::Invalid, "nothing was asked for"));
    Err(refused.unwrap_or_else(nothing))
}

/// Gives a key another name. A key that has that name is destroyed first, on its device too.
async fn rename(job: &Job<'_>, from: &KeyName, to: &KeyName) -> Result<Arc<Key>, HostError> {
    // Locked in the order of the names, so that two renames do not wait for each other.
    let (first, second) = if from < to { (from, to) } else { (to, from) };
    let _first = job.host.router.changes().of(first).await;
    let _second = job.host.router.changes().of(second).await;
    let absent = || HostError::from(Failure::NotFound("there is no such key")).of(from);
    let source = settle(job, from).await?.filter(|key| key.exists()).ok_or_else(absent)?;
    // The envelopes of a key name it and its versions, and would not open any more.
    match source.terms.usage {
        Usage::Sign | Usage::Rsa => {}
        usage @ (Usage::Seal | Usage::Mac | Usage::Aead) => {
            return Err(Failure::WrongUsage { is: usage.as_str(), asked: "move" }.into());
        }
    }
    // What cannot be renamed must not take the place of another.
    job.host.registry.check_open(&source).map_err(Failure::Registry)?;
    let mut replaced = settle(job, to).await?;
    if let Some(living) = replaced.as_ref().filter(|key| key.exists()) {
        destroy_all(job, living).await?;
        replaced = job.host.registry.key(to);
    }
    let name = to.clone();
    in_registry(job, move |registry| {
        registry.rename(&source, &name, replaced.as_ref())?;
        Ok(registry.key(&name))
    })
    .await?
    .ok_or_else(|| Failure::Bug("a renamed key is not there").into())
}

/// Makes a handle of a key, or of what is derived from it.
pub(super) fn issue(
    job: &Job<'_>,
    key: &Key,
    derived_by: Option<Vec<u8>>,
) -> Result<Handle, HostError> {
    let (Some(generation), Some(active)) = (key.generation(), key.active()) else {
        return Err(Failure::NotFound("there is no such key").into());
    };
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).map_err(|_unspecified| Failure::Bug("no randomness"))?;
    let claims = Claims {
        key: key.name.clone(),
        generation,
        uid: job.authorized.principal().uid(),
        provider: active.provider.clone(),
        derived_by,
        nonce,
    };
    let mac = job.host.registry.mac_handle(&claims.provider, &bytes_of(&claims)?);
    let mac = mac.ok_or_else(|| not_open(&claims.provider))?;
    Ok(Handle { claims, mac })
}

/// Finds the key that a handle is of.
///
/// # Errors
/// `InvalidHandle`: this host did not make it, or cannot have, or the key is another one by now.
/// `Denied`: somebody else asked for it. `NotFound`: the key is gone. `Unavailable`: the device that
/// authenticates it is.
pub(super) fn key_of(job: &Job<'_>, handle: &Handle) -> Result<Arc<Key>, HostError> {
    let Handle { claims, mac } = handle;
    let bytes = bytes_of(claims)?;
    match job.host.registry.handle_verifies(&claims.provider, &bytes, mac) {
        Some(true) => {}
        Some(false) => return Err(Failure::InvalidHandle.into()),
        // Anybody can claim a provider of any name.
        None if job.host.router.provider(&claims.provider).is_err() => {
            return Err(Failure::InvalidHandle.into());
        }
        None => return Err(not_open(&claims.provider)),
    }
    if claims.uid != job.authorized.principal().uid() {
        return Err(Failure::Denied(daemon::rules::Denied).into());
    }
    let key = named_key(job, &claims.key)?;
    if key.generation() != Some(claims.generation) {
        return Err(Failure::InvalidHandle.into());
    }
    Ok(key)
}

fn bytes_of(claims: &Claims) -> Result<Vec<u8>, HostError> {
    Ok(claims.to_bytes().ok_or(Failure::InvalidHandle)?)
}

fn not_open(provider: &ProviderName) -> HostError {
    let closed = format!("provider {provider}, which authenticates the handle, is not open");
    HostError::from(Failure::Unavailable(closed)).at(provider)
}

//! What each request does, one file an operation. An operation works on plain data: it reads the
//! registry, calls providers through the router, and returns a reply.

mod aead;
mod audit;
mod counter;
mod create;
mod destroy;
mod envelope;
mod first_use;
mod handle;
mod held;
mod import;
mod list;
mod mac;
mod random;
mod rewrap;
mod rotate;
mod rsa;
mod seal;
mod sign;
mod status;
mod unseal;
mod version;

use std::sync::Arc;

use daemon::rules::Authorized;
use wire::api::Usage;
use wire::name::KeyName;

use crate::error::{Failure, HostError};
use crate::pipeline::Host;
use crate::plugin::Account;
use crate::registry::{Key, Version};
use crate::reply::{Batch, Reply, Used};
use crate::request::Request;

pub(crate) use envelope::unwrap_envelope;

/// Does one item, or each of a batch in order, and wipes what keys left on the stack.
macro_rules! each {
    ($items:expr, $used:ident, $item:ident => $perform:expr) => {{
        let done = match $items {
            OneOrItems::One($item) => $perform.map(Batch::One),
            OneOrItems::Items(items) => {
                let mut results = Vec::with_capacity(items.len());
                for $item in items {
                    results.push($perform);
                }
                Ok(Batch::of(results, $used))
            }
        };
        wire::burn_stack();
        done
    }};
}
use each;

/// A request that was authorized, on its way through its operation.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) host: &'a Host,
    /// The proof that it may be done.
    pub(crate) authorized: Authorized<'a>,
    /// The other key that it is about, if there is one: the name that a key had before.
    pub(crate) from: Option<&'a KeyName>,
    /// The request id, as in the reply and the audit.
    pub(crate) request_id: &'a str,
}

impl Job<'_> {
    /// On whose account devices are asked.
    fn account(&self) -> Account {
        Account::User(self.authorized.principal().uid())
    }
}

/// Does what was asked. What was really used is noted in `used`, also when it fails.
pub(crate) async fn perform(
    job: &Job<'_>,
    request: &Request,
    used: &mut Used,
) -> Result<Reply, HostError> {
    match request {
        Request::Create(key, terms) => create::create(job, key, terms, used).await,
        Request::Import(key, import) => import::import(job, key, import, used).await,
        Request::Show(key) => list::show(job, key),
        Request::List => Ok(list::list(job)),
        Request::Rotate(key) => rotate::rotate(job, key, used).await,
        Request::Destroy(key, confirm) => destroy::destroy(job, key, confirm.as_ref()).await,
        Request::Seal(key, items) => seal::seal(job, key, items, used).await,
        Request::Unseal(key, items) => unseal::unseal(job, key, items, used).await,
        Request::Rewrap(key, items) => rewrap::rewrap(job, key, items, used).await,
        Request::Mac(key, items) => mac::mac(job, key, items, used).await,
        Request::Verify(key, verify) => mac::verify(job, key, verify, used).await,
        Request::Sign(key, sign) => sign::sign(job, key, sign, used).await,
        Request::Public(key, version) => sign::public(job, key, *version, used).await,
        Request::Counter(counter, request) => counter::perform(job, counter, request, used).await,
        Request::ListCounters => Ok(counter::list(job)),
        Request::Handle(key, request) => handle::handle(job, key, request, used).await,
        Request::Held(handle, request) => held::held(job, handle, request, used).await,
        Request::Random(random) => random::random(job, random, used).await,
        Request::Status => Ok(status::status(job)),
        Request::Providers => Ok(status::providers(job)),
        Request::Retry(provider) => status::retry(job, provider, used).await,
        Request::VerifyAudit(request) => audit::verify(job, request),
        Request::Metrics => Ok(Reply::Metrics(job.host.metrics.text(&job.host.router))),
    }
}

/// Finds a key that still lives and is for this usage.
///
/// # Errors
/// `NotFound`, `WrongUsage`.
fn living_key(
    job: &Job<'_>,
    name: &KeyName,
    usage: Usage,
    asked: &'static str,
) -> Result<Arc<Key>, HostError> {
    let key = named_key(job, name)?;
    usable(&key, usage, asked)?;
    Ok(key)
}

/// Finds a key that still lives.
///
/// # Errors
/// `NotFound`.
fn named_key(job: &Job<'_>, name: &KeyName) -> Result<Arc<Key>, HostError> {
    let key = job.host.registry.key(name).filter(|key| key.exists());
    Ok(key.ok_or(Failure::NotFound("there is no such key"))?)
}

/// The key, when it is for this usage.
///
/// # Errors
/// `WrongUsage`.
fn usable<'a>(key: &'a Key, usage: Usage, asked: &'static str) -> Result<&'a Key, HostError> {
    if key.terms.usage == usage {
        return Ok(key);
    }
    Err(Failure::WrongUsage { is: key.terms.usage.as_str(), asked }.into())
}

/// The version asked for, or the active one.
///
/// # Errors
/// `NotFound`.
fn version_of(key: &Key, number: Option<u32>) -> Result<&Version, HostError> {
    let version = number.map_or_else(|| key.active(), |number| key.live(number));
    Ok(version.ok_or(Failure::NotFound("there is no such key version"))?)
}

impl<T> Batch<T> {
    /// The results of a batch; their number is noted.
    fn of(results: Vec<Result<T, HostError>>, used: &mut Used) -> Self {
        let failed = results.iter().filter(|result| result.is_err()).count();
        used.items = Some((results.len(), failed));
        Self::Items(results)
    }
}

impl Used {
    /// Notes the version that is about to be used.
    fn note(&mut self, version: &Version) {
        self.version = Some(version.number);
        self.provider = Some(version.provider.clone());
        self.protection = Some(version.protection);
        self.origin = Some(version.origin);
        self.fallback = version.fallback;
    }
}

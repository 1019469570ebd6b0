//! The operations, once their caller is authorized.

use std::sync::Arc;

use daemon::peer::Principal;
use daemon::rules::Authorized;
use wire::api::{ItemResult, SecretBase64};
use wire::audit::Counts;
use wire::code::{Code, Fault};
use wire::secrets::{
    Author, BatchReply, BatchRequest, Change, Date, DeleteReply, GetItem, GetReply, ImportReply,
    ListReply, PutReply, PutRequest, SecretName, SecretRecord, SecretStatus, SecretVersion,
    StoreStatus, VersionsReply,
};
use zeroize::Zeroizing;

use super::error::ServeError;
use super::line::{Manager, Used};
use super::request::{GET, LIST, PUT, Reply, Request, Watch};
use crate::chain::{Freshness, Got};
use crate::error::GetError;
use crate::legacy::{self, ExportFault};
use crate::secret::{Draft, Metadata, Query, Value};

/// Most bytes of values in one reply, of a batch or an export, so that no request fills the memory.
const VALUES_MAX_BYTES: usize = wire::limits::BODY_MAX_BYTES;

/// Does what the request says.
pub(super) async fn perform(
    manager: &Arc<Manager>,
    authorized: &Authorized<'_>,
    request: Request,
    used: &mut Used,
    request_id: &str,
) -> Result<Reply, ServeError> {
    let principal = authorized.principal();
    Ok(match request {
        Request::Get { item, fresh } => {
            Reply::Got(Box::new(get(manager, item, freshness(fresh), used).await?))
        }
        Request::Put(name, request) => {
            Reply::Put(Box::new(put(manager, principal, name, request, used).await?))
        }
        Request::Import(drafts) => Reply::Imported(import(manager, principal, drafts, used).await?),
        Request::Export(prefix) => {
            Reply::Exported(export(manager, principal, &prefix, used).await?)
        }
        Request::Delete(name, version) => {
            Reply::Deleted(delete(manager, principal, name, version, used).await?)
        }
        Request::Versions(name) => Reply::Versions(versions(manager, &name).await?),
        Request::List(prefix) => Reply::List(list(manager, principal, &prefix).await?),
        Request::Batch(request) => {
            Reply::Batch(batch(manager, principal, request, used, request_id).await)
        }
        Request::Watch => Reply::Watch(watch(manager, principal)),
        Request::Status => Reply::Status(status(manager).await?),
        Request::Metrics => Reply::Metrics(manager.metrics.text()),
    })
}

const fn freshness(fresh: bool) -> Freshness {
    if fresh { Freshness::Forced } else { Freshness::Stored }
}

fn query(item: GetItem, now: Date) -> Query {
    let GetItem { name, version, at } = item;
    Query { name, version, at: Some(at.unwrap_or(now)) }
}

async fn get(
    manager: &Manager,
    item: GetItem,
    freshness: Freshness,
    used: &mut Used,
) -> Result<GetReply, ServeError> {
    let now = manager.chain.now();
    used.version = item.version.as_ref().map(ToString::to_string);
    let got = manager.chain.get(&query(item, now.date), freshness).await?;
    used.version = Some(got.secret.metadata.version.to_string());
    used.from = Some(got.from.clone());
    used.protection = got.protection;
    got_reply(got, now.behind)
}

fn got_reply(got: Got, clock_behind: bool) -> Result<GetReply, ServeError> {
    let Got { secret, from, protection } = got;
    let record = record(&secret.metadata);
    let value = SecretBase64::new(secret.value.into_bytes())?;
    Ok(GetReply { secret: record, value, from, protection, clock_behind })
}

async fn put(
    manager: &Manager,
    principal: &Principal,
    name: SecretName,
    request: PutRequest,
    used: &mut Used,
) -> Result<PutReply, ServeError> {
    let PutRequest { value, version, activation, expiration, content_type, tags } = request;
    let draft = Draft {
        activation: activation.unwrap_or(Date::MIN),
        expiration: expiration.unwrap_or(Date::NEVER),
        content_type,
        tags,
        ..Draft::new(name, version, Value::new(value.into_bytes())?)
    };
    used.version = Some(draft.stored_version().to_string());
    let stored = manager.chain.put(draft, &Author::user(principal.uid())).await?;
    Ok(PutReply { secret: record(&stored) })
}

/// All or, when one of them may not be stored by this caller, nothing.
async fn import(
    manager: &Manager,
    principal: &Principal,
    drafts: Vec<Draft>,
    used: &mut Used,
) -> Result<ImportReply, ServeError> {
    let rules = manager.rules.current();
    for draft in &drafts {
        let _allowed = rules.authorize(principal, PUT, Some(draft.name.as_str()))?;
    }
    used.items = Some(Counts { total: count(drafts.len()), failed: 0 });
    let stored = manager.chain.put_many(drafts, &Author::user(principal.uid())).await?;
    Ok(ImportReply { secrets: stored.iter().map(|metadata| record(metadata)).collect() })
}

/// Every version of what the caller may read, active or not; all of it or nothing.
async fn export(
    manager: &Manager,
    principal: &Principal,
    prefix: &str,
    used: &mut Used,
) -> Result<Zeroizing<Vec<u8>>, ServeError> {
    let rules = manager.rules.current();
    let all = manager.chain.list(prefix).await?;
    let allowed = all.iter().filter(|secret| rules.visible(principal, GET, secret.name.as_str()));
    let query = |metadata: &Arc<Metadata>| Query {
        name: metadata.name.clone(),
        version: Some(metadata.version.clone()),
        at: None,
    };
    let queries: Vec<_> = allowed.map(query).collect();
    used.items = Some(Counts { total: count(queries.len()), failed: 0 });
    let mut secrets = Vec::with_capacity(queries.len());
    let found = manager.chain.get_many_within(&queries, Freshness::Stored, VALUES_MAX_BYTES);
    for found in found.await {
        secrets.push(found?.secret);
    }
    legacy::export(&secrets).map_err(|fault| match fault {
        ExportFault::NotText { .. } => Fault::new(Code::Unsupported, fault.to_string()).into(),
        ExportFault::Json(_) => ServeError::Bug("an export could not be written"),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

async fn delete(
    manager: &Manager,
    principal: &Principal,
    name: SecretName,
    version: Option<SecretVersion>,
    used: &mut Used,
) -> Result<DeleteReply, ServeError> {
    used.version = version.as_ref().map(ToString::to_string);
    let by = Author::user(principal.uid());
    let erased = manager.chain.delete(&name, version.as_ref(), &by).await?;
    Ok(DeleteReply { name, erased })
}

async fn versions(manager: &Manager, name: &SecretName) -> Result<VersionsReply, ServeError> {
    let versions = manager.chain.versions(name).await?;
    if versions.is_empty() {
        return Err(GetError::NotFound.into());
    }
    Ok(VersionsReply { versions: versions.iter().map(|metadata| record(metadata)).collect() })
}

/// Only what the caller may know of.
async fn list(
    manager: &Manager,
    principal: &Principal,
    prefix: &str,
) -> Result<ListReply, ServeError> {
    let rules = manager.rules.current();
    let all = manager.chain.list(prefix).await?;
    let visible = all.iter().filter(|secret| rules.visible(principal, LIST, secret.name.as_str()));
    Ok(ListReply { secrets: visible.map(|metadata| record(metadata)).collect() })
}

/// Each item by the rules for its own name; the source is asked once for all that is missing.
async fn batch(
    manager: &Manager,
    principal: &Principal,
    request: BatchRequest,
    used: &mut Used,
    request_id: &str,
) -> BatchReply {
    let rules = manager.rules.current();
    let now = manager.chain.now();
    let allowed: Vec<_> = request
        .items
        .iter()
        .map(|item| rules.authorize(principal, GET, Some(item.name.as_str())).map(drop))
        .collect();
    let queries: Vec<_> = request
        .items
        .into_iter()
        .zip(&allowed)
        .filter(|(_, allowed)| allowed.is_ok())
        .map(|(item, _)| query(item, now.date))
        .collect();
    let freshness = freshness(request.force.unwrap_or_default());
    let found = manager.chain.get_many_within(&queries, freshness, VALUES_MAX_BYTES);
    let mut found = found.await.into_iter();
    let mut failed = 0_u32;
    let mut items = Vec::with_capacity(allowed.len());
    for allowed in allowed {
        let got = match allowed {
            Err(denied) => Err(ServeError::from(denied)),
            Ok(()) => match found.next() {
                Some(Ok(got)) => got_reply(got, now.behind),
                Some(Err(error)) => Err(error.into()),
                None => Err(ServeError::Bug("a batch came back short")),
            },
        };
        items.push(match got {
            Ok(reply) => ItemResult::Done(reply),
            Err(error) => {
                failed = failed.saturating_add(1);
                ItemResult::Failed(error.problem(request_id))
            }
        });
    }
    used.items = Some(Counts { total: count(items.len()), failed });
    BatchReply { items }
}

fn watch(manager: &Manager, principal: &Principal) -> Watch {
    let (rules, principal) = (Arc::clone(&manager.rules), principal.clone());
    let may_know = move |change: &Change| match &change.name {
        Some(name) => rules.current().visible(&principal, LIST, name.as_str()),
        // That everything was erased names nothing.
        None => true,
    };
    Watch { changes: manager.chain.watch(), may_know: Arc::new(may_know) }
}

async fn status(manager: &Manager) -> Result<SecretStatus, ServeError> {
    let mut stores = Vec::new();
    for store in manager.chain.stores() {
        stores.push(StoreStatus {
            label: store.label().to_owned(),
            secrets: store.list().await?.len(),
            key: store.key().map(ToString::to_string),
        });
    }
    Ok(SecretStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: manager.started_at.clone(),
        stores,
        source: manager.chain.source().map(str::to_owned),
        clock_behind: manager.chain.now().behind,
    })
}

pub(super) fn record(metadata: &Metadata) -> SecretRecord {
    SecretRecord {
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        activation: metadata.activation,
        expiration: metadata.expiration,
        content_type: metadata.content_type.clone(),
        tags: metadata.tags.clone(),
        created_at: metadata.created_at,
        created_by: metadata.created_by.clone(),
        updated_at: metadata.updated_at,
        updated_by: metadata.updated_by.clone(),
    }
}

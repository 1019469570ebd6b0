//! What can be asked of the secret manager, and what comes back.

use std::sync::Arc;

use daemon::audit::Exempt;
use tokio::sync::broadcast;
use wire::secrets::{
    BatchReply, BatchRequest, Change, DeleteReply, GetItem, GetReply, ImportReply, ListReply,
    PutReply, PutRequest, SecretName, SecretStatus, SecretVersion, VersionsReply,
};
use zeroize::Zeroizing;

use super::error::ServeError;
use crate::secret::Draft;

/// One request.
#[derive(Debug)]
pub(crate) enum Request {
    /// Read a secret; asked of the source first when `fresh`.
    Get { item: GetItem, fresh: bool },
    /// Store a version.
    Put(SecretName, PutRequest),
    /// Erase a version, or all of them.
    Delete(SecretName, Option<SecretVersion>),
    /// Store what stood in a file of edge-secrets.
    Import(Vec<Draft>),
    /// Read every secret whose name begins so, as a file of edge-secrets.
    Export(String),
    /// What is known of the versions of a secret.
    Versions(SecretName),
    /// What is known of every secret whose name begins so.
    List(String),
    /// Read several secrets.
    Batch(BatchRequest),
    /// Be told of changes.
    Watch,
    /// Describe the daemon.
    Status,
    /// Count what was done.
    Metrics,
}

/// What could not be read as a request, as far as it was understood.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) operation: Option<&'static str>,
    pub(crate) name: Option<SecretName>,
    pub(crate) error: ServeError,
}

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Reply {
    Got(Box<GetReply>),
    Put(Box<PutReply>),
    Imported(ImportReply),
    Exported(Zeroizing<Vec<u8>>),
    Deleted(DeleteReply),
    Versions(VersionsReply),
    List(ListReply),
    Batch(BatchReply),
    Watch(Watch),
    Status(SecretStatus),
    Metrics(String),
}

/// The changes from now on that a caller may know of.
pub(crate) struct Watch {
    pub(crate) changes: broadcast::Receiver<Change>,
    /// Whether the caller may know of a change, by the rules in force when it happens.
    pub(crate) may_know: Arc<dyn Fn(&Change) -> bool + Send + Sync>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// The operations, by their names in rules and in the audit.
pub(crate) const GET: &str = "get";
pub(crate) const PUT: &str = "put";
pub(crate) const DELETE: &str = "delete";
pub(crate) const LIST: &str = "list";
pub(crate) const STATUS: &str = "status";
pub(crate) const METRICS: &str = "metrics";

impl Request {
    pub(crate) const fn operation(&self) -> &'static str {
        match self {
            Self::Get { .. } | Self::Batch(_) | Self::Export(_) => GET,
            Self::Put(..) | Self::Import(_) => PUT,
            Self::Delete(..) => DELETE,
            Self::Versions(_) | Self::List(_) | Self::Watch => LIST,
            Self::Status => STATUS,
            Self::Metrics => METRICS,
        }
    }

    /// The one secret that it is about.
    pub(crate) const fn name(&self) -> Option<&SecretName> {
        match self {
            Self::Get { item, .. } => Some(&item.name),
            Self::Put(name, _) | Self::Delete(name, _) | Self::Versions(name) => Some(name),
            Self::Import(_)
            | Self::Export(_)
            | Self::List(_)
            | Self::Batch(_)
            | Self::Watch
            | Self::Status
            | Self::Metrics => None,
        }
    }

    /// Whether it is recorded before it is done, too.
    pub(crate) const fn is_change(&self) -> bool {
        match self {
            Self::Put(..) | Self::Import(_) | Self::Delete(..) => true,
            Self::Get { .. }
            | Self::Export(_)
            | Self::Versions(_)
            | Self::List(_)
            | Self::Batch(_)
            | Self::Watch
            | Self::Status
            | Self::Metrics => false,
        }
    }

    /// Why a request that succeeded needs no record.
    pub(crate) const fn exempt_from_audit(&self) -> Option<Exempt> {
        match self {
            Self::Status => Some(Exempt::Status),
            Self::Metrics => Some(Exempt::Metrics),
            Self::Get { .. }
            | Self::Import(_)
            | Self::Export(_)
            | Self::Put(..)
            | Self::Delete(..)
            | Self::Versions(_)
            | Self::List(_)
            | Self::Batch(_)
            | Self::Watch => None,
        }
    }
}

//! What clients and the secret manager share: names, versions, dates and limits of secrets, and
//! the requests and replies of its socket. Normative in `docs/secrets.md`.
//!
//! # Secrets
//! Values are held by [`SecretBase64`](crate::api::SecretBase64), wiped when dropped. Names,
//! dates, content types and tags are not secret.

mod date;
mod reply;
mod request;
mod tags;
mod text;

pub use self::date::{Date, DateError};
pub use self::reply::{
    BatchReply, Change, ChangeKind, DeleteReply, GetReply, ImportReply, ListReply, PutReply,
    SecretRecord, SecretStatus, StoreStatus, VersionsReply,
};
pub use self::request::{BatchRequest, GetItem, PutRequest};
pub use self::tags::{TAG_NAME_MAX_BYTES, TAG_VALUE_MAX_BYTES, TAGS_MAX, Tags};
pub use self::text::{
    AUTHOR_MAX_BYTES, Author, CONTENT_TYPE_MAX_BYTES, ContentType, SECRET_NAME_MAX_BYTES,
    SecretName, SecretVersion, TextError, VERSION_MAX_BYTES,
};

use crate::limits::PLAINTEXT_MAX_BYTES;

/// Longest value of a secret, in bytes: the longest plaintext of one envelope.
pub const SECRET_VALUE_MAX_BYTES: usize = PLAINTEXT_MAX_BYTES;

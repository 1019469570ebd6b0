//! Requests and replies of the native HTTP API, strict on the way in: an unknown or duplicate
//! field, an array for an object, base64 outside the standard alphabet or without its padding is
//! refused, and a value over its limit cannot be held by its type. Replies may grow fields.
//!
//! # Secrets
//! Plaintexts, keys and messages are decoded straight from the body into memory that is wiped
//! when dropped. Where JSON escapes stand inside such a string, the JSON reader makes one copy
//! of it that only a wiping allocator wipes.

mod audit;
mod base64;
mod batch;
mod counter;
mod decode;
mod public;
mod reply;
mod request;
mod status;
mod types;

pub use self::audit::{CheckpointResult, Verdict, VerifyAuditReply, VerifyAuditRequest};
pub use self::base64::{Base64Array, Base64Bytes, SecretBase64};
pub use self::batch::{ItemResult, OneOrItems, OneOrResults};
pub use self::counter::{
    CounterKind, CounterList, CounterRecord, CounterReply, CreateCounterRequest,
    DestroyCounterReply, IncrementRequest,
};
pub(crate) use self::decode::Strict;
pub use self::decode::{Request, decode};
pub use self::public::{Jwk, p256_pem};
pub use self::reply::{
    DestroyReply, KeyList, KeyRecord, MacReply, PublicReply, RandomReply, RewrapReply, SealReply,
    SignReply, UnsealReply, VerifyReply, VersionRecord,
};
pub use self::request::{
    CreateRequest, ImportRequest, MacItem, PcrSelection, RandomRequest, RewrapItem, RotateRequest,
    SealItem, SignRequest, UnsealItem, VerifyRequest,
};
pub use self::status::{
    BreakerCause, BreakerState, BreakerStatus, Confined, ConfinedLevel, LockoutStatus,
    ProviderList, ProviderState, ProviderStatus, Status,
};
pub use self::types::{Algorithm, Origin, Protection, SealedText, Usage, VersionState};

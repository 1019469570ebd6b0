//! Named, versioned, dated secrets: a chain of stores, sealed by the host, over a remote source.
//!
//! [`Chain`] is the whole library to its users: get, put, delete, list, watch. A chain is built of
//! one base ([`FileStore`] or [`MemoryStore`]), any number of caches in front of it, and at most
//! one [`Source`]. Keys and cryptography are the host's: stores hand values to a [`Sealer`] with
//! everything else about the secret as encryption context. `docs/secrets.md` is normative.
//!
//! # Secrets
//! Values are held by [`Value`], wiped when dropped and without `Debug`. Names, versions, dates,
//! content types, tags and authors are not secret; they are not logged all the same.

mod chain;
mod clock;
mod context;
mod counter;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod pending;
mod sealer;
mod secret;
mod source;
mod store;
#[cfg(test)]
mod testing;

pub mod legacy;
pub mod lifecycle;
pub mod serve;

pub use chain::{Chain, ChainBuilder, Freshness, Got, NEGATIVE_NAMES_MAX};
pub use clock::{Now, StoreClock};
pub use counter::{Counter, CounterError, HostCounter};
pub use error::{GetError, OpenError, PutError, SealError, SourceError, StoreError};
pub use pending::Pending;
pub use sealer::{HostSealer, Opened, Sealed, Sealer};
pub use secret::{Draft, Metadata, Query, Secret, Stamp, Standing, Tombstone, Value, select};
pub use source::directory::{DELIVERIES_MAX, DELIVERY_MAX_BYTES, DirectoryFault, DirectorySource};
pub use source::mqtt::{
    Broker, Credentials, CredentialsError, DELIVERIES_WAITING_MAX, DEVICE_ID_MAX_BYTES, Draw,
    HUB_NAME_MAX_BYTES, LinkState, MESSAGE_SECRETS_MAX, MqttOptions, MqttSource, NoPassword,
    PASSWORD_MAX_BYTES, PAYLOAD_MAX_BYTES, PasswordFile, Policy, Profile, ProfileError, Push,
    REPORT_SECRETS_MAX, REQUEST_ID_MAX_BYTES, Reported, Ticket, draw,
};
pub use source::{Delivery, Removal, Source, Wanted};
pub use store::file::{Accept, FileStore, FileStoreOptions, SECRETS_MAX};
pub use store::memory::{MemoryBounds, MemoryStore};
pub use store::{Claim, Erasure, Known, Read, Store, TOMBSTONES_MAX, Written};

//! The software provider: keys wrapped under a root key, computed with aws-lc-rs.
//!
//! It is the reference for provider authors: `lib` is the export line, `provider` delegates each
//! verb, `blob` is the stored form of a key, `rootkey` is all that the "device" holds.

mod blob;
mod provider;
mod rootkey;

pub use provider::SoftProvider;

provider_core::export_provider!(SoftProvider);

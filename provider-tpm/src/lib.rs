//! TPM 2.0 crypto provider for Sealhost.
//!
//! Keys are children of the TPM's storage root key and exist outside of the TPM only wrapped by
//! it. `provider` delegates each verb; `device` is the one module that speaks to the TPM (by
//! tss-esapi); the rest is plain data: `config`, `tcti` and `range` (settings), `needs` (what they
//! ask of the machine), `info` (what the provider says of itself), `blob` (the stored form of a
//! key), `counter` (that of a counter), `binding` (PCR selections and their policy), `error`
//! (response codes), `vendor` (who makes which TPM). `openssl` is the only file with unsafe code.
//!
//! One kind of key is not used inside the TPM: an aead key is wrapped by it, and computes in this
//! process's memory (`device/aead.rs`).

mod binding;
mod blob;
mod config;
mod counter;
mod device;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod info;
mod needs;
mod openssl;
mod provider;
mod range;
mod tcti;
mod vendor;

pub use provider::TpmProvider;

provider_core::export_provider!(TpmProvider);

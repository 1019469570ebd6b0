//! The PKCS#11 provider: keys as objects of one token (an HSM, a smart card, SoftHSM, NSS).
//!
//! From the outside in: `provider` has the verbs, `locate` finds a key's object and makes it answer,
//! `create` makes objects and `object` finds and destroys them; `mechanism`, `aead` and `rsa` compute
//! with them, `wrapped` where the module cannot, and `abilities` finds out what it can. `link` keeps
//! sessions and login and connects again when they are lost, `module` holds the one module of this
//! process. `quirks` and `needs` are the only places that know a module by name.

mod abilities;
mod aead;
mod blob;
mod bytes;
mod cache;
mod config;
mod create;
mod describe;
mod desk;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod identity;
mod import;
mod init_args;
mod link;
mod locate;
mod make;
mod marker;
mod mechanism;
mod module;
mod module_file;
mod needs;
mod object;
mod pin;
mod provider;
mod quirks;
mod rsa;
mod token;
mod uri;
mod wrapped;

pub use provider::Pkcs11Provider;

provider_core::export_provider!(Pkcs11Provider);

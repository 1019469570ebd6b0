//! The PKCS#11 provider: keys as objects of one token (an HSM, a smart card, SoftHSM, NSS).
//!
//! From the outside in: `provider` has the verbs, `object` makes and finds keys, `mechanism`
//! computes with them and finds out what the module can do, `link` keeps sessions and login and
//! connects again when they are lost, `module` holds the one module of this process. `quirks` and
//! `needs` are the only places that know a module by name.

mod blob;
mod config;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod import;
mod init_args;
mod link;
mod marker;
mod mechanism;
mod module;
mod module_file;
mod needs;
mod object;
mod pin;
mod provider;
mod quirks;
mod token;
mod uri;

pub use provider::Pkcs11Provider;

provider_core::export_provider!(Pkcs11Provider);

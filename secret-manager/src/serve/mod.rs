//! The daemon around the library: `secret-manager`, on a Unix socket of its own.
//!
//! A request walks one line, as in the host: decode, authenticate, authorize, perform, audit,
//! encode. [`line`] is the file to read first.

pub mod config;
mod credential;
mod error;
mod feed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! The bodies of the fuzz targets of the daemon.
    pub use super::config::fuzz::config_secrets;
    pub use super::credential::fuzz::credential_name;
    pub use super::http::fuzz::http_secrets;
}
mod http;
mod line;
mod ops;
mod request;
pub mod run;

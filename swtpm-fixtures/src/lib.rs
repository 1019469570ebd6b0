//! Private TPM emulators, tokens, brokers and systemds for tests and the demo.
//!
//! Each fixture has a state directory of its own and is removed with it when it is dropped, and
//! also when the program that made it panics or is killed. Nothing here is for production.

use std::io;

pub mod mosquitto;
pub mod nss;
mod ports;
pub mod process;
pub mod proxy;
pub mod softhsm;
pub mod swtpm;
pub mod systemd;

pub use mosquitto::Mosquitto;
pub use nss::Nss;
pub use proxy::{Aim, CommandCounter, Deed};
pub use softhsm::SoftHsm;
pub use swtpm::Swtpm;
pub use systemd::Systemd;

/// The result of a fixture call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a fixture could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is not installed; install the Debian package {package}")]
    Missing {
        /// The program's name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A system call failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// How it failed.
        source: io::Error,
    },
    /// A program ended or did not become ready; its own words follow.
    #[error("{program} did not start: {said}")]
    Start {
        /// The program's name.
        program: &'static str,
        /// What it wrote to its log.
        said: String,
    },
    /// No free pair of ports was found.
    #[error("no two free neighboring ports among {tried} tried")]
    Ports {
        /// How many pairs were tried.
        tried: u32,
    },
    /// The fixture is not in the state that the call needs.
    #[error("{0}")]
    State(&'static str),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

//! Loads a plugin library. The calls behind its table are in `provider_core::call`.
#![expect(unsafe_code, reason = "loading a library runs its code")]

use std::error::Error;
use std::path::Path;

use libloading::Library;
use provider_core::abi;
use provider_core::call::Plugin;

use super::check::{PluginFileError, check_file};

/// Checks and loads a plugin, for the life of this process.
///
/// # Errors
/// [`PluginFileError`].
pub(super) fn load(path: &Path, sha256: Option<[u8; 32]>) -> Result<Plugin, PluginFileError> {
    check_file(path, sha256)?;
    let unloadable = |error: libloading::Error| PluginFileError::Unloadable {
        path: path.to_owned(),
        reason: loaders_words(&error),
    };
    // SAFETY: loading runs the library's initializers; `check_file` made sure that only root or
    // the daemon's own user can have put them there.
    let library = unsafe { Library::new(path) }.map_err(unloadable)?;
    // A plugin is never unloaded: threads and thread storage of its own would outlive its code.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: a plugin's symbol of this name has this type (docs/abi.md section 2).
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL) }.map_err(|error| {
        PluginFileError::Foreign { path: path.to_owned(), reason: loaders_words(&error) }
    })?;
    // SAFETY: it is the entry of a library that is never unloaded.
    unsafe { Plugin::from_entry(*entry) }.map_err(|error| PluginFileError::Foreign {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// What the system's loader said; the error itself says only which of its functions failed.
fn loaders_words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

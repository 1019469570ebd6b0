//! The JSON files of edge-secrets, in both directions (`docs/secrets.md` section 10).
//!
//! `{name:{version:{Name,Version,Value,ActivationDate,ExpirationDate}}}`, fields in any order,
//! values as text. What edge-secrets sealed itself has to be opened by whoever calls this.

mod export;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod import;

pub use self::export::{ExportFault, export};
pub use self::import::{ImportFault, LEGACY_FILE_MAX_BYTES, import};

#[cfg(test)]
mod tests;

//! The audit log: one JSON object per line, each with the hash of the line before it. Specified
//! in `docs/audit.md`. Nothing here reads or writes files.

mod chain;
mod record;
mod verify;

pub use self::chain::{Chain, GENESIS};
pub use self::record::{Counts, Entry, Kind, Outcome, Principal, Record};
pub use self::verify::{LineFault, OpenIntent, Reason, Summary, Verifier};

//! The audit log: one JSON object per line, each with the hash of the line before it. Specified
//! in `docs/audit.md`. Nothing here reads or writes files.

mod chain;
mod checkpoint;
mod hex;
mod name;
mod record;
mod verify;

pub use self::chain::{Chain, GENESIS, line_hash, line_start, read_line};
pub use self::checkpoint::{CHECKPOINT_MACS_MAX, Checkpoint, CheckpointMac, Mark};
pub use self::hex::Hex32;
pub use self::name::{older_first, older_name};
pub use self::record::{Counts, Entry, Kind, Outcome, Principal, Record};
pub use self::verify::{LineFault, OpenIntent, Reason, Summary, Verifier};

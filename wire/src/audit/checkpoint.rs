//! What a checkpoint's MACs are over (`docs/audit.md` section 4). Keys are the host's matter.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};

use super::hex::Hex32;
use super::record::{Entry, Kind};
use crate::name::ProviderName;

/// Most MACs of one checkpoint, so that its line cannot be too long.
pub const CHECKPOINT_MACS_MAX: usize = 16;

const LABEL: &[u8] = b"sealhost/audit/checkpoint/1";

/// The MAC of a checkpoint by one provider instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMac {
    /// The instance.
    pub provider: ProviderName,
    /// HMAC-SHA256 over [`Checkpoint::mac_input`].
    pub mac: Hex32,
}

/// What devices vouch for: everything before this line, and what the line itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    /// Sequence of its line.
    pub sequence: u64,
    /// Hash of the line before.
    pub prev: Hex32,
    /// Generation of the key registry.
    pub generation: u64,
    /// When, as its line says.
    pub time: &'a str,
}

/// A checkpoint to be remembered outside the log: a log that no longer has this line was cut off
/// or written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Sequence of its line.
    pub sequence: u64,
    /// Hash of its line.
    pub hash: Hex32,
}

impl<'a> Checkpoint<'a> {
    /// The checkpoint that a line says, with its MACs; none where the line is no checkpoint.
    pub fn of(entry: &'a Entry) -> Option<(Self, &'a [CheckpointMac])> {
        if entry.kind != Kind::Checkpoint {
            return None;
        }
        let checkpoint = Self {
            sequence: entry.seq,
            prev: Hex32::parse(&entry.prev)?,
            generation: entry.generation,
            time: &entry.time,
        };
        let macs = entry.macs.as_deref().filter(|macs| are_proper(macs))?;
        Some((checkpoint, macs))
    }

    /// The bytes that every instance MACs.
    ///
    /// All but the last field have a fixed length, so that no two checkpoints have the same bytes.
    pub fn mac_input(&self, registry: &[u8; 16]) -> Vec<u8> {
        [
            LABEL,
            registry,
            &self.sequence.to_be_bytes(),
            &self.prev.0,
            &self.generation.to_be_bytes(),
            self.time.as_bytes(),
        ]
        .concat()
    }
}

/// At least one and not too many, in the order of their names, none twice.
fn are_proper(macs: &[CheckpointMac]) -> bool {
    (1..=CHECKPOINT_MACS_MAX).contains(&macs.len())
        && macs.is_sorted_by(|one, next| one.provider < next.provider)
}

//! What vouches for the audit besides its chain.

use std::fmt;

use wire::audit::{Checkpoint, CheckpointMac, Mark};

/// Vouches for the audit, and remembers elsewhere that it did. The audit has no keys of its own.
pub trait Witness: Send + Sync + fmt::Debug {
    /// The MACs of a checkpoint, in the order of the instances' names; empty while there is
    /// nobody to make one.
    ///
    /// # Limits
    /// `wire::audit::CHECKPOINT_MACS_MAX`. It is quick: every record waits for it.
    fn macs(&self, checkpoint: &Checkpoint<'_>) -> Vec<CheckpointMac>;

    /// Remembers for good that this checkpoint is in the audit; it is on the disk there.
    ///
    /// # Errors
    /// Why it cannot be; the one of before is remembered then.
    fn remember(&self, mark: Mark) -> Result<(), String>;
}

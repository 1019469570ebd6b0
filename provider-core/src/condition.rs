//! What a device says of failed authorizations, so that an operator sees a lockout coming.

use std::time::Duration;

use crate::key::number_table;

/// How near a device is to refusing every authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Standing {
    /// No failed authorization is remembered.
    Calm = 1,
    /// Some are.
    TriesUsed = 2,
    /// One more locks the device.
    LastTry = 3,
    /// It is locked: it refuses, right or wrong.
    Locked = 4,
}

number_table!(Standing: 1 => Calm, 2 => TriesUsed, 3 => LastTry, 4 => Locked);

/// A device's memory of failed authorizations, by whomever: a TPM's dictionary-attack state, a
/// token's counter of wrong PINs. What a device does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How near the lockout is.
    pub standing: Standing,
    /// Failed authorizations that are remembered.
    pub auth_failures: Option<u32>,
    /// How many of them lock the device.
    pub auth_failures_max: Option<u32>,
    /// At most how long, in whole seconds, until a lockout is over, or, while there is none, until
    /// one failure is forgotten. `None` also where time does not help.
    pub recovery: Option<Duration>,
    /// What the operator should know besides, printable, at most
    /// [`NOTES_BYTES`](crate::abi::NOTES_BYTES) - 1 bytes; a longer one is cut.
    pub notes: String,
}

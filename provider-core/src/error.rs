//! The ways in which a provider call fails: a closed list with fixed ABI numbers.

use crate::key::{DETAIL_MAX_BYTES, number_table};

/// What went wrong, in words that every device has. Numbers are those of `docs/abi.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorKind {
    /// An argument or setting is wrong.
    InvalidParameter = 1,
    /// The device cannot do it.
    Unsupported = 2,
    /// An input is past its limit.
    TooLarge = 3,
    /// The device has no such key.
    KeyNotFound = 4,
    /// The device already has a key of that id.
    KeyExists = 5,
    /// The machine is not in the state the key is bound to.
    StateMismatch = 6,
    /// Something was altered: a blob, an object, an answer.
    Integrity = 7,
    /// The device cannot take the call now and will soon.
    Busy = 8,
    /// The device refused our PIN or authorization.
    DeviceAuth = 9,
    /// The device is in dictionary-attack lockout.
    LockedOut = 10,
    /// The device does not answer or is not there.
    DeviceGone = 11,
    /// The device has no room (slots, sessions, memory).
    Exhausted = 12,
    /// A fault of the provider, or a status it does not know.
    Internal = 13,
    /// The provider panicked and is retired.
    Panicked = 14,
    /// The key or identity belongs to another device.
    WrongDevice = 15,
}

number_table!(ErrorKind:
    1 => InvalidParameter, 2 => Unsupported, 3 => TooLarge, 4 => KeyNotFound, 5 => KeyExists,
    6 => StateMismatch, 7 => Integrity, 8 => Busy, 9 => DeviceAuth, 10 => LockedOut,
    11 => DeviceGone, 12 => Exhausted, 13 => Internal, 14 => Panicked, 15 => WrongDevice);

/// A failed provider call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?}: {detail}")]
pub struct ProviderError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// More, in the device's words, for the operator's log; never secret, never sent to a client.
    pub detail: String,
}

/// The result of a provider call.
pub type Result<T> = std::result::Result<T, ProviderError>;

impl ProviderError {
    /// An error of `kind`. A detail past [`DETAIL_MAX_BYTES`] is cut at a character.
    #[must_use]
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > DETAIL_MAX_BYTES {
            let end = (0..=DETAIL_MAX_BYTES).rev().find(|&end| detail.is_char_boundary(end));
            detail.truncate(end.unwrap_or(0));
        }
        Self { kind, detail }
    }

    /// `InvalidParameter` with its reason.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, detail)
    }

    /// `TooLarge`, naming the thing, its length and the limit.
    #[must_use]
    pub fn over_limit(thing: &str, bytes: usize, limit: usize) -> Self {
        Self::new(ErrorKind::TooLarge, format!("{thing} of {bytes} bytes exceeds limit of {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_past_the_limit_is_cut_at_a_character() {
        let error = ProviderError::new(ErrorKind::Internal, "é".repeat(DETAIL_MAX_BYTES));
        assert_eq!(error.detail.len(), DETAIL_MAX_BYTES);
    }

    #[test]
    fn every_number_returns_to_its_kind() {
        for number in 1..=15 {
            let kind = ErrorKind::from_number(number).unwrap();
            assert_eq!(kind.number(), number);
            assert_eq!(kind as u32, number, "the header shows another");
        }
        assert_eq!(ErrorKind::from_number(0), None);
        assert_eq!(ErrorKind::from_number(16), None);
    }
}

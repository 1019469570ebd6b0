//! What an operator can do about a provider that is not open: the second half of its reason.

use provider_core::ErrorKind;

use super::opening::OpenError;
use crate::plugin::{CallError, Isolation};

/// One clause, where the error does not say by itself what to do.
pub(super) const fn advice(error: &OpenError, isolation: Isolation) -> Option<&'static str> {
    match error {
        OpenError::Call(CallError::Provider(error)) => Some(of_kind(error.kind)),
        OpenError::Call(CallError::Timeout(_)) => Some(match isolation {
            Isolation::Process => {
                "look after the device, or raise [provider.deadlines]; it is tried again by itself"
            }
            Isolation::InProcess => {
                "look after the device, or raise [provider.deadlines]; then restart the host"
            }
        }),
        OpenError::Call(CallError::Gone(_)) => Some(
            "look at the host's log, and tell the plugin's author when it is the plugin that \
             fails; it is tried again by itself",
        ),
        OpenError::Call(CallError::Busy) => Some("it is tried again by itself"),
        OpenError::Call(CallError::Plugin(_))
        | OpenError::PinWasRefused { .. }
        | OpenError::Secret(_)
        | OpenError::Registry(_)
        | OpenError::Contradiction
        | OpenError::Unexpected(_) => None,
    }
}

/// Whether it is how a module fails that cannot reach something.
pub(super) const fn may_be_of_the_sandbox(error: &OpenError) -> bool {
    match error {
        OpenError::Call(CallError::Provider(error)) => {
            matches!(error.kind, ErrorKind::DeviceGone | ErrorKind::Internal)
        }
        OpenError::Call(CallError::Gone(_) | CallError::Plugin(_)) => true,
        OpenError::Call(CallError::Busy | CallError::Timeout(_))
        | OpenError::PinWasRefused { .. }
        | OpenError::Secret(_)
        | OpenError::Registry(_)
        | OpenError::Contradiction
        | OpenError::Unexpected(_) => false,
    }
}

const fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidParameter | ErrorKind::Unsupported | ErrorKind::TooLarge => {
            "correct [provider.settings] and restart the host"
        }
        ErrorKind::DeviceAuth => {
            "correct its PIN or authorization, then run: sealctl provider retry"
        }
        ErrorKind::LockedOut => {
            "let the lockout pass, or end it with the device's own tools; it is tried again by itself"
        }
        ErrorKind::DeviceGone => {
            "connect the device, or correct [provider.settings]; it is tried again by itself"
        }
        ErrorKind::WrongDevice => {
            "if it was replaced, connect the recorded device again; if it was cleared or \
             initialized anew, its keys are lost: give it a provider of another name, and see \
             docs/providers.md"
        }
        ErrorKind::StateMismatch => {
            "bring the machine into the state that is wanted; it is tried again by itself"
        }
        ErrorKind::Integrity => "do not rely on this device or plugin; replace what was altered",
        ErrorKind::Busy | ErrorKind::Exhausted => {
            "end what else uses the device; it is tried again by itself"
        }
        ErrorKind::KeyNotFound
        | ErrorKind::KeyExists
        | ErrorKind::Internal
        | ErrorKind::Panicked => "look at the host's log, and tell the plugin's author",
    }
}

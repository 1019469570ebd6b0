//! How a request fails, by the stage that failed it, and the one table from there to the codes
//! that clients see.
//!
//! The log gets the whole chain; the client gets a code and one sentence, without device text.

use std::time::Duration;

use daemon::rules::Denied;
use provider_core::ErrorKind;
use wire::code::{Code, Fault};
use wire::envelope::Integrity;
use wire::name::{KeyName, ProviderName};

use crate::plugin::CallError;
use crate::registry::RegistryError;

/// What failed, and what it was about.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct HostError {
    /// What failed.
    #[source]
    pub failure: Failure,
    /// The key concerned.
    pub key: Option<KeyName>,
    /// The provider concerned.
    pub provider: Option<ProviderName>,
}

/// The stage and the way in which a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Decode: the request is not one. It has its code already.
    #[error("{0}")]
    Decode(Fault),
    /// Authorize: no rule allows it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Limits: too much is under way.
    #[error("{0}")]
    Busy(daemon::limit::Busy),
    /// Route: the key is not there, or no longer.
    #[error("{0}")]
    NotFound(&'static str),
    /// Route: the key is there already, or is being changed.
    #[error("{0}")]
    Conflict(String),
    /// Route: the key is for something else.
    #[error("the key is for {is}, not for {asked}")]
    WrongUsage {
        /// What it is for.
        is: &'static str,
        /// What was asked of it.
        asked: &'static str,
    },
    /// Route: the handle is not ours, or of a key that is another one by now.
    #[error("invalid handle")]
    InvalidHandle,
    /// Route: no configured provider can hold such a key.
    #[error("{0}")]
    NoProvider(String),
    /// Route: the provider is not there now.
    #[error("{0}")]
    Unavailable(String),
    /// Route: the provider is known not to serve now, so it was not asked.
    #[error(transparent)]
    NotServing(#[from] NotServing),
    /// Provider: the call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Provider: its device is in lockout.
    #[error("{error}")]
    LockedOut {
        /// What it said.
        error: CallError,
        /// At most how long that lasts, where the device told when it was last asked.
        recovery: Option<Duration>,
    },
    /// Envelope: it does not open.
    #[error(transparent)]
    Integrity(#[from] Integrity),
    /// Provider: the device has not got the counter any more.
    #[error("the counter is lost: {0}")]
    LostCounter(String),
    /// Provider: the device said that it made a key, and cannot use it.
    #[error("the device made a key that does not work: {0}")]
    BrokenKey(String),
    /// Registry: it cannot be changed.
    #[error(transparent)]
    Registry(RegistryError),
    /// Audit: it cannot be written, so nothing is done.
    #[error("audit: {0}")]
    Audit(String),
    /// Audit: a key or counter was changed, or may have been, and how that ended is not recorded. Nothing is
    /// undone: a destruction could not be.
    #[error("audit: {reason}")]
    OutcomeUnrecorded {
        /// Whether the change was made, as opposed to having failed on its way.
        made: bool,
        /// Why it cannot be recorded.
        reason: String,
    },
    /// The host is ending.
    #[error("the host is stopping")]
    Stopping,
    /// What cannot happen.
    #[error("{0}; this is a fault of sealhost, please report it")]
    Bug(&'static str),
}

/// Why a provider was not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotServing {
    /// One sentence, for the client too.
    pub reason: String,
    /// Whether its device or worker is gone.
    pub gone: bool,
    /// How long until the host asks it again, where that is known.
    pub next_probe: Option<Duration>,
}

impl<F: Into<Failure>> From<F> for HostError {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), key: None, provider: None }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Decode(fault)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl HostError {
    /// The same error, about this provider.
    #[must_use]
    pub fn at(mut self, provider: &ProviderName) -> Self {
        self.provider.get_or_insert_with(|| provider.clone());
        self
    }

    /// The same error, about this key.
    #[must_use]
    pub fn of(mut self, key: &KeyName) -> Self {
        self.key.get_or_insert_with(|| key.clone());
        self
    }

    /// The code that the client sees.
    #[must_use]
    pub fn code(&self) -> Code {
        match &self.failure {
            Failure::Decode(fault) => fault.code,
            Failure::Denied(_) => Code::Denied,
            Failure::Busy(_) => Code::Busy,
            Failure::NotFound(_) => Code::NotFound,
            Failure::Conflict(_) => Code::Conflict,
            Failure::WrongUsage { .. } => Code::WrongUsage,
            Failure::InvalidHandle => Code::Invalid,
            Failure::NoProvider(_) => Code::Unsupported,
            Failure::Unavailable(_) | Failure::NotServing(_) | Failure::Stopping => {
                Code::Unavailable
            }
            Failure::Call(error) => code_of_call(error),
            Failure::LockedOut { .. } => Code::LockedOut,
            Failure::Integrity(_) | Failure::LostCounter(_) => Code::Integrity,
            Failure::Registry(error) => code_of_registry(error),
            Failure::BrokenKey(_)
            | Failure::Audit(_)
            | Failure::OutcomeUnrecorded { .. }
            | Failure::Bug(_) => Code::Internal,
        }
    }

    /// Code and sentence for the client.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let code = self.code();
        let sentence = match &self.failure {
            Failure::Decode(fault) => fault.detail.clone(),
            Failure::Denied(_)
            | Failure::Busy(_)
            | Failure::NotFound(_)
            | Failure::Conflict(_)
            | Failure::WrongUsage { .. }
            | Failure::InvalidHandle
            | Failure::NoProvider(_)
            | Failure::Unavailable(_)
            | Failure::NotServing(_)
            | Failure::Integrity(_)
            | Failure::Stopping => self.failure.to_string(),
            Failure::Call(_) => sentence_of_call(code).to_owned(),
            Failure::LockedOut { recovery: Some(recovery), .. } => {
                let sentence = sentence_of_call(code);
                format!("{sentence}, which is over after at most {} s", recovery.as_secs())
            }
            Failure::LockedOut { recovery: None, .. } => sentence_of_call(code).to_owned(),
            Failure::LostCounter(_) => {
                "the device has lost the counter, or has another in its place".into()
            }
            Failure::BrokenKey(_) => {
                "the device made a key that does not work, so that it was not kept; see the \
                 host's log"
                    .into()
            }
            Failure::Registry(
                RegistryError::NotOpen(_) | RegistryError::NoneOpen | RegistryError::Stale,
            ) => self.failure.to_string(),
            Failure::Registry(_) => "the key registry cannot be changed; see the host's log".into(),
            Failure::Audit(_) => "the audit cannot be written; see the host's log".into(),
            Failure::OutcomeUnrecorded { made: true, .. } => {
                "the key or counter was changed, but the audit could not be told so; look at the \
                 key or counter before trying again"
                    .into()
            }
            Failure::OutcomeUnrecorded { made: false, .. } => {
                "the change failed, and the audit could not be told so; look at the key or counter \
                 before trying again"
                    .into()
            }
            Failure::Bug(_) => "a fault of the host; see its log".into(),
        };
        Fault::new(code, sentence)
    }

    /// When it makes sense to try again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let usual = Manner::of(self.code()).retry_after;
        if let Failure::LockedOut { recovery, .. } = &self.failure {
            return recovery.or(usual);
        }
        let Failure::NotServing(not_serving) = &self.failure else { return usual };
        usual.max(not_serving.next_probe)
    }

    /// The key of the configuration that sets the limit which was reached, where one was.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        if let Failure::Busy(busy) = &self.failure {
            return Some(busy.limit());
        }
        matches!(self.failure, Failure::Call(CallError::Busy)).then_some("queue_length")
    }

    /// Whose attention it calls for.
    #[must_use]
    pub fn attention(&self) -> Attention {
        if matches!(self.failure, Failure::LostCounter(_) | Failure::BrokenKey(_)) {
            return Attention::Device;
        }
        Manner::of(self.code()).attention
    }

    /// Whether it says that the device or its worker is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let called = matches!(&self.failure, Failure::Call(error) if error.is_gone());
        called || matches!(&self.failure, Failure::NotServing(not_serving) if not_serving.gone)
    }
}

/// Whose attention a failed request calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Ours: something is broken.
    Fault,
    /// The operator's: a device is not as it should be.
    Device,
    /// The caller's alone.
    Caller,
}

/// The table of what follows from a code.
struct Manner {
    attention: Attention,
    retry_after: Option<Duration>,
}

impl Manner {
    const fn of(code: Code) -> Self {
        let (attention, seconds) = match code {
            Code::Internal => (Attention::Fault, None),
            Code::Unavailable => (Attention::Device, Some(1)),
            Code::LockedOut => (Attention::Device, Some(60)),
            Code::Timeout | Code::WrongDevice => (Attention::Device, None),
            Code::Busy => (Attention::Caller, Some(1)),
            Code::Malformed
            | Code::Invalid
            | Code::Unsupported
            | Code::WrongUsage
            | Code::Integrity
            | Code::Denied
            | Code::NotFound
            | Code::Conflict
            | Code::StateMismatch
            | Code::TooLarge => (Attention::Caller, None),
        };
        let retry_after = match seconds {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => None,
        };
        Self { attention, retry_after }
    }
}

fn code_of_call(error: &CallError) -> Code {
    match error {
        CallError::Provider(error) => code_of_kind(error.kind),
        CallError::Busy => Code::Busy,
        CallError::Timeout(_) => Code::Timeout,
        CallError::Gone(_) | CallError::Plugin(_) => Code::Unavailable,
    }
}

/// The table between what providers say and what clients see.
fn code_of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidParameter => Code::Invalid,
        ErrorKind::Unsupported => Code::Unsupported,
        ErrorKind::TooLarge => Code::TooLarge,
        ErrorKind::KeyNotFound => Code::NotFound,
        ErrorKind::KeyExists => Code::Conflict,
        ErrorKind::StateMismatch => Code::StateMismatch,
        ErrorKind::Integrity => Code::Integrity,
        ErrorKind::WrongDevice => Code::WrongDevice,
        ErrorKind::Busy => Code::Busy,
        ErrorKind::LockedOut => Code::LockedOut,
        ErrorKind::DeviceAuth | ErrorKind::DeviceGone | ErrorKind::Exhausted => Code::Unavailable,
        ErrorKind::Internal | ErrorKind::Panicked => Code::Internal,
    }
}

fn code_of_registry(error: &RegistryError) -> Code {
    match error {
        RegistryError::NotOpen(_) | RegistryError::NoneOpen => Code::Unavailable,
        RegistryError::Stale => Code::Conflict,
        RegistryError::Store(_)
        | RegistryError::HeadAltered(_)
        | RegistryError::HeadUnverified(_)
        | RegistryError::CounterAltered(_)
        | RegistryError::RecordAltered { .. } => Code::Internal,
    }
}

fn sentence_of_call(code: Code) -> &'static str {
    match code {
        Code::Invalid => "the provider refused an argument",
        Code::Unsupported => "the provider cannot do this",
        Code::TooLarge => "an input is past the provider's limit",
        Code::NotFound => "the device has no such key",
        Code::Conflict => "the device already has such a key",
        Code::StateMismatch => "the machine is not in the state that the key is bound to",
        Code::Integrity => "the sealed value, context and key do not belong together",
        Code::WrongDevice => {
            "the key belongs to another device than the one that is there, which was replaced, or \
             cleared; GET /v1/providers says what to do"
        }
        Code::Busy => "the provider has too much to do",
        Code::LockedOut => "the device is in lockout",
        Code::Unavailable => "the provider does not answer now",
        Code::Timeout => "the device did not answer in time",
        Code::Malformed | Code::WrongUsage | Code::Denied | Code::Internal => {
            "the provider failed; see the host's log"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_core::ProviderError;

    fn check(kind: ErrorKind, code: Code) {
        let error = HostError::from(CallError::from(ProviderError::new(kind, "device text")));
        assert_eq!(error.code(), code);
        assert!(!error.fault().detail.contains("device text"), "device text reaches the client");
    }

    #[test]
    fn provider_kinds_have_their_codes() {
        check(ErrorKind::InvalidParameter, Code::Invalid);
        check(ErrorKind::StateMismatch, Code::StateMismatch);
        check(ErrorKind::DeviceAuth, Code::Unavailable);
        check(ErrorKind::LockedOut, Code::LockedOut);
        check(ErrorKind::DeviceGone, Code::Unavailable);
        check(ErrorKind::WrongDevice, Code::WrongDevice);
        check(ErrorKind::Panicked, Code::Internal);
    }

    #[test]
    fn what_may_succeed_later_has_a_time_or_is_a_timeout() {
        for code in Code::ALL {
            let timed = Manner::of(code).retry_after.is_some();
            assert_eq!(timed || code == Code::Timeout, code.retryable(), "{code:?}");
        }
    }

    #[test]
    fn timeout_of_the_device_is_timeout() {
        let error = HostError::from(CallError::Timeout(Duration::from_secs(5)));
        assert_eq!(error.code(), Code::Timeout);
    }
}

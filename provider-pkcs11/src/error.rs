//! What a PKCS#11 return value means here: one table of kinds, one of what to build anew.

use cryptoki::error::{Error, RvError};
use provider_core::{ErrorKind, ProviderError};

/// A failed step of a call, with what is to be done about it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Our own finding; the session is as good as before.
    Found(ProviderError),
    /// The device refused the step, and its refusal stands. The session may hold a half-done
    /// operation.
    Refused(ProviderError),
    /// Sessions, login, handles or the device itself were lost: connect again, then once more.
    Lost(ProviderError),
    /// The device refused our PIN. It is not tried again.
    PinRefused(ProviderError),
}

/// The result of a step.
pub(crate) type Step<T> = Result<T, Fault>;

impl Fault {
    /// The error for the caller.
    pub(crate) fn into_error(self) -> ProviderError {
        match self {
            Self::Found(error)
            | Self::Refused(error)
            | Self::Lost(error)
            | Self::PinRefused(error) => error,
        }
    }
}

impl From<ProviderError> for Fault {
    fn from(error: ProviderError) -> Self {
        Self::Found(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(status, function) = &error else {
            return Self::Refused(ProviderError::new(other_kind(&error), error.to_string()));
        };
        let detail = format!("C_{function:?}: {}", status_name(*status));
        let error = ProviderError::new(kind_of(*status), detail);
        if is_loss(*status) { Self::Lost(error) } else { Self::Refused(error) }
    }
}

/// The name of a return value as the specification writes it, such as `CKR_PIN_INCORRECT`.
pub(crate) fn status_name(status: RvError) -> String {
    if let RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) = status {
        return format!("CKR {number:#010x}");
    }
    let mut name = String::from("CKR");
    for letter in format!("{status:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The kind of a return value. One that is not in the table is `Internal`.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not in the table is Internal")]
pub(crate) const fn kind_of(status: RvError) -> ErrorKind {
    match status {
        RvError::ArgumentsBad | RvError::DataInvalid => ErrorKind::InvalidParameter,
        RvError::DataLenRange => ErrorKind::TooLarge,
        // Templates and mechanisms are ours, not the caller's: what the device does not take of
        // them, it cannot do.
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::FunctionNotSupported
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::KeyFunctionNotPermitted
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::AttributeReadOnly
        | RvError::AttributeSensitive
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::ActionProhibited
        | RvError::TokenWriteProtected
        | RvError::SessionReadOnly
        | RvError::RandomNoRng
        | RvError::CantLock
        | RvError::NeedToCreateThreads => ErrorKind::Unsupported,
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => ErrorKind::KeyNotFound,
        RvError::WrappedKeyInvalid
        | RvError::EncryptedDataInvalid
        | RvError::SignatureInvalid
        | RvError::FipsSelfTestFailed => ErrorKind::Integrity,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::UserNotLoggedIn
        | RvError::UserPinNotInitialized
        | RvError::UserTypeInvalid
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTooManyTypes => ErrorKind::DeviceAuth,
        RvError::PinLocked => ErrorKind::LockedOut,
        RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::GeneralError
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::SessionClosed
        | RvError::SessionHandleInvalid
        | RvError::CryptokiNotInitialized
        | RvError::LibraryLoadFailed => ErrorKind::DeviceGone,
        RvError::SessionCount | RvError::DeviceMemory | RvError::HostMemory => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    }
}

/// Whether a return value says that something we held is gone, so that connecting again may help.
const fn is_loss(status: RvError) -> bool {
    matches!(
        status,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::UserNotLoggedIn
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::GeneralError
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::CryptokiNotInitialized
    )
}

/// The kind of an error of the binding itself.
const fn other_kind(error: &Error) -> ErrorKind {
    match error {
        Error::LibraryLoading(_)
        | Error::MissingSymbol(_)
        | Error::NullFunctionPointer
        | Error::NotSupported => ErrorKind::Unsupported,
        Error::Pkcs11(_, _)
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::InvalidValue
        | Error::PinNotSet => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn check(status: RvError, kind: ErrorKind, lost: bool, detail: &str) {
        let fault = Fault::from(Error::Pkcs11(status, Function::Sign));
        assert_eq!(matches!(fault, Fault::Lost(_)), lost);
        assert_eq!(fault.into_error(), ProviderError::new(kind, detail));
    }

    #[test]
    fn wrong_pin_is_device_auth() {
        check(RvError::PinIncorrect, ErrorKind::DeviceAuth, false, "C_Sign: CKR_PIN_INCORRECT");
    }

    #[test]
    fn locked_pin_is_locked_out() {
        check(RvError::PinLocked, ErrorKind::LockedOut, false, "C_Sign: CKR_PIN_LOCKED");
    }

    #[test]
    fn removed_device_is_gone_and_a_loss() {
        check(RvError::DeviceRemoved, ErrorKind::DeviceGone, true, "C_Sign: CKR_DEVICE_REMOVED");
    }

    #[test]
    fn invalid_handle_is_not_found_and_a_loss() {
        let name = "C_Sign: CKR_KEY_HANDLE_INVALID";
        check(RvError::KeyHandleInvalid, ErrorKind::KeyNotFound, true, name);
    }

    #[test]
    fn full_device_is_exhausted() {
        check(RvError::DeviceMemory, ErrorKind::Exhausted, false, "C_Sign: CKR_DEVICE_MEMORY");
    }

    #[test]
    fn refused_mechanism_is_unsupported() {
        let name = "C_Sign: CKR_MECHANISM_INVALID";
        check(RvError::MechanismInvalid, ErrorKind::Unsupported, false, name);
    }

    #[test]
    fn vendor_value_is_internal_and_shown_as_a_number() {
        check(
            RvError::VendorDefined(0x8000_0001),
            ErrorKind::Internal,
            false,
            "C_Sign: CKR 0x80000001",
        );
    }
}

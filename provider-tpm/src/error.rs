//! Response codes: their layer, name and meaning (TPM 2.0 Part 2, 6.6; TSS 2.0 Overview, 3.3).

use provider_core::{ErrorKind, ProviderError};

/// A response code as the TPM or a software layer in front of it gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

/// Who gave a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The TPM itself, or a resource manager in its stead.
    Tpm,
    /// ESYS, the uppermost layer of the library.
    Library,
    /// The layers that take a response apart; they fail when it is none.
    Answer,
    /// The transport to the TPM.
    Transport,
}

/// Why a call to the device failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A code that may still be acted on.
    Code(Code),
    /// An error in the contract's words.
    Final(ProviderError),
}

impl From<ProviderError> for Fault {
    fn from(error: ProviderError) -> Self {
        Self::Final(error)
    }
}

impl Fault {
    /// Whether what we hold in the TPM (sessions, loaded keys) or the library's own state is no
    /// longer good: everything must be built anew, and then the call may be tried again.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self, Self::Code(code) if code.is_lost())
    }

    /// Whether it is the given code, whatever handle, session or parameter it names.
    pub(crate) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Code(seen) if seen.base() == code)
    }

    /// Whether the authorization was refused: the value is wrong, or the session's HMAC is, which
    /// covers the Names of what the command uses.
    pub(crate) fn is_refused(&self) -> bool {
        self.is(RC_AUTH_FAIL) || self.is(RC_BAD_AUTH)
    }

    /// The error in the contract's words.
    pub(crate) fn into_error(self) -> ProviderError {
        match self {
            Self::Code(code) => ProviderError::new(code.kind(), code.describe()),
            Self::Final(error) => error,
        }
    }
}

pub(crate) const RC_INITIALIZE: u32 = 0x100;
pub(crate) const RC_HANDLE: u32 = 0x08B;
const RC_INTEGRITY: u32 = 0x09F;
pub(crate) const RC_POLICY_FAIL: u32 = 0x09D;
pub(crate) const RC_VALUE: u32 = 0x084;
pub(crate) const RC_PCR_CHANGED: u32 = 0x128;
pub(crate) const RC_COMMAND_CODE: u32 = 0x143;
pub(crate) const RC_OBJECT_MEMORY: u32 = 0x902;
pub(crate) const RC_LOCKOUT: u32 = 0x921;
const RC_AUTH_FAIL: u32 = 0x08E;
const RC_NONCE: u32 = 0x08F;
const RC_BAD_AUTH: u32 = 0x0A2;
const RC_YIELDED: u32 = 0x908;
const RC_TESTING: u32 = 0x90A;
const RC_RETRY: u32 = 0x922;
/// ESYS: a response that is none, that ends early, or whose HMAC does not verify.
const ALTERED_ANSWERS: [u32; 3] = [0x7_0011, 0x7_0013, 0x7_001B];

impl Code {
    /// Bits 16 to 23 name the layer; a resource manager (11, 12) answers in the TPM's words.
    pub(crate) const fn layer(self) -> Layer {
        match (self.0 >> 16) & 0xFF {
            0 | 11 | 12 => Layer::Tpm,
            8 | 9 => Layer::Answer,
            10 => Layer::Transport,
            7 if is_altered_answer(self.0) => Layer::Answer,
            _ => Layer::Library,
        }
    }

    /// The code without the number of the handle, session or parameter it is about.
    const fn base(self) -> u32 {
        match self.layer() {
            Layer::Tpm if self.0 & 0x80 != 0 => self.0 & 0xBF,
            Layer::Tpm => self.0 & 0xFFF,
            Layer::Library | Layer::Answer | Layer::Transport => self.0,
        }
    }

    /// Whether the TPM asks for the same command again.
    pub(crate) const fn is_transient(self) -> bool {
        matches!(self.base(), RC_YIELDED | RC_TESTING | RC_RETRY)
    }

    /// Whether the code is about a parameter of the command (format one, bit 6).
    pub(crate) const fn is_about_parameter(self) -> bool {
        matches!(self.layer(), Layer::Tpm) && self.0 & 0xC0 == 0xC0
    }

    const fn is_lost(self) -> bool {
        match self.layer() {
            Layer::Library | Layer::Answer | Layer::Transport => true,
            Layer::Tpm => {
                let base = self.base();
                let reference = matches!(base, 0x910..=0x916 | 0x918..=0x91E);
                // All our authorization values are empty, so a refused one means that the
                // session of ours is not the TPM's: a reset in between, or a lost response.
                let refused = matches!(base, RC_AUTH_FAIL | RC_BAD_AUTH | RC_NONCE);
                reference || refused || matches!(base, RC_INITIALIZE | RC_HANDLE)
            }
        }
    }

    /// What the code means in the contract's words.
    const fn kind(self) -> ErrorKind {
        match self.layer() {
            Layer::Transport => return ErrorKind::DeviceGone,
            Layer::Answer => return ErrorKind::Integrity,
            Layer::Library => return ErrorKind::Internal,
            Layer::Tpm => {}
        }
        match self.base() {
            // VALUE, RANGE
            0x084 | 0x08D => ErrorKind::InvalidParameter,
            // ASYMMETRIC, HASH, KEY_SIZE, MODE, TYPE, KDF, SCHEME, SYMMETRIC, CURVE, COMMAND_CODE
            0x081 | 0x083 | 0x087 | 0x089 | 0x08A | 0x08C | 0x092 | 0x096 | 0x0A6 | 0x143 => {
                ErrorKind::Unsupported
            }
            // SIZE
            0x095 => ErrorKind::TooLarge,
            // POLICY_FAIL, POLICY, PCR, PCR_CHANGED
            0x09D | 0x126 | 0x127 | 0x128 => ErrorKind::StateMismatch,
            // INTEGRITY, SIGNATURE, SENSITIVE
            0x09F | 0x09B | 0x155 => ErrorKind::Integrity,
            // AUTH_FAIL, BAD_AUTH, AUTH_UNAVAILABLE, HIERARCHY, DISABLED
            0x08E | 0x0A2 | 0x12F | 0x085 | 0x120 => ErrorKind::DeviceAuth,
            // YIELDED, TESTING, NV_RATE, RETRY, NV_UNAVAILABLE, CANCELED
            0x908 | 0x90A | 0x920 | 0x922 | 0x923 | 0x909 => ErrorKind::Busy,
            RC_LOCKOUT => ErrorKind::LockedOut,
            // CONTEXT_GAP, OBJECT_MEMORY, SESSION_MEMORY, MEMORY, handles, NV_SPACE
            0x901..=0x906 | 0x12E | 0x14B => ErrorKind::Exhausted,
            // INITIALIZE, UPGRADE, REBOOT, HANDLE and lost references: the TPM we knew is gone
            RC_INITIALIZE | 0x12D | 0x130 | RC_HANDLE | 0x910..=0x916 | 0x918..=0x91E => {
                ErrorKind::DeviceGone
            }
            _ => ErrorKind::Internal,
        }
    }

    /// The code's name and value, and what to do where an operator can do something.
    pub(crate) fn describe(self) -> String {
        let name = match self.layer() {
            Layer::Tpm => NAMES
                .iter()
                .find(|(code, _)| *code == self.base())
                .map_or("an unknown TPM code", |(_, name)| name),
            Layer::Answer => "the TPM's answer was altered on its way",
            Layer::Library => "an error inside libtss2",
            Layer::Transport => "no connection to the TPM",
        };
        let advice = match self.base() {
            0x08E | 0x0A2 => {
                "; if the owner hierarchy has a password, persist a storage key at 0x81000001"
            }
            0x903 | 0x905 => "; another program holds the TPM's sessions: use a resource manager",
            _ => "",
        };
        format!("{name} ({:#x}){advice}", self.0)
    }
}

const fn is_altered_answer(code: u32) -> bool {
    let [malformed, short, unauthentic] = ALTERED_ANSWERS;
    code == malformed || code == short || code == unauthentic
}

const NAMES: &[(u32, &str)] = &[
    (0x081, "TPM_RC_ASYMMETRIC"),
    (0x082, "TPM_RC_ATTRIBUTES"),
    (0x083, "TPM_RC_HASH"),
    (RC_VALUE, "TPM_RC_VALUE"),
    (0x085, "TPM_RC_HIERARCHY"),
    (0x087, "TPM_RC_KEY_SIZE"),
    (0x089, "TPM_RC_MODE"),
    (0x08A, "TPM_RC_TYPE"),
    (RC_HANDLE, "TPM_RC_HANDLE"),
    (0x08C, "TPM_RC_KDF"),
    (0x08D, "TPM_RC_RANGE"),
    (RC_AUTH_FAIL, "TPM_RC_AUTH_FAIL"),
    (RC_NONCE, "TPM_RC_NONCE"),
    (0x092, "TPM_RC_SCHEME"),
    (0x095, "TPM_RC_SIZE"),
    (0x096, "TPM_RC_SYMMETRIC"),
    (0x097, "TPM_RC_TAG"),
    (0x098, "TPM_RC_SELECTOR"),
    (0x09A, "TPM_RC_INSUFFICIENT"),
    (0x09B, "TPM_RC_SIGNATURE"),
    (0x09C, "TPM_RC_KEY"),
    (RC_POLICY_FAIL, "TPM_RC_POLICY_FAIL"),
    (RC_INTEGRITY, "TPM_RC_INTEGRITY"),
    (0x0A1, "TPM_RC_RESERVED_BITS"),
    (RC_BAD_AUTH, "TPM_RC_BAD_AUTH"),
    (0x0A5, "TPM_RC_BINDING"),
    (0x0A6, "TPM_RC_CURVE"),
    (RC_INITIALIZE, "TPM_RC_INITIALIZE"),
    (0x101, "TPM_RC_FAILURE"),
    (0x120, "TPM_RC_DISABLED"),
    (0x126, "TPM_RC_POLICY"),
    (0x127, "TPM_RC_PCR"),
    (RC_PCR_CHANGED, "TPM_RC_PCR_CHANGED"),
    (0x12D, "TPM_RC_UPGRADE"),
    (0x12E, "TPM_RC_TOO_MANY_CONTEXTS"),
    (0x12F, "TPM_RC_AUTH_UNAVAILABLE"),
    (0x130, "TPM_RC_REBOOT"),
    (RC_COMMAND_CODE, "TPM_RC_COMMAND_CODE"),
    (0x14B, "TPM_RC_NV_SPACE"),
    (0x14C, "TPM_RC_NV_DEFINED"),
    (0x155, "TPM_RC_SENSITIVE"),
    (0x901, "TPM_RC_CONTEXT_GAP"),
    (RC_OBJECT_MEMORY, "TPM_RC_OBJECT_MEMORY"),
    (0x903, "TPM_RC_SESSION_MEMORY"),
    (0x904, "TPM_RC_MEMORY"),
    (0x905, "TPM_RC_SESSION_HANDLES"),
    (0x906, "TPM_RC_OBJECT_HANDLES"),
    (RC_YIELDED, "TPM_RC_YIELDED"),
    (0x909, "TPM_RC_CANCELED"),
    (RC_TESTING, "TPM_RC_TESTING"),
    (0x910, "TPM_RC_REFERENCE_H0"),
    (0x911, "TPM_RC_REFERENCE_H1"),
    (0x918, "TPM_RC_REFERENCE_S0"),
    (0x919, "TPM_RC_REFERENCE_S1"),
    (0x920, "TPM_RC_NV_RATE"),
    (RC_LOCKOUT, "TPM_RC_LOCKOUT"),
    (RC_RETRY, "TPM_RC_RETRY"),
    (0x923, "TPM_RC_NV_UNAVAILABLE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: u32, kind: ErrorKind, lost: bool, words: &str) {
        let fault = Fault::Code(Code(raw));
        assert_eq!(fault.is_lost(), lost, "{raw:#x}");
        let error = fault.into_error();
        assert_eq!(error.kind, kind, "{raw:#x}");
        assert!(error.detail.starts_with(words), "{raw:#x}: {}", error.detail);
    }

    #[test]
    fn altered_blob_is_integrity() {
        check(0x1DF, ErrorKind::Integrity, false, "TPM_RC_INTEGRITY (0x1df)");
    }

    #[test]
    fn lockout_is_its_own() {
        check(0x921, ErrorKind::LockedOut, false, "TPM_RC_LOCKOUT (0x921)");
    }

    #[test]
    fn refused_policy_is_a_state_mismatch() {
        check(0x99D, ErrorKind::StateMismatch, false, "TPM_RC_POLICY_FAIL (0x99d)");
    }

    #[test]
    fn unloaded_handle_and_session_are_lost() {
        check(0x910, ErrorKind::DeviceGone, true, "TPM_RC_REFERENCE_H0");
        check(0x918, ErrorKind::DeviceGone, true, "TPM_RC_REFERENCE_S0");
    }

    #[test]
    fn transport_error_is_lost_and_gone() {
        check(0xA_000A, ErrorKind::DeviceGone, true, "no connection to the TPM (0xa000a)");
    }

    #[test]
    fn library_error_is_lost_and_internal() {
        check(0x7_0007, ErrorKind::Internal, true, "an error inside libtss2 (0x70007)");
    }

    #[test]
    fn altered_answer_is_lost_and_integrity() {
        for code in [0x7_0011, 0x7_0013, 0x7_001B, 0x8_0007, 0x9_0006] {
            check(code, ErrorKind::Integrity, true, "the TPM's answer was altered");
        }
    }

    #[test]
    fn resource_manager_speaks_as_the_tpm() {
        check(0xC_0902, ErrorKind::Exhausted, false, "TPM_RC_OBJECT_MEMORY (0xc0902)");
        check(0xB_0143, ErrorKind::Unsupported, false, "TPM_RC_COMMAND_CODE");
    }

    #[test]
    fn unknown_code_is_internal() {
        check(0x1FF, ErrorKind::Internal, false, "an unknown TPM code (0x1ff)");
    }

    #[test]
    fn each_name_stands_once() {
        let mut codes: Vec<_> = NAMES.iter().map(|(code, _)| code).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), NAMES.len());
    }
}

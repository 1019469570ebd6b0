//! Everything that can be asked of the signer, and everything that it answers. Front-ends turn
//! bytes into the one and the other into bytes.

use daemon::audit::Exempt;
use wire::sas::{
    ImportReply, ImportRequest, IssuedList, RotateReply, RotateRequest, SasKeyName, SasKeyRecord,
    SignerStatus, TokenReply, TokenRequest, VerifyReply, VerifyRequest,
};

/// One request.
#[derive(Debug)]
pub(crate) enum Request {
    /// Sign a token.
    Token(TokenRequest),
    /// Verify one.
    Verify(VerifyRequest),
    /// Import a key into the host.
    Import(SasKeyName, ImportRequest),
    /// Sign with the other slot of a key.
    Rotate(SasKeyName, RotateRequest),
    /// Describe a key.
    Show(SasKeyName),
    /// List the tokens that were signed.
    List,
    /// Describe the signer.
    Status,
    /// Count what was done.
    Metrics,
}

/// One answer that is no error.
#[derive(Debug)]
pub(crate) enum Reply {
    Token(TokenReply),
    Verified(VerifyReply),
    Imported(ImportReply),
    Rotated(RotateReply),
    Key(SasKeyRecord),
    Issued(IssuedList),
    Status(SignerStatus),
    Metrics(String),
}

impl Request {
    /// The operation, as rules and audit call it.
    pub(crate) const fn operation(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Verify(_) => "verify",
            Self::Import(..) => "import",
            Self::Rotate(..) => "rotate",
            Self::Show(_) => "show",
            Self::List => "list",
            Self::Status => "status",
            Self::Metrics => "metrics",
        }
    }

    /// The key that it is about.
    pub(crate) const fn key(&self) -> Option<&SasKeyName> {
        match self {
            Self::Token(request) => Some(&request.key),
            Self::Verify(request) => Some(&request.key),
            Self::Import(key, _) | Self::Rotate(key, _) | Self::Show(key) => Some(key),
            Self::List | Self::Status | Self::Metrics => None,
        }
    }

    /// Whether it changes a key, so that the audit has an intent first.
    pub(crate) const fn changes_a_key(&self) -> bool {
        match self {
            Self::Import(..) | Self::Rotate(..) => true,
            Self::Token(_)
            | Self::Verify(_)
            | Self::Show(_)
            | Self::List
            | Self::Status
            | Self::Metrics => false,
        }
    }

    /// Why it is answered without a record.
    pub(crate) const fn exempt_from_audit(&self) -> Option<Exempt> {
        match self {
            Self::Status => Some(Exempt::Status),
            Self::Metrics => Some(Exempt::Metrics),
            Self::Token(_)
            | Self::Verify(_)
            | Self::Import(..)
            | Self::Rotate(..)
            | Self::Show(_)
            | Self::List => None,
        }
    }
}

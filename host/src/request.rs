//! Everything that can be asked of the host. Front-ends turn bytes into one of these; nothing
//! behind them knows how it was written.

mod counter;
mod handle;

use daemon::audit::Exempt;
use daemon::rules::Door;
use wire::api::{
    CreateRequest, ImportRequest, MacItem, OneOrItems, RandomRequest, RewrapItem, SealItem,
    SignRequest, UnsealItem, VerifyAuditRequest, VerifyRequest,
};
use wire::name::{KeyName, ProviderName};

use crate::error::HostError;

pub use counter::CounterRequest;
pub use handle::{
    AeadWith, Claims, Handle, HandleRequest, HandleTerms, HeldRequest, Import, NONCE_BYTES,
    RsaPadding, SecretBytes,
};

/// One request.
#[derive(Debug)]
pub enum Request {
    /// Make a key.
    Create(KeyName, CreateRequest),
    /// Import a MAC key.
    Import(KeyName, ImportRequest),
    /// Describe a key.
    Show(KeyName),
    /// Describe all keys that the caller may see.
    List,
    /// Make a new version of a key.
    Rotate(KeyName),
    /// Destroy a key; the name stands twice, so that a slip does not.
    Destroy(KeyName, Option<KeyName>),
    /// Seal plaintexts.
    Seal(KeyName, OneOrItems<SealItem>),
    /// Unseal envelopes.
    Unseal(KeyName, OneOrItems<UnsealItem>),
    /// Move envelopes to the active version.
    Rewrap(KeyName, OneOrItems<RewrapItem>),
    /// Compute MACs.
    Mac(KeyName, OneOrItems<MacItem>),
    /// Check a MAC.
    Verify(KeyName, VerifyRequest),
    /// Sign a digest.
    Sign(KeyName, SignRequest),
    /// Tell a public key, of the version named or the active one.
    Public(KeyName, Option<u32>),
    /// Do something with a counter.
    Counter(KeyName, CounterRequest),
    /// Describe all counters that the caller may see.
    ListCounters,
    /// Give a handle of a key.
    Handle(KeyName, HandleRequest),
    /// Do something with the key that a handle is of.
    Held(Handle, HeldRequest),
    /// Draw random bytes.
    Random(RandomRequest),
    /// Describe the host.
    Status,
    /// Describe the providers.
    Providers,
    /// Try a provider again, a refused PIN included.
    Retry(ProviderName),
    /// Say of checkpoints of the audit whether they are ours.
    VerifyAudit(VerifyAuditRequest),
    /// Count what was done.
    Metrics,
}

/// By which door a request came, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The host's own API.
    Native,
    /// The dialect of the aziot Key Service.
    Keyd,
}

impl Api {
    /// Whose rules count there.
    pub(crate) const fn door(self) -> Door {
        match self {
            Self::Native => Door::Own,
            Self::Keyd => Door::Granted,
        }
    }

    /// Its label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Keyd => "keyd",
        }
    }
}

/// What could not be read as a request, as far as it was understood; the error names the key.
#[derive(Debug)]
pub struct Unread {
    /// The operation that was meant.
    pub operation: Option<&'static str>,
    /// What is wrong.
    pub error: HostError,
}

impl Request {
    /// The operation, as rules and audit call it.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(..) => "create",
            Self::Import(..) => "import",
            Self::Show(_) => "show",
            Self::List => "list",
            Self::Rotate(_) => "rotate",
            Self::Destroy(..) => "destroy",
            Self::Seal(..) => "seal",
            Self::Unseal(..) => "unseal",
            Self::Rewrap(..) => "rewrap",
            Self::Mac(..) => "mac",
            Self::Verify(..) => "verify",
            Self::Sign(..) => "sign",
            Self::Public(..) => "public",
            Self::Counter(_, request) => request.operation(),
            Self::ListCounters => "list_counters",
            Self::Handle(_, request) => request.operation(),
            Self::Held(_, request) => request.operation(),
            Self::Random(_) => "random",
            Self::Status => "status",
            Self::Providers => "providers",
            Self::Retry(_) => "retry",
            Self::VerifyAudit(_) => "verify_audit",
            Self::Metrics => "metrics",
        }
    }

    /// The key or counter that it is about.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Create(key, _)
            | Self::Import(key, _)
            | Self::Show(key)
            | Self::Rotate(key)
            | Self::Destroy(key, _)
            | Self::Seal(key, _)
            | Self::Unseal(key, _)
            | Self::Rewrap(key, _)
            | Self::Mac(key, _)
            | Self::Verify(key, _)
            | Self::Sign(key, _)
            | Self::Public(key, _)
            | Self::Handle(key, _)
            | Self::Counter(key, _) => Some(key),
            Self::Held(handle, _) => Some(&handle.claims.key),
            Self::List
            | Self::ListCounters
            | Self::Random(_)
            | Self::Status
            | Self::Providers
            | Self::Retry(_)
            | Self::VerifyAudit(_)
            | Self::Metrics => None,
        }
    }

    /// Another key that it is about too, for which its caller needs the same permission.
    #[must_use]
    pub const fn other_key(&self) -> Option<&KeyName> {
        if let Self::Handle(_, request) = self {
            return request.other_key();
        }
        None
    }

    /// Whether it changes a key, or makes or destroys a counter, so that the audit says so before
    /// it is done.
    #[must_use]
    pub const fn takes_an_intent(&self) -> bool {
        match self {
            Self::Create(..) | Self::Import(..) | Self::Rotate(_) | Self::Destroy(..) => true,
            Self::Counter(_, request) => request.makes_or_destroys(),
            Self::Handle(_, request) => request.changes(),
            Self::Held(_, request) => request.changes(),
            Self::Show(_)
            | Self::List
            | Self::Seal(..)
            | Self::Unseal(..)
            | Self::Rewrap(..)
            | Self::Mac(..)
            | Self::Verify(..)
            | Self::Sign(..)
            | Self::Public(..)
            | Self::ListCounters
            | Self::Random(_)
            | Self::Status
            | Self::Providers
            | Self::Retry(_)
            | Self::VerifyAudit(_)
            | Self::Metrics => false,
        }
    }

    /// Whether it changes a device or the registry: then it is carried through when its caller
    /// goes away, and its record is on the disk before the reply.
    #[must_use]
    pub const fn is_a_change(&self) -> bool {
        if let Self::Counter(_, request) = self {
            return request.changes();
        }
        self.takes_an_intent()
    }

    /// Why it leaves no audit record when it succeeds; `None` for what must leave one.
    #[must_use]
    pub const fn exempt_from_audit(&self) -> Option<Exempt> {
        match self {
            Self::Status | Self::Providers => Some(Exempt::Status),
            Self::Metrics => Some(Exempt::Metrics),
            Self::Create(..)
            | Self::Import(..)
            | Self::Show(_)
            | Self::List
            | Self::Rotate(_)
            | Self::Destroy(..)
            | Self::Seal(..)
            | Self::Unseal(..)
            | Self::Rewrap(..)
            | Self::Mac(..)
            | Self::Verify(..)
            | Self::Sign(..)
            | Self::Public(..)
            | Self::Counter(..)
            | Self::ListCounters
            | Self::Handle(..)
            | Self::Held(..)
            | Self::Random(_)
            | Self::Retry(_)
            | Self::VerifyAudit(_) => None,
        }
    }
}

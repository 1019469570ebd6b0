//! The one thing that the signer cannot do itself: the HMAC, by a key that it never sees.

use std::future::Future;

use wire::api::{Origin, Protection};
use wire::code::{Code, Fault};
use wire::limits::MAC_BYTES;
use wire::name::{KeyName, ProviderName};
use zeroize::Zeroizing;

/// Computes HMAC-SHA256 by keys that it names.
pub trait Mac: Send + Sync {
    /// Computes the HMAC of `message` by the active version of `key`.
    ///
    /// # Limits
    /// 1,024 bytes.
    ///
    /// # Errors
    /// [`MacError`]; its code is `not_found` when there is no such key.
    ///
    /// # Secrets
    /// The MAC is half a token, and is wiped when dropped.
    fn mac(
        &self,
        key: &KeyName,
        message: &[u8],
    ) -> impl Future<Output = Result<Maced, MacError>> + Send;
}

/// A MAC, and what computed it.
pub struct Maced {
    /// The MAC.
    pub mac: Zeroizing<[u8; MAC_BYTES]>,
    /// What computed it.
    pub by: By,
}

impl std::fmt::Debug for Maced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maced(by {:?})", self.by)
    }
}

/// The key version that computed a MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The version of the host's key.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// Why there is no MAC. The detail may be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct MacError(#[from] pub Fault);

impl MacError {
    /// Whether there is no such key.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.0.code == Code::NotFound
    }
}

//! The root key: wraps key blobs and proves the instance's identity, both by AES-256-GCM
//! (NIST SP 800-38D) with random 96-bit nonces.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use provider_core::{ErrorKind, Identity, ProviderError, Result, SecretBytes};
use zeroize::Zeroizing;

/// Bytes of a root key.
const ROOT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const IDENTITY_LABEL: &[u8] = b"sealhost/soft/identity/1";
const IDENTITY_BYTES: usize = 16;

/// The key under which everything of one instance is wrapped.
pub(crate) struct RootKey(LessSafeKey);

impl RootKey {
    /// Takes the root over from the host.
    ///
    /// # Limits
    /// Exactly 32 bytes, else `InvalidParameter`.
    pub(crate) fn new(root: &SecretBytes) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, root.expose()).map_err(|_unspecified| {
            ProviderError::invalid(format!("root is {} bytes, not {ROOT_BYTES}", root.len()))
        })?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Wraps `plain` and authenticates `header` with it: nonce, ciphertext, tag.
    pub(crate) fn wrap(&self, header: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_unspecified| no_randomness())?;
        let mut wrapped = Zeroizing::new(plain.to_vec());
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header),
                &mut wrapped,
            )
            .map_err(|_unspecified| ProviderError::new(ErrorKind::Internal, "wrapping failed"))?;
        Ok([&nonce, &wrapped[..], tag.as_ref()].concat())
    }

    /// Opens what [`wrap`](Self::wrap) made; `None` when it is not this root's or was altered.
    pub(crate) fn unwrap(&self, header: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = sealed.len().checked_sub(TAG_BYTES)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(header), &mut plain).ok()?;
        plain.truncate(length);
        Some(plain)
    }

    /// A new identity: a random number that only this root can have wrapped.
    pub(crate) fn new_identity(&self) -> Result<Identity> {
        let mut number = [0; IDENTITY_BYTES];
        rand::fill(&mut number).map_err(|_unspecified| no_randomness())?;
        Ok(Identity(self.wrap(IDENTITY_LABEL, &number)?))
    }

    /// Whether an identity was made under this root.
    pub(crate) fn made(&self, identity: &Identity) -> bool {
        self.unwrap(IDENTITY_LABEL, &identity.0).is_some()
    }
}

pub(crate) fn no_randomness() -> ProviderError {
    ProviderError::new(ErrorKind::Internal, "the random generator failed")
}

//! AES-256-GCM with an initialization vector of any length, computed in memory by AWS-LC, for
//! providers whose device does not compute it; and [`wrapped`], how a device's HMAC key keeps such
//! a key.
//!
//! The limits of the boundary are not checked here: providers do.

mod evp;
pub mod wrapped;

use std::fmt;

use zeroize::Zeroizing;

use evp::{Context, Direction};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// A computation gave nothing. Why is not said: a wrong tag, a wrong key and an impossible length
/// look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was computed")]
pub struct Failed;

/// A key of AES-256-GCM.
///
/// # Secrets
/// Lives on the heap only and is wiped when dropped, as is everything that the library derives
/// from it for one computation.
///
/// # Spec
/// NIST SP 800-38D, with tags of 16 bytes.
pub struct Key(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    /// Copies a key; the caller wipes the source.
    #[must_use]
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut key = Self(Box::new(Zeroizing::new([0; KEY_BYTES])));
        key.0.copy_from_slice(bytes);
        key
    }

    /// Encrypts: the ciphertext, as long as the plaintext, then the tag.
    ///
    /// The caller sees to it that no initialization vector is used twice under a key.
    ///
    /// # Errors
    /// The initialization vector is empty, or a length is past 2^31 - 1 bytes.
    ///
    /// # Spec
    /// NIST SP 800-38D section 7.1.
    pub fn encrypt(&self, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut context = Context::new(Direction::Encrypt, &self.0, iv)?;
        context.authenticate(aad)?;
        let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(TAG_BYTES));
        sealed.resize(plaintext.len(), 0);
        context.convert(plaintext, &mut sealed)?;
        sealed.extend_from_slice(&context.tag()?);
        Ok(sealed)
    }

    /// Decrypts what [`encrypt`](Self::encrypt) gave. The tag is compared in constant time.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt); the text is shorter than a tag, or the tag is not its. Nothing
    /// of the plaintext is given then.
    ///
    /// # Secrets
    /// The plaintext, also the one that is thrown away: both are wiped.
    ///
    /// # Spec
    /// NIST SP 800-38D section 7.2.
    pub fn decrypt(
        &self,
        iv: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let (text, tag) = ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(Failed)?;
        let mut context = Context::new(Direction::Decrypt, &self.0, iv)?;
        context.authenticate(aad)?;
        let mut plaintext = Zeroizing::new(vec![0; text.len()]);
        context.convert(text, &mut plaintext)?;
        context.verify(tag)?;
        Ok(plaintext)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

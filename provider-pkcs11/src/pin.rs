//! The PIN between two logins. An instance must be able to log in again whenever the token was
//! away, so it keeps the PIN, but not in the clear: masked by a stream that follows from all of a
//! large random pad. A piece of memory that leaks, or ends in swap, does not give it away; whoever
//! reads all of the process does.

use std::fmt;

use aws_lc_rs::{digest, hmac, rand};
use provider_core::{ErrorKind, ProviderError, Result, SecretBytes};
use zeroize::Zeroizing;

/// Bytes of the pad: so many that leaking them all by reading beside a buffer is unlikely.
const PAD_BYTES: usize = 16 * 1024;

/// A masked PIN; it is wiped with its pad when dropped.
pub(crate) struct Pin {
    pad: Zeroizing<Vec<u8>>,
    masked: Zeroizing<Vec<u8>>,
}

impl Pin {
    /// Masks a PIN.
    ///
    /// # Errors
    /// `Internal`: there is no randomness.
    pub(crate) fn mask(pin: &SecretBytes) -> Result<Self> {
        let mut pad = Zeroizing::new(vec![0; PAD_BYTES]);
        rand::fill(&mut pad).map_err(|_unspecified| {
            ProviderError::new(ErrorKind::Internal, "the random generator failed")
        })?;
        let masked = Zeroizing::new(pin.expose().to_vec());
        let mut pin = Self { pad, masked };
        pin.masked = pin.reveal();
        Ok(pin)
    }

    /// The PIN, for one login.
    ///
    /// # Secrets
    /// The result; wiped when dropped.
    pub(crate) fn reveal(&self) -> Zeroizing<Vec<u8>> {
        let digest = digest::digest(&digest::SHA256, &self.pad);
        let key = hmac::Key::new(hmac::HMAC_SHA256, digest.as_ref());
        let mut pin = self.masked.clone();
        for (number, block) in (0_u64..).zip(pin.chunks_mut(digest::SHA256_OUTPUT_LEN)) {
            let stream = hmac::sign(&key, &number.to_be_bytes());
            block.iter_mut().zip(stream.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
        }
        pin
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pin")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) {
        let pin = Pin::mask(&SecretBytes::copy_of(text)).unwrap();
        assert_eq!(pin.reveal().as_slice(), text);
        assert_eq!(pin.reveal().as_slice(), text);
        assert!(text.is_empty() || pin.masked.as_slice() != text);
    }

    #[test]
    fn masked_pin_is_revealed_as_it_was() {
        check(b"");
        check(b"1234567890123456");
        check(&[7; 100]);
    }

    #[test]
    fn two_masks_of_one_pin_differ() {
        let pin = SecretBytes::copy_of(&[7; 32]);
        let (one, two) = (Pin::mask(&pin).unwrap(), Pin::mask(&pin).unwrap());
        assert_ne!(one.masked, two.masked);
    }
}

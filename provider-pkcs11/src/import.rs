//! Brings an imported HMAC key to the one length that every device takes.

use aws_lc_rs::digest::{SHA256, digest};
use provider_core::SecretBytes;
use zeroize::Zeroizing;

use crate::mechanism::HMAC_KEY_BYTES;

/// The key as one block: longer keys hashed first, shorter ones padded with zeros. The HMACs stay
/// the same by definition. SoftHSM would refuse the short ones at use, TPMs the long ones.
///
/// # Secrets
/// The result wipes itself.
///
/// # Spec
/// RFC 2104 section 2.
pub(crate) fn to_block(key: &SecretBytes) -> SecretBytes {
    let mut block = Zeroizing::new(vec![0; HMAC_KEY_BYTES]);
    let hashed;
    let bytes = if key.len() > HMAC_KEY_BYTES {
        hashed = digest(&SHA256, key.expose());
        hashed.as_ref()
    } else {
        key.expose()
    };
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
    SecretBytes::new(block)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::*;

    fn check(length: usize) {
        let key: Vec<u8> = (1..=u8::MAX).cycle().take(length).collect();
        let block = to_block(&SecretBytes::copy_of(&key));
        assert_eq!(block.len(), HMAC_KEY_BYTES);
        let mac = |key: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"message");
            tag.as_ref().to_vec()
        };
        assert_eq!(mac(block.expose()), mac(&key), "{length} bytes");
    }

    #[test]
    fn keys_of_every_length_give_the_same_hmac() {
        for length in [1, 20, 63, 64, 65, 1024] {
            check(length);
        }
    }
}

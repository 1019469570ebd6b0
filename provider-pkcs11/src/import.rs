//! What is computed of a key before it is brought into the device: one length for HMAC keys, the
//! public half of signing keys.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use provider_core::{ProviderError, Result, SecretBytes};
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

/// The public point of a private number of P-256.
///
/// # Errors
/// `InvalidParameter`: it is zero, or not less than the order of the group.
///
/// # Spec
/// SEC 1 section 3.2.1.
pub(crate) fn public_point(private: &SecretBytes) -> Result<[u8; 65]> {
    let invalid = || ProviderError::invalid("this is no private key of P-256");
    let key = PrivateKey::from_private_key(&ECDH_P256, private.expose());
    let public = key.ok().and_then(|key| key.compute_public_key().ok()).ok_or_else(invalid)?;
    public.as_ref().try_into().map_err(|_length| invalid())
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

    /// The order of P-256 (SEC 2 section 2.4.2).
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    fn check_private(number: [u8; 32], passes: bool) {
        assert_eq!(public_point(&SecretBytes::copy_of(&number)).is_ok(), passes, "{number:?}");
    }

    #[test]
    fn public_point_of_one_is_the_generator() {
        let mut one = [0; 32];
        one[31] = 1;
        let point = public_point(&SecretBytes::copy_of(&one)).unwrap();
        assert_eq!(point[..5], [0x04, 0x6b, 0x17, 0xd1, 0xf2]);
        assert_eq!(point[61..], [0x37, 0xbf, 0x51, 0xf5]);
    }

    #[test]
    fn number_below_the_order_is_a_private_key() {
        let mut last = ORDER;
        last[31] -= 1;
        check_private(last, true);
    }

    #[test]
    fn zero_and_the_order_are_no_private_keys() {
        check_private([0; 32], false);
        check_private(ORDER, false);
        check_private([0xff; 32], false);
    }
}

//! How a device's HMAC key keeps a key of AES-256-GCM: the device computes one HMAC over
//! [`mac_input`], and what follows from it wraps the key. The blob is a provider's own: the salt,
//! drawn anew for each key, beside what [`wrap`] gives.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use provider_core::key::{MAC_BYTES, SEAL_LABEL};
use zeroize::Zeroizing;

use crate::{Failed, KEY_BYTES};

/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;
/// Bytes of a wrapped key.
pub const WRAPPED_BYTES: usize = KEY_BYTES + 8;

/// Sets these inputs apart from those that envelopes have devices compute over, whose label is
/// followed by a zero byte.
const PURPOSE: &[u8] = b"aead";
const KEK_INFO: &[u8] = b"sealhost/aead/1/kek";

/// What the device computes its HMAC over: the seal label, `aead`, the id of the key, the salt. 68
/// bytes.
///
/// It begins with [`SEAL_LABEL`], so that a `Mac` key refuses it, and nobody who may MAC derives
/// what wraps a key.
#[must_use]
pub fn mac_input(id: &[u8; 16], salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    [&SEAL_LABEL[..], PURPOSE, id, salt].concat()
}

/// Wraps a key under what the device's HMAC gives.
///
/// # Limits
/// `device_mac` is 32 bytes.
///
/// # Errors
/// The HMAC has another length, or the cryptographic library failed.
///
/// # Secrets
/// `device_mac` and `key`; the caller wipes both.
///
/// # Spec
/// RFC 5869 with SHA-256; RFC 3394 section 2.2.1.
pub fn wrap(device_mac: &[u8], key: &[u8; KEY_BYTES]) -> Result<[u8; WRAPPED_BYTES], Failed> {
    let mut wrapped = [0; WRAPPED_BYTES];
    let _whole = kek(device_mac)?.wrap(key, &mut wrapped).map_err(library)?;
    Ok(wrapped)
}

/// Unwraps a key.
///
/// # Errors
/// As [`wrap`]; it was wrapped under something else, or altered since.
///
/// # Secrets
/// `device_mac` and the result.
///
/// # Spec
/// RFC 5869 with SHA-256; RFC 3394 section 2.2.2.
pub fn unwrap(
    device_mac: &[u8],
    wrapped: &[u8; WRAPPED_BYTES],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failed> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let _whole = kek(device_mac)?.unwrap(wrapped, &mut *key).map_err(library)?;
    Ok(key)
}

fn kek(device_mac: &[u8]) -> Result<AesKek, Failed> {
    if device_mac.len() != MAC_BYTES {
        return Err(Failed);
    }
    let mut kek = Box::new(Zeroizing::new([0; KEY_BYTES]));
    // The salt is in what the device computed over, so that this step has none (RFC 5869 section
    // 3.1 allows it): its input is a uniform key already.
    Salt::new(HKDF_SHA256, &[])
        .extract(device_mac)
        .expand(&[KEK_INFO], Length)
        .and_then(|okm| okm.fill(&mut **kek))
        .and_then(|()| AesKek::new(&AES_256, &**kek))
        .map_err(library)
}

fn library(_error: Unspecified) -> Failed {
    Failed
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 32] = [5; 32];
    const KEY: [u8; 32] = [9; 32];

    #[test]
    fn wrapped_key_is_unwrapped() {
        let wrapped = wrap(&MAC, &KEY).unwrap();
        assert_eq!(*unwrap(&MAC, &wrapped).unwrap(), KEY);
    }

    /// HMAC-SHA256 of Python's hmac, and AES-KW of OpenSSL (`id-aes256-wrap`).
    #[test]
    fn wrapped_key_is_what_others_compute() {
        let expected =
            "ce73c3156623ad475eb8bb06fb1b0a76ce4d017a3dc9da586924088fc644f03adcecf18f27f53149";
        let wrapped = wrap(&MAC, &KEY).unwrap();
        let hex: String = wrapped.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn flipped_bit_fails() {
        let wrapped = wrap(&MAC, &KEY).unwrap();
        for bit in 0..WRAPPED_BYTES * 8 {
            let mut flipped = wrapped;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unwrap(&MAC, &flipped).unwrap_err(), Failed, "bit {bit}");
        }
    }

    #[test]
    fn other_mac_fails() {
        let wrapped = wrap(&MAC, &KEY).unwrap();
        assert_eq!(unwrap(&[6; 32], &wrapped).unwrap_err(), Failed);
    }

    #[test]
    fn mac_of_another_length_fails() {
        for mac in [&[][..], &[5; 31], &[5; 33]] {
            assert_eq!(wrap(mac, &KEY).unwrap_err(), Failed);
        }
    }

    #[test]
    fn input_begins_with_the_seal_label_and_names_key_and_salt() {
        let input = mac_input(&[1; 16], &[2; 32]);
        let expected = [&b"sealhost/seal/1\0aead"[..], &[1; 16], &[2; 32]].concat();
        assert_eq!(input, expected);
    }
}

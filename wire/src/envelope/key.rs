//! From the device's HMAC to the data key (section 3), and the keys derived from the data key
//! (section 4).

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use zeroize::Zeroizing;

use super::{FORMAT_VERSION, Integrity};
use crate::code::{Code, Fault};
use crate::limits::MAC_BYTES;

/// Length of a data key, in bytes.
pub const DATA_KEY_BYTES: usize = 32;

/// Length of a wrapped data key, in bytes.
pub const WRAPPED_KEY_BYTES: usize = DATA_KEY_BYTES + 8;

/// Length of a recipient's salt, in bytes.
pub const SALT_BYTES: usize = 32;

/// Length of the id of a key, in bytes.
pub const KEY_ID_BYTES: usize = 16;

/// What every message to a `seal` key in a device begins with, and no message to a `mac` key.
pub const DEVICE_LABEL: &[u8; 16] = b"sealhost/seal/1\0";

const KEK_INFO: &[u8] = b"sealhost/envelope/1/kek/hmac-kdf";
const PAYLOAD_INFO: &[u8] = b"sealhost/envelope/1/payload";
const HEADER_INFO: &[u8] = b"sealhost/envelope/1/header";

/// Stays where it is, so that moving it leaves no copy behind.
type Secret32 = Box<Zeroizing<[u8; 32]>>;

/// The message whose HMAC by the device gives the KEK: [`DEVICE_LABEL`], then format version, key
/// id, key version and salt, each after its length. 80 bytes.
///
/// # Spec
/// `docs/envelope.md` section 3.
pub fn kdf_input(key_id: &[u8; KEY_ID_BYTES], version: u32, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut input = Vec::with_capacity(80);
    input.extend_from_slice(DEVICE_LABEL);
    let mut field = |length: u16, bytes: &[u8]| {
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(bytes);
    };
    field(4, &u32::from(FORMAT_VERSION).to_be_bytes());
    field(16, key_id);
    field(4, &version.to_be_bytes());
    field(32, salt);
    input
}

/// The key of one envelope.
///
/// # Secrets
/// Lives on the heap only and is wiped when dropped.
pub struct DataKey(Secret32);

impl DataKey {
    /// Makes a data key of what `fill` writes: fresh random bytes, for one envelope.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill_with<E>(
        fill: impl FnOnce(&mut [u8; DATA_KEY_BYTES]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut key = Self(Box::new(Zeroizing::new([0; DATA_KEY_BYTES])));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// The key of AES-256-GCM.
    pub(super) fn payload_key(&self) -> Result<Secret32, Unspecified> {
        derive(&[], &**self.0, PAYLOAD_INFO)
    }

    /// The key of the header MAC.
    pub(super) fn header_key(&self) -> Result<Secret32, Unspecified> {
        derive(&[], &**self.0, HEADER_INFO)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// The key that wraps data keys for one recipient of one envelope.
///
/// # Secrets
/// Wiped when dropped.
pub struct Kek(Secret32);

impl Kek {
    /// Derives the KEK of method `hmac-kdf` from the device's HMAC over [`kdf_input`].
    ///
    /// # Errors
    /// `internal`: the cryptographic library failed.
    ///
    /// # Secrets
    /// `mac` is one; the caller wipes it.
    ///
    /// # Spec
    /// RFC 5869; `docs/envelope.md` section 3.
    pub fn from_device_mac(mac: &[u8; MAC_BYTES], salt: &[u8; SALT_BYTES]) -> Result<Self, Fault> {
        derive(salt, mac, KEK_INFO).map(Self).map_err(library)
    }

    /// Wraps a data key.
    ///
    /// # Errors
    /// `internal`: the cryptographic library failed.
    ///
    /// # Spec
    /// RFC 3394 section 2.2.1.
    pub fn wrap(&self, data_key: &DataKey) -> Result<[u8; WRAPPED_KEY_BYTES], Fault> {
        let mut wrapped = [0; WRAPPED_KEY_BYTES];
        self.aes()
            .and_then(|kek| kek.wrap(&**data_key.0, &mut wrapped).map(|_| ()))
            .map_err(library)?;
        Ok(wrapped)
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// `Integrity`: it was not wrapped under this KEK.
    ///
    /// # Spec
    /// RFC 3394 section 2.2.2.
    pub fn unwrap(&self, wrapped: &[u8; WRAPPED_KEY_BYTES]) -> Result<DataKey, Integrity> {
        DataKey::fill_with(|key| {
            self.aes()
                .and_then(|kek| kek.unwrap(wrapped, key).map(|_| ()))
                .map_err(|_error| Integrity)
        })
    }

    fn aes(&self) -> Result<AesKek, Unspecified> {
        AesKek::new(&AES_256, &**self.0)
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek")
    }
}

pub(super) fn library(_error: Unspecified) -> Fault {
    Fault::new(Code::Internal, "the cryptographic library failed")
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Secret32, Unspecified> {
    let mut key = Box::new(Zeroizing::new([0; 32]));
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(&[info], Length)?.fill(&mut **key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::published::{array, published, unhex, vectors};

    /// Wraps and unwraps each vector; gives how many are valid and how many are not.
    fn check(text: &str) -> (usize, usize) {
        let (mut valid, mut invalid) = (0, 0);
        for [id, result, key, plain, wrapped] in vectors(text) {
            let kek = Kek(Box::new(Zeroizing::new(array(&key))));
            let unwrapped = kek.unwrap(&array(&wrapped));
            if result == "valid" {
                let data_key = unwrapped.unwrap();
                assert_eq!(**data_key.0, array(&plain), "{id}");
                assert_eq!(kek.wrap(&data_key).unwrap(), array(&wrapped), "{id}");
                valid += 1;
            } else {
                assert!(unwrapped.is_err(), "{id} is unwrapped");
                invalid += 1;
            }
        }
        (valid, invalid)
    }

    #[test]
    fn published_vectors_of_aes_256_kw_hold() {
        assert_eq!(check(published!("wycheproof_aes_256_kw.txt")), (4, 12));
        assert_eq!(check(published!("cavp_kw_ae_256.txt")), (100, 0));
        assert_eq!(check(published!("cavp_kw_ad_256.txt")), (80, 20));
    }

    #[test]
    fn published_vectors_of_hkdf_sha256_hold() {
        let mut held = 0;
        for [id, ikm, salt, info, okm] in vectors(published!("wycheproof_hkdf_sha256.txt")) {
            // The beginning of a longer output is the shorter one (RFC 5869 section 2.3).
            let derived = derive(&unhex(&salt), &unhex(&ikm), &unhex(&info)).unwrap();
            assert!(derived.starts_with(&unhex(&okm)), "{id}");
            held += 1;
        }
        assert_eq!(held, 83);
    }
}

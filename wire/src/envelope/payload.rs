//! Sealing, opening and replacing recipients (sections 4 and 5).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::codec::encode_header;
use super::key::library;
use super::{
    DataKey, Envelope, FORMAT_VERSION, HEADER_MAC_BYTES, Integrity, NONCE_BYTES, Recipient,
    TAG_BYTES, check_recipients,
};
use crate::cbor;
use crate::code::Fault;
use crate::context::EncryptionContext;
use crate::limits::PLAINTEXT_MAX_BYTES;
use crate::name::KeyName;

/// Seals a plaintext under a data key that the recipients' `wrapped` fields hold.
///
/// # Limits
/// Plaintext: 1 MiB; one past it is `too_large`. Recipients: 1 to 16; otherwise `invalid`.
///
/// # Errors
/// `too_large`, `invalid`: as above, or a provider kind that is not a name. `internal`: the
/// cryptographic library failed.
///
/// # Secrets
/// `data_key` must be fresh: each seals once. The plaintext is copied into the ciphertext's
/// memory and encrypted there.
///
/// # Spec
/// `docs/envelope.md` sections 4 and 5.
pub fn seal(
    key_name: &KeyName,
    data_key: &DataKey,
    recipients: Vec<Recipient>,
    nonce: [u8; NONCE_BYTES],
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Envelope, Fault> {
    if plaintext.len() > PLAINTEXT_MAX_BYTES {
        return Err(Fault::over("plaintext", plaintext.len(), PLAINTEXT_MAX_BYTES));
    }
    check_recipients(&recipients)?;
    let mut ciphertext = Vec::with_capacity(plaintext.len().saturating_add(TAG_BYTES));
    ciphertext.extend_from_slice(plaintext);
    let aad = payload_aad(key_name, context);
    data_key
        .payload_key()
        .and_then(|key| encrypt(&key, nonce, &aad, &mut ciphertext))
        .map_err(library)?;
    let header = encode_header(key_name, &recipients, &nonce);
    let header_mac = header_mac(data_key, &header).map_err(library)?;
    Ok(Envelope { key_name: key_name.clone(), recipients, nonce, ciphertext, header_mac })
}

/// Opens an envelope: first the header MAC, in constant time, then the payload.
///
/// # Errors
/// `Integrity`: nothing is given back, and not said why.
///
/// # Secrets
/// The result is one, wiped when dropped.
///
/// # Spec
/// `docs/envelope.md` section 5.
pub fn open(
    envelope: &Envelope,
    data_key: &DataKey,
    context: &EncryptionContext,
) -> Result<Zeroizing<Vec<u8>>, Integrity> {
    verify_header(envelope, data_key)?;
    let mut plaintext = Zeroizing::new(envelope.ciphertext.clone());
    let aad = payload_aad(&envelope.key_name, context);
    data_key
        .payload_key()
        .and_then(|key| decrypt(&key, envelope.nonce, &aad, &mut plaintext))
        .map_err(|_error| Integrity)?;
    Ok(plaintext)
}

/// Gives an envelope other recipients, which hold the same data key. The payload is not touched,
/// and no context is needed.
///
/// # Errors
/// `integrity`: the header MAC does not fit. `invalid`: recipients as in [`seal`]. `internal`:
/// the cryptographic library failed.
///
/// # Spec
/// `docs/envelope.md` section 6.
pub fn replace_recipients(
    envelope: &Envelope,
    data_key: &DataKey,
    recipients: Vec<Recipient>,
) -> Result<Envelope, Fault> {
    verify_header(envelope, data_key)?;
    check_recipients(&recipients)?;
    let header = encode_header(&envelope.key_name, &recipients, &envelope.nonce);
    let header_mac = header_mac(data_key, &header).map_err(library)?;
    Ok(Envelope {
        key_name: envelope.key_name.clone(),
        recipients,
        nonce: envelope.nonce,
        ciphertext: envelope.ciphertext.clone(),
        header_mac,
    })
}

fn verify_header(envelope: &Envelope, data_key: &DataKey) -> Result<(), Integrity> {
    let header = encode_header(&envelope.key_name, &envelope.recipients, &envelope.nonce);
    let key = data_key.header_key().map_err(|_error| Integrity)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &**key);
    hmac::verify(&key, &header, &envelope.header_mac).map_err(|_error| Integrity)
}

fn header_mac(data_key: &DataKey, header: &[u8]) -> Result<[u8; HEADER_MAC_BYTES], Unspecified> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &**data_key.header_key()?);
    let mut mac = [0; HEADER_MAC_BYTES];
    hmac::sign_to_buffer(&key, header, &mut mac)?;
    Ok(mac)
}

/// AES-256-GCM, in place; the tag is appended.
fn encrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), Unspecified> {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text)
}

/// AES-256-GCM, in place; the tag at the end is checked and removed.
fn decrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), Unspecified> {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = cipher.open_in_place(nonce, Aad::from(aad), text)?.len();
    text.truncate(length);
    Ok(())
}

fn payload_aad(key_name: &KeyName, context: &EncryptionContext) -> Vec<u8> {
    let mut aad = Vec::new();
    cbor::array(&mut aad, 3);
    cbor::uint(&mut aad, u64::from(FORMAT_VERSION));
    cbor::text(&mut aad, key_name.as_str());
    aad.extend_from_slice(context.canonical());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::published::{array, published, unhex, vectors};

    /// Encrypts and decrypts each vector; gives how many are valid and how many are not.
    fn check(text: &str) -> (usize, usize) {
        let (mut valid, mut invalid) = (0, 0);
        for [id, result, key, nonce, aad, plaintext, ciphertext, tag] in vectors(text) {
            let (key, nonce, aad) = (array(&key), array(&nonce), unhex(&aad));
            let sealed = [unhex(&ciphertext), unhex(&tag)].concat();
            let mut opened = sealed.clone();
            let outcome = decrypt(&key, nonce, &aad, &mut opened);
            if result == "valid" {
                assert_eq!((outcome.is_ok(), &opened), (true, &unhex(&plaintext)), "{id}");
                encrypt(&key, nonce, &aad, &mut opened).unwrap();
                assert_eq!(opened, sealed, "{id}");
                valid += 1;
            } else {
                assert!(outcome.is_err(), "{id} is decrypted");
                invalid += 1;
            }
        }
        (valid, invalid)
    }

    #[test]
    fn published_vectors_of_aes_256_gcm_hold() {
        assert_eq!(check(published!("wycheproof_aes_256_gcm.txt")), (39, 27));
        assert_eq!(check(published!("cavp_gcmEncryptExtIV256.txt")), (125, 0));
        assert_eq!(check(published!("cavp_gcmDecrypt256.txt")), (62, 63));
    }
}

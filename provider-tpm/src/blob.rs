//! The stored form of a key.
//!
//! ```text
//! magic "SHTK" | version 1 | usage | algorithm | id 16 | parent name | binding | public | private
//!              | salt 32 | wrapped key 40      (of an aead key only)
//! ```
//! Usage and algorithm are one byte each, as their ABI numbers; the four after the id are a
//! big-endian u16 length and that many bytes. The binding is empty, or its text, a zero byte, and
//! the values its PCRs had at creation. Public and private are TPMT_PUBLIC and the buffer of
//! TPM2B_PRIVATE (TPM 2.0 Part 2, 12.2.4 and 12.3.7).
//!
//! An aead key is an AES key that the HMAC key of public and private wraps. It has no binding.
//!
//! The TPM authenticates public and private. Usage and id of an unbound key are in its public
//! area too, as the policy digest that no session can reach; those of a bound key, whose policy
//! is the binding, are kept by whoever authenticates the blob.

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use provider_core::{Algorithm, ErrorKind, KeyId, KeyRef, ProviderError, Result, Usage};
use soft_aead::wrapped::{SALT_BYTES, WRAPPED_BYTES};

use crate::binding::{Binding, sha256};

const MAGIC: [u8; 4] = *b"SHTK";
const VERSION: u8 = 1;
/// TPM_ALG_SHA256 (TPM 2.0 Part 2, 6.3).
const NAME_ALGORITHM: [u8; 2] = [0x00, 0x0B];
/// Domain of the digest that binds an unbound key to its usage and id.
const PURPOSE_LABEL: &[u8] = b"sealhost/tpm/purpose/1\0";

/// What a key is for and what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) usage: Usage,
    pub(crate) algorithm: Algorithm,
    pub(crate) id: KeyId,
    pub(crate) bound: Option<Bound>,
}

/// A binding and the PCR values at the key's creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) binding: Binding,
    pub(crate) values: Vec<Vec<u8>>,
}

/// A decoded blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) purpose: Purpose,
    /// Name of the storage root key.
    pub(crate) parent: Vec<u8>,
    pub(crate) public: Vec<u8>,
    /// Encrypted by the TPM; not secret.
    pub(crate) private: Vec<u8>,
    /// Of an aead key, and of no other.
    pub(crate) wrapped: Option<Wrapped>,
}

/// An AES key under a key-encryption key that the TPM's HMAC key and the salt give; not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) key: [u8; WRAPPED_BYTES],
}

impl Purpose {
    /// Refuses a caller who takes the key for another.
    ///
    /// # Errors
    /// `InvalidParameter`: made for another usage, or with another id.
    pub(crate) fn check(&self, key: KeyRef<'_>) -> Result<()> {
        if self.usage != key.usage {
            return Err(ProviderError::invalid("the key was made for another usage"));
        }
        if self.id != key.id {
            return Err(ProviderError::invalid("the key was made with another id"));
        }
        Ok(())
    }

    /// The policy digest of the key's public area. With no binding it is one that no policy
    /// session reaches: those are hashes of inputs that begin with 32 bytes of another digest or
    /// of zeros, this one's begins with a label of text.
    pub(crate) fn policy(&self) -> [u8; SHA256_OUTPUT_LEN] {
        if let Some(bound) = &self.bound {
            return bound.binding.policy(&bound.values);
        }
        let mut input = PURPOSE_LABEL.to_vec();
        input.extend(self.usage.number().to_be_bytes());
        input.extend(self.algorithm.number().to_be_bytes());
        input.extend(self.id.0);
        sha256(&input)
    }
}

impl Blob {
    /// The bytes of a blob.
    ///
    /// # Errors
    /// `Internal`: a part is longer than any TPM makes it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let purpose = &self.purpose;
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, byte(purpose.usage.number()), byte(purpose.algorithm.number())]);
        bytes.extend(purpose.id.0);
        push(&mut bytes, &self.parent)?;
        push(&mut bytes, &encode_bound(purpose.bound.as_ref()))?;
        push(&mut bytes, &self.public)?;
        push(&mut bytes, &self.private)?;
        if let Some(wrapped) = &self.wrapped {
            bytes.extend(wrapped.salt);
            bytes.extend(wrapped.key);
        }
        Ok(bytes)
    }

    /// The Name of the key's public area.
    pub(crate) fn name(&self) -> Vec<u8> {
        name(&self.public)
    }

    /// Reads a blob; there is exactly one encoding of each.
    ///
    /// # Errors
    /// `Integrity`: these are not bytes that [`encode`](Self::encode) returned.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        read(bytes).ok_or_else(|| {
            ProviderError::new(ErrorKind::Integrity, "the blob is not a key of this provider")
        })
    }
}

/// The Name of a public area, whose nameAlg is SHA-256 (TPM 2.0 Part 1, 16).
pub(crate) fn name(public: &[u8]) -> Vec<u8> {
    [&NAME_ALGORITHM[..], &sha256(public)].concat()
}

fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Appends a part with its length.
pub(crate) fn push(bytes: &mut Vec<u8>, part: &[u8]) -> Result<()> {
    let length = u16::try_from(part.len());
    let length = length.map_err(|error| {
        ProviderError::new(ErrorKind::Internal, format!("part of {} bytes: {error}", part.len()))
    })?;
    bytes.extend(length.to_be_bytes());
    bytes.extend(part);
    Ok(())
}

fn encode_bound(bound: Option<&Bound>) -> Vec<u8> {
    let Some(bound) = bound else { return Vec::new() };
    let mut part = bound.binding.text().into_bytes();
    part.push(0);
    part.extend(bound.values.concat());
    part
}

fn decode_bound(part: &[u8]) -> Option<Option<Bound>> {
    if part.is_empty() {
        return Some(None);
    }
    let end = part.iter().position(|byte| *byte == 0)?;
    let (text, values) = part.split_at_checked(end)?;
    let binding = Binding::parse(std::str::from_utf8(text).ok()?).ok()?;
    let values = values.split_first()?.1.chunks(binding.bank.value_bytes());
    let values: Vec<_> = values.map(<[u8]>::to_vec).collect();
    let whole = values.iter().all(|value| value.len() == binding.bank.value_bytes());
    (whole && values.len() == binding.pcrs.len()).then_some(Some(Bound { binding, values }))
}

fn read(bytes: &[u8]) -> Option<Blob> {
    let mut rest = bytes;
    if take_array(&mut rest)? != MAGIC || take_array(&mut rest)? != [VERSION] {
        return None;
    }
    let [usage, algorithm] = take_array(&mut rest)?;
    let usage = Usage::from_number(usage.into())?;
    let algorithm = Algorithm::from_number(algorithm.into())?;
    if !usage.has(algorithm) {
        return None;
    }
    let id = KeyId(take_array(&mut rest)?);
    let parent = take_part(&mut rest)?;
    let bound = decode_bound(&take_part(&mut rest)?)?;
    let public = take_part(&mut rest)?;
    let private = take_part(&mut rest)?;
    let wrapped = match (usage, &bound) {
        (Usage::Aead, Some(_)) => return None,
        (Usage::Aead, None) => {
            Some(Wrapped { salt: take_array(&mut rest)?, key: take_array(&mut rest)? })
        }
        (Usage::Seal | Usage::Mac | Usage::Sign | Usage::Rsa, _) => None,
    };
    let purpose = Purpose { usage, algorithm, id, bound };
    rest.is_empty().then_some(Blob { purpose, parent, public, private, wrapped })
}

/// Takes bytes of a fixed number from the front.
pub(crate) fn take_array<const LENGTH: usize>(rest: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// Takes a part that [`push`] appended.
pub(crate) fn take_part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(take_array(rest)?));
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken.to_vec())
}

#[cfg(test)]
mod tests {
    use provider_core::key::BLOB_MAX_BYTES;

    use super::*;

    fn blob(text: Option<&str>) -> Blob {
        let bound = text.map(|text| {
            let binding = Binding::parse(text).unwrap();
            let value = vec![9; binding.bank.value_bytes()];
            Bound { values: vec![value; binding.pcrs.len()], binding }
        });
        let purpose = Purpose {
            usage: Usage::Mac,
            algorithm: Algorithm::HmacSha256,
            id: KeyId([3; 16]),
            bound,
        };
        let (parent, public, private) = (vec![1; 34], vec![2; 48], vec![3; 158]);
        Blob { purpose, parent, public, private, wrapped: None }
    }

    fn aead(text: Option<&str>) -> Blob {
        let mut blob = blob(text);
        blob.purpose.usage = Usage::Aead;
        blob.purpose.algorithm = Algorithm::Aes256Gcm;
        blob.wrapped = Some(Wrapped { salt: [5; SALT_BYTES], key: [6; WRAPPED_BYTES] });
        blob
    }

    fn check(blob: &Blob) {
        let bytes = blob.encode().unwrap();
        assert_eq!(&Blob::decode(&bytes).unwrap(), blob);
        for length in 0..bytes.len() {
            assert!(Blob::decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Blob::decode(&longer).is_err());
    }

    #[test]
    fn unbound_key_returns_and_no_prefix_decodes() {
        check(&blob(None));
    }

    #[test]
    fn bound_key_returns_and_no_prefix_decodes() {
        check(&blob(Some("sha256:7,11")));
    }

    #[test]
    fn aead_key_returns_and_no_prefix_decodes() {
        check(&aead(None));
    }

    #[test]
    fn bound_aead_key_is_refused() {
        assert!(Blob::decode(&aead(Some("sha256:7")).encode().unwrap()).is_err());
    }

    #[test]
    fn rsa_key_of_either_length_returns() {
        for algorithm in [Algorithm::Rsa2048, Algorithm::Rsa4096] {
            let mut rsa = blob(None);
            rsa.purpose.usage = Usage::Rsa;
            rsa.purpose.algorithm = algorithm;
            check(&rsa);
        }
    }

    #[test]
    fn largest_binding_fits_a_blob() {
        let all: Vec<_> = (0..24).map(|pcr: u8| pcr.to_string()).collect();
        let largest = blob(Some(&format!("sha512:{}", all.join(","))));
        check(&largest);
        assert!(largest.encode().unwrap().len() < BLOB_MAX_BYTES);
    }

    #[test]
    fn usage_with_another_algorithm_is_refused() {
        let mut bytes = blob(None).encode().unwrap();
        bytes[6] = 2;
        assert!(Blob::decode(&bytes).is_err());
    }

    #[test]
    fn policy_differs_by_usage_and_id_and_value() {
        let mac = blob(None).purpose;
        let seal = Purpose { usage: Usage::Seal, ..mac.clone() };
        let other = Purpose { id: KeyId([4; 16]), ..mac.clone() };
        let mut bound = blob(Some("sha256:7")).purpose;
        let at_creation = bound.policy();
        bound.bound.as_mut().unwrap().values[0][0] ^= 1;
        let all = [mac.policy(), seal.policy(), other.policy(), at_creation, bound.policy()];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{index}");
        }
    }
}

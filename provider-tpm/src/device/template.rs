//! The public areas that we ask for, and the check of those we find (TPM 2.0 Part 2, 12.2).

use provider_core::{Algorithm, Usage};
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Digest, EccParameter, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme,
    KeyedHashScheme, Public, PublicEccParameters, PublicKeyRsa, PublicKeyedHashParameters,
    PublicRsaParameters, RsaExponent, RsaScheme, SymmetricDefinitionObject,
};

use super::{Outcome, fault};
use crate::blob::Purpose;

/// The storage root key: ECC P-256, AES-128-CFB (TCG TPM v2.0 Provisioning Guidance, 7.5.1, with
/// the unique field of TCG EK Credential Profile template H-2: zeros of the size of the curve).
pub(super) fn srk() -> Outcome<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()
        .map_err(fault)?;
    let zeros = || EccParameter::try_from(vec![0; 32]).map_err(fault);
    ecc(attributes, &[], SymmetricDefinitionObject::AES_128_CFB, EccScheme::Null)
        .with_ecc_unique_identifier(EccPoint::new(zeros()?, zeros()?))
        .build()
        .map_err(fault)
}

/// Whether a public area is one of [`srk`], whatever its point.
pub(super) fn is_srk(public: &Public) -> Outcome<bool> {
    Ok(without_unique(public) == without_unique(&srk()?))
}

/// The public area of a key of ours. `generated` says that the TPM makes the secret part.
///
/// The authorization value is empty. A random one would have to lie in the blob beside the
/// wrapped key, so whoever has the blob would have it; and with noDA, which keeps the lockout
/// caused by others' objects away from ours, the TPM would not limit guesses. On the bus the
/// salted session authenticates the command without it.
///
/// An imported sign key is not fixed to TPM and parent, because TPM2_Import takes no key that says
/// so (TPM 2.0 Part 3, 13.3). It leaves the TPM no more than another: TPM2_Duplicate (13.1) is
/// authorized by nothing but a policy that names this command, and ours never does.
pub(super) fn key(purpose: &Purpose, generated: bool) -> Outcome<Public> {
    let fixed = generated || purpose.usage != Usage::Sign;
    let decrypts = purpose.usage == Usage::Rsa;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(fixed)
        .with_fixed_parent(fixed)
        .with_sensitive_data_origin(generated)
        // Clear on a bound key: then nothing but the policy authorizes its use.
        .with_user_with_auth(purpose.bound.is_none())
        .with_no_da(true)
        .with_decrypt(decrypts)
        .with_sign_encrypt(!decrypts)
        .build()
        .map_err(fault)?;
    let policy = purpose.policy();
    match purpose.algorithm {
        // An aead key is wrapped by an HMAC key.
        Algorithm::HmacSha256 | Algorithm::Aes256Gcm => Public::builder()
            .with_public_algorithm(PublicAlgorithm::KeyedHash)
            .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
            .with_object_attributes(attributes)
            .with_auth_policy(Digest::try_from(&policy[..]).map_err(fault)?)
            .with_keyed_hash_parameters(PublicKeyedHashParameters::new(
                KeyedHashScheme::HMAC_SHA_256,
            ))
            .with_keyed_hash_unique_identifier(Digest::default())
            .build(),
        Algorithm::EcdsaP256 => {
            let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
            ecc(attributes, &policy, SymmetricDefinitionObject::Null, scheme)
                .with_ecc_unique_identifier(EccPoint::default())
                .build()
        }
        Algorithm::Rsa2048 => rsa_key(attributes, &policy, RsaKeyBits::Rsa2048)?.build(),
        Algorithm::Rsa4096 => rsa_key(attributes, &policy, RsaKeyBits::Rsa4096)?.build(),
    }
    .map_err(fault)
}

/// Whether a public area is the one that [`key`] asks for, whatever its unique field, and of a key
/// that was generated or may have been imported.
pub(super) fn is_key(public: &Public, purpose: &Purpose) -> Outcome<bool> {
    let generated = public.object_attributes().sensitive_data_origin();
    let may_be = generated || matches!(purpose.usage, Usage::Mac | Usage::Sign);
    Ok(may_be && without_unique(public) == without_unique(&key(purpose, generated)?))
}

/// No scheme of its own, so that the bare operation is what it does; the exponent 65,537, which is
/// the one that 0 stands for (TPM 2.0 Part 2, 12.2.3.5).
pub(super) const fn rsa(bits: RsaKeyBits) -> PublicRsaParameters {
    let (cipher, scheme) = (SymmetricDefinitionObject::Null, RsaScheme::Null);
    PublicRsaParameters::new(cipher, scheme, bits, RsaExponent::ZERO_EXPONENT)
}

fn rsa_key(
    attributes: ObjectAttributes,
    policy: &[u8],
    bits: RsaKeyBits,
) -> Outcome<tss_esapi::structures::PublicBuilder> {
    Ok(Public::builder()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(Digest::try_from(policy).map_err(fault)?)
        .with_rsa_parameters(rsa(bits))
        .with_rsa_unique_identifier(PublicKeyRsa::default()))
}

fn ecc(
    attributes: ObjectAttributes,
    policy: &[u8],
    cipher: SymmetricDefinitionObject,
    scheme: EccScheme,
) -> tss_esapi::structures::PublicBuilder {
    Public::builder()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(Digest::try_from(policy).unwrap_or_default())
        .with_ecc_parameters(PublicEccParameters::new(
            cipher,
            scheme,
            EccCurve::NistP256,
            KeyDerivationFunctionScheme::Null,
        ))
}

fn without_unique(public: &Public) -> Public {
    let mut public = public.clone();
    match &mut public {
        Public::KeyedHash { unique, .. } | Public::SymCipher { unique, .. } => {
            *unique = Digest::default();
        }
        Public::Ecc { unique, .. } => *unique = EccPoint::default(),
        Public::Rsa { unique, .. } => *unique = PublicKeyRsa::default(),
    }
    public
}

#[cfg(test)]
mod tests {
    use provider_core::KeyId;

    use super::*;

    /// Whether keys of a usage are known, generated and imported ones.
    fn check(usage: Usage, generated: bool, imported: bool) {
        let (algorithm, id) = (usage.default_algorithm(), KeyId([1; 16]));
        let purpose = Purpose { usage, algorithm, id, bound: None };
        for (by_tpm, expected) in [(true, generated), (false, imported)] {
            let public = key(&purpose, by_tpm).unwrap();
            assert_eq!(is_key(&public, &purpose).unwrap(), expected, "{usage:?} {by_tpm}");
        }
    }

    #[test]
    fn keys_that_may_be_imported_are_known_either_way() {
        check(Usage::Mac, true, true);
        check(Usage::Sign, true, true);
    }

    #[test]
    fn keys_that_are_never_imported_are_known_when_generated() {
        check(Usage::Seal, true, false);
        check(Usage::Aead, true, false);
        check(Usage::Rsa, true, false);
    }

    #[test]
    fn key_of_another_usage_or_length_is_not_known() {
        let purpose = |usage: Usage, algorithm| {
            assert!(usage.has(algorithm));
            Purpose { usage, algorithm, id: KeyId([1; 16]), bound: None }
        };
        let seal = purpose(Usage::Seal, Algorithm::HmacSha256);
        let aead = purpose(Usage::Aead, Algorithm::Aes256Gcm);
        let short = purpose(Usage::Rsa, Algorithm::Rsa2048);
        let long = purpose(Usage::Rsa, Algorithm::Rsa4096);
        for (one, other) in [(&seal, &aead), (&aead, &seal), (&short, &long), (&long, &short)] {
            assert!(!is_key(&key(one, true).unwrap(), other).unwrap(), "{one:?}");
        }
    }
}

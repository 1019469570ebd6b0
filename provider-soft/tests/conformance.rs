//! The whole provider contract against the software provider.
#![expect(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "an integration test")]

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use provider_core::conformance::{self, Setup};
use provider_core::{SecretBytes, Secrets, Settings};

fn root(byte: u8) -> (Settings, Secrets) {
    (Settings::default(), Secrets::new([("root", SecretBytes::copy_of(&[byte; 32]))]))
}

fn verify(point: &[u8; 65], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
    key.verify_digest_sig(&digest, signature).is_ok()
}

fn verify_rsa(modulus: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKeyComponents { n: modulus, e: &[1, 0, 1] };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
}

#[test]
#[expect(unsafe_code, reason = "the kit calls through the C table")]
fn soft_provider_keeps_the_contract() {
    let setup = Setup {
        entry: provider_soft::sealhost_provider,
        device: &|| root(1),
        other_device: &|| root(2),
        verify: &verify,
        verify_rsa: &verify_rsa,
    };
    // SAFETY: the entry is that of the crate under test, made by the export macro.
    let outcome = unsafe { conformance::run(&setup) };
    assert_eq!(outcome, Ok(()));
}

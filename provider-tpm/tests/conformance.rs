//! The whole provider contract against the TPM provider on real emulators.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use provider_core::conformance::{self, Setup};
use provider_core::{Secrets, Settings};
use swtpm_fixtures::Swtpm;

/// Persists each key from its second use on.
const PERSISTING: [(&str, &str); 3] =
    [("persist_keys", "0x81020000-0x81020003"), ("persist_after", "2"), ("persist_interval", "0")];

fn at(swtpm: &Swtpm, more: &[(&str, &str)]) -> (Settings, Secrets) {
    let tcti = swtpm.tcti();
    let entries = more.iter().copied().chain([("tcti", &tcti[..])]);
    (Settings::new(entries), Secrets::default())
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

#[expect(unsafe_code, reason = "the kit calls through the C table")]
fn check(settings: &[(&str, &str)]) {
    let (device, other) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
    let setup = Setup {
        entry: provider_tpm::sealhost_provider,
        device: &|| at(&device, settings),
        other_device: &|| at(&other, settings),
        verify: &verify,
        verify_rsa: &verify_rsa,
    };
    // SAFETY: the entry is that of the crate under test, made by the export macro.
    let outcome = unsafe { conformance::run(&setup) };
    assert_eq!(outcome, Ok(()));
}

#[test]
fn tpm_provider_keeps_the_contract() {
    check(&[]);
}

#[test]
fn tpm_provider_that_persists_keys_keeps_the_contract() {
    check(&PERSISTING);
}

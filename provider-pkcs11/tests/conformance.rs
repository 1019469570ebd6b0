//! The whole provider contract against two real modules.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use bench::{PIN, hide, on_nss, on_softhsm, pin, settings};
use provider_core::conformance::{self, Setup};
use provider_core::{Secrets, Settings};
use swtpm_fixtures::SoftHsm;

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
fn check(device: &dyn Fn() -> (Settings, Secrets), other_device: &dyn Fn() -> (Settings, Secrets)) {
    let entry = provider_pkcs11::sealhost_provider;
    let setup = Setup { entry, device, other_device, verify: &verify, verify_rsa: &verify_rsa };
    // SAFETY: the entry is that of the crate under test, made by the export macro.
    let outcome = unsafe { conformance::run(&setup) };
    assert_eq!(outcome, Ok(()));
}

fn check_softhsm(hsm: &SoftHsm, hidden: &[&str]) {
    hidden.iter().for_each(|mechanism| hide(hsm, mechanism));
    hsm.add_token("other", PIN).unwrap();
    let other = || {
        let module = ("module", hsm.module_path());
        (Settings::new([module, ("token", "pkcs11:token=other")]), pin(PIN))
    };
    check(&|| (settings(hsm), pin(PIN)), &other);
}

#[test]
fn contract_holds_on_softhsm() {
    on_softhsm(|hsm| check_softhsm(hsm, &[]));
}

#[test]
fn contract_holds_on_softhsm_without_gcm() {
    on_softhsm(|hsm| check_softhsm(hsm, &["CKM_AES_GCM"]));
}

#[test]
fn contract_holds_on_nss() {
    on_nss(|module, init_args| {
        let token = |name| {
            let entries = [("module", module), ("token", name), ("init_args", init_args)];
            (Settings::new(entries), Secrets::default())
        };
        check(&|| token("pkcs11:token=first"), &|| token("pkcs11:token=second"));
    });
}

//! Imported sign keys.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use provider_core::{Capabilities, ErrorKind, KeyRef, Provider, Result, SecretBytes, Usage};
use provider_tpm::TpmProvider;
use tss_esapi::Context;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind as RefusedBy;
use tss_esapi::constants::{CommandCode, SessionType};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Auth, SymmetricDefinition, SymmetricDefinitionObject};

use crate::support::{Bench, Key, check, loaded, open, spec};

/// RFC 6979, A.2.5: a private number of P-256 and its point.
const NUMBER: [u8; 32] =
    *b"\xC9\xAF\xA9\xD8\x45\xBA\x75\x16\x6B\x5C\x21\x57\x67\xB1\xD6\x93\x4E\x50\xC3\xDB\x36\xE8\x9B\x12\x7B\x8A\x62\x2B\x12\x0F\x67\x21";
const POINT: [u8; 65] =
    *b"\x04\x60\xFE\xD4\xBA\x25\x5A\x9D\x31\xC9\x61\xEB\x74\xC6\x35\x6D\x68\xC0\x49\xB8\x92\x3B\x61\xFA\x6C\xE6\x69\x62\x2E\x60\xF2\x9F\xB6\x79\x03\xFE\x10\x08\xB8\xBC\x99\xA4\x1A\xE9\xE9\x56\x28\xBC\x64\xF2\xF1\xB2\x0C\x2D\x7E\x9F\x51\x77\xA3\xC2\x94\xD4\x46\x22\x99";
/// The order of P-256 (SP 800-186, 3.2.1.3).
const ORDER: [u8; 32] =
    *b"\xFF\xFF\xFF\xFF\x00\x00\x00\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xBC\xE6\xFA\xAD\xA7\x17\x9E\x84\xF3\xB9\xCA\xC2\xFC\x63\x25\x51";

fn import(provider: &TpmProvider, number: &[u8]) -> Result<Key> {
    Key::import(provider, Usage::Sign, &SecretBytes::copy_of(number))
}

fn check_signature(provider: &TpmProvider, key: &Key) {
    let point = provider.public_key(key.key_ref()).unwrap().0;
    let signature = provider.sign(key.key_ref(), &[7; 32]).unwrap().0;
    let digest = Digest::import_less_safe(&[7; 32], &SHA256).unwrap();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
    public.verify_digest_sig(&digest, &signature).unwrap();
}

#[test]
fn imported_number_signs_under_its_point() {
    for settings in [&[][..], &[("session_encryption", "false")], &[("persist_srk", "true")]] {
        let bench = Bench::new();
        let (provider, identity) = open(&bench.swtpm.tcti(), settings, None).unwrap();
        assert!(provider.info().capabilities.contains(Capabilities::IMPORT_SIGN));
        let key = import(&provider, &NUMBER).unwrap();
        assert_eq!(provider.public_key(key.key_ref()).unwrap().0, POINT);
        check_signature(&provider, &key);
        let (later, _) = open(&bench.swtpm.tcti(), settings, Some(&identity)).unwrap();
        check_signature(&later, &key);
    }
}

#[test]
fn numbers_at_the_ends_of_the_range_pass_and_past_them_are_invalid() {
    let bench = Bench::new();
    let mut one = [0; 32];
    one[31] = 1;
    let mut last = ORDER;
    last[31] -= 1;
    for number in [one, last] {
        check_signature(&bench.provider, &import(&bench.provider, &number).unwrap());
    }
    for number in [&[0; 32][..], &ORDER, &[0xFF; 32], &[1; 31], &[1; 33], &[]] {
        check(import(&bench.provider, number), ErrorKind::InvalidParameter, "");
    }
}

#[test]
fn bound_import_signs_while_its_pcrs_stand() {
    let bench = Bench::new();
    let spec = spec(Usage::Sign, Some("sha256:7"));
    let blob = bench.provider.import(&spec, &SecretBytes::copy_of(&NUMBER)).unwrap().0;
    check_signature(&bench.provider, &Key { usage: Usage::Sign, id: spec.id, blob });
}

#[test]
fn each_flipped_byte_of_a_blob_is_refused_by_kind() {
    let bench = Bench::new();
    let key = import(&bench.provider, &NUMBER).unwrap();
    for position in 0..key.blob.len() {
        let mut blob = key.blob.clone();
        blob[position] ^= 1;
        let outcome = bench.provider.sign(KeyRef { blob: &blob, ..key.key_ref() }, &[7; 32]);
        let kind = outcome.err().unwrap().kind;
        let expected = [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
        assert!(expected.contains(&kind), "byte {position}: {kind:?}");
    }
}

#[test]
fn import_shows_in_its_attributes_and_cannot_be_duplicated() {
    let bench = Bench::new();
    let key = import(&bench.provider, &NUMBER).unwrap();
    check_signature(&bench.provider, &key);
    let mut tpm = bench.onlooker();
    let parent_and_key: (Vec<_>, Vec<_>) = loaded(&mut tpm)
        .into_iter()
        .partition(|key| tpm.read_public(*key).unwrap().0.object_attributes().restricted());
    let ([parent], [key]) = (&parent_and_key.0[..], &parent_and_key.1[..]) else {
        panic!("{parent_and_key:?}")
    };
    let attributes = tpm.read_public(*key).unwrap().0.object_attributes();
    assert!(!attributes.fixed_tpm() && !attributes.fixed_parent());
    assert!(!attributes.sensitive_data_origin() && attributes.no_da());
    // Whoever reaches the TPM and has the empty authorization value gets no copy out of it: the
    // TPM takes no authorization value for that, and no policy session reaches the key's digest.
    tpm.tr_set_auth((*key).into(), Auth::default()).unwrap();
    let policy = policy_session(&mut tpm);
    let (no_password, other_policy) = (RefusedBy::AuthType, RefusedBy::PolicyFail);
    for (session, expected) in [(AuthSession::Password, no_password), (policy, other_policy)] {
        let outcome = tpm.execute_with_session(Some(session), |tpm| {
            let none = SymmetricDefinitionObject::Null;
            tpm.duplicate((*key).into(), (*parent).into(), None, none)
        });
        let Err(tss_esapi::Error::Tss2Error(refused)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refused.kind(), Some(expected));
    }
}

/// A policy session that allows TPM2_Duplicate, as far as the key does.
fn policy_session(tpm: &mut Context) -> AuthSession {
    let (kind, cipher) = (SessionType::Policy, SymmetricDefinition::AES_128_CFB);
    let hash = HashingAlgorithm::Sha256;
    let session = tpm.start_auth_session(None, None, None, kind, cipher, hash).unwrap().unwrap();
    let policy = PolicySession::try_from(session).unwrap();
    tpm.policy_command_code(policy, CommandCode::Duplicate).unwrap();
    session
}

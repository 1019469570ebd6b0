//! Keys bound to PCRs.

use provider_core::key::SEAL_LABEL;
use provider_core::{ErrorKind, Provider, SecretBytes, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tss_esapi::Context;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, PcrHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, DigestValues, MaxBuffer, Public, SymmetricDefinition};

use crate::support::{Bench, Key, check, loaded, open, spec};

const HMAC: u32 = 0x155;
const RC_PCR_CHANGED: u32 = 0x128;
const RC_AUTH_UNAVAILABLE: &str = "0x12f";

fn extend(tpm: &mut Context, pcr: PcrHandle) {
    let mut values = DigestValues::new();
    values.set(HashingAlgorithm::Sha256, Digest::try_from(&[1; 32][..]).unwrap());
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| tpm.pcr_extend(pcr, values))
        .unwrap();
}

#[test]
fn bound_key_works_while_its_pcrs_stand() {
    let bench = Bench::new();
    for (usage, state) in [
        (Usage::Mac, "sha256:7,11"),
        (Usage::Seal, "sha1:0"),
        (Usage::Sign, "sha384:23"),
        (Usage::Rsa, "sha256:7"),
        (Usage::Mac, "sha512:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"),
    ] {
        let key = Key::generate(&bench.provider, usage, Some(state)).unwrap();
        extend(&mut bench.onlooker(), PcrHandle::Pcr12);
        for _ in 0..2 {
            match usage {
                Usage::Mac => drop(key.mac(&bench.provider).unwrap()),
                Usage::Seal => drop(bench.provider.mac(key.key_ref(), SEAL_LABEL).unwrap()),
                Usage::Sign => drop(bench.provider.sign(key.key_ref(), &[1; 32]).unwrap()),
                Usage::Rsa => {
                    drop(bench.provider.rsa_private(key.key_ref(), &[1; 256]).unwrap());
                }
                Usage::Aead => panic!("cannot be bound"),
            }
        }
    }
}

#[test]
fn aead_key_cannot_be_bound() {
    let bench = Bench::new();
    let outcome = Key::generate(&bench.provider, Usage::Aead, Some("sha256:7"));
    check(outcome, ErrorKind::Unsupported, "cannot be bound to PCRs");
    let secret = SecretBytes::copy_of(&[1; 32]);
    let outcome = bench.provider.import(&spec(Usage::Aead, Some("sha256:7")), &secret);
    check(outcome, ErrorKind::Unsupported, "cannot be bound to PCRs");
}

#[test]
fn changed_pcrs_are_a_mismatch_that_names_them() {
    let bench = Bench::new();
    let key = Key::generate(&bench.provider, Usage::Mac, Some("sha256:7,11,12")).unwrap();
    let other = Key::generate(&bench.provider, Usage::Mac, Some("sha256:8")).unwrap();
    key.mac(&bench.provider).unwrap();
    extend(&mut bench.onlooker(), PcrHandle::Pcr7);
    extend(&mut bench.onlooker(), PcrHandle::Pcr12);
    for _ in 0..2 {
        let words = "PCR 7, 12 of bank sha256 differ";
        check(key.mac(&bench.provider), ErrorKind::StateMismatch, words);
    }
    other.mac(&bench.provider).unwrap();
}

#[test]
fn state_that_returns_frees_the_key_again() {
    let mut bench = Bench::new();
    let key = Key::generate(&bench.provider, Usage::Mac, Some("sha256:7")).unwrap();
    let before = key.mac(&bench.provider).unwrap();
    extend(&mut bench.onlooker(), PcrHandle::Pcr7);
    check(key.mac(&bench.provider), ErrorKind::StateMismatch, "PCR 7 of");
    bench.swtpm.start_again().unwrap();
    assert_eq!(key.mac(&bench.provider).unwrap().expose(), before.expose());
}

#[test]
fn pcr_that_changes_in_between_is_tried_again() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let key = Key::generate(&provider, Usage::Mac, Some("sha256:7")).unwrap();
    key.mac(&provider).unwrap();
    proxy.answer_next(HMAC, RC_PCR_CHANGED, 2);
    key.mac(&provider).unwrap();
    proxy.answer_next(HMAC, RC_PCR_CHANGED, u32::MAX);
    check(key.mac(&provider), ErrorKind::StateMismatch, "TPM_RC_PCR_CHANGED");
}

#[test]
fn empty_password_does_not_open_a_bound_key() {
    let bench = Bench::new();
    let free = bench.key(Usage::Mac);
    let bound = Key::generate(&bench.provider, Usage::Mac, Some("sha256:7")).unwrap();
    free.mac(&bench.provider).unwrap();
    bound.mac(&bench.provider).unwrap();
    let mut tpm = bench.onlooker();
    let sha256 = HashingAlgorithm::Sha256;
    let cipher = SymmetricDefinition::AES_128_CFB;
    let session = tpm.start_auth_session(None, None, None, SessionType::Hmac, cipher, sha256);
    let sessions = [AuthSession::Password, session.unwrap().unwrap()];
    let (mut opened, mut refused) = (0, 0);
    for key in mac_keys(&mut tpm) {
        for session in sessions {
            let input = MaxBuffer::try_from(&b"message"[..]).unwrap();
            let mac = tpm.execute_with_session(Some(session), |tpm| {
                tpm.hmac(key.into(), input, HashingAlgorithm::Sha256)
            });
            match mac {
                Ok(_) => opened += 1,
                Err(tss_esapi::Error::Tss2Error(code)) => {
                    assert!(format!("{code:?}").contains("FormatZero"), "{code:?}");
                    let tss_esapi::constants::response_code::Tss2ResponseCode::FormatZero(code) =
                        code
                    else {
                        panic!("{code:?}")
                    };
                    assert!(code.to_string().ends_with(RC_AUTH_UNAVAILABLE), "{code}");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    // The unbound key shows that the attempt itself is sound.
    assert_eq!((opened, refused), (2, 2));
}

fn mac_keys(tpm: &mut Context) -> Vec<KeyHandle> {
    let keys = loaded(tpm).into_iter();
    keys.filter(|key| matches!(tpm.read_public(*key).unwrap().0, Public::KeyedHash { .. }))
        .collect()
}

#[test]
fn binding_that_is_not_canonical_is_invalid() {
    let bench = Bench::new();
    for state in ["sha256:11,7", "sha256:24", "7", "sha256:07"] {
        let made = Key::generate(&bench.provider, Usage::Mac, Some(state));
        check(made, ErrorKind::InvalidParameter, "");
    }
}

#[test]
fn bank_that_the_tpm_does_not_keep_is_unsupported() {
    let mut swtpm = Swtpm::start().unwrap();
    keep_only_sha256(&mut swtpm);
    let (provider, _) = open(&swtpm.tcti(), &[], None).unwrap();
    Key::generate(&provider, Usage::Mac, Some("sha256:7")).unwrap();
    let made = Key::generate(&provider, Usage::Mac, Some("sha1:7"));
    check(made, ErrorKind::Unsupported, "the TPM does not keep all of sha1:7");
}

/// TPM2_PCR_Allocate (Part 3, 22.5), by hand because the library has it not; then a reset.
fn keep_only_sha256(swtpm: &mut Swtpm) {
    use std::io::{Read, Write};
    let mut command = vec![0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x2B];
    command.extend(0x4000_000C_u32.to_be_bytes());
    command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend(4_u32.to_be_bytes());
    for (hash, pcrs) in [(4_u16, 0), (11, 0xFF), (12, 0), (13, 0)] {
        command.extend(hash.to_be_bytes());
        command.extend([3, pcrs, pcrs, pcrs]);
    }
    command[5] = u8::try_from(command.len()).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", swtpm.port())).unwrap();
    stream.write_all(&command).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[6..], [0; 4]);
    drop(stream);
    swtpm.start_again().unwrap();
}

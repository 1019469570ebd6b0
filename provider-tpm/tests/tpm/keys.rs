//! What kind of objects keys are, how many work at once, and what edits of a blob do.

use provider_core::{ErrorKind, KeyRef, Provider, SecretBytes, Usage};

use crate::support::{Bench, Key, check, loaded, loaded_count};

#[test]
fn twenty_keys_work_on_three_slots() {
    let bench = Bench::new();
    let keys: Vec<_> = (0..20).map(|_| bench.key(Usage::Mac)).collect();
    let macs = |order: &mut dyn Iterator<Item = &Key>| -> Vec<_> {
        order.map(|key| key.mac(&bench.provider).unwrap().expose().to_vec()).collect()
    };
    let first = macs(&mut keys.iter());
    let mut backwards = macs(&mut keys.iter().rev());
    backwards.reverse();
    assert_eq!(first, backwards);
    let mut distinct = first;
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn keys_are_fixed_to_this_tpm_and_parent() {
    let bench = Bench::new();
    let (mac, sign) = (bench.key(Usage::Mac), bench.key(Usage::Sign));
    mac.mac(&bench.provider).unwrap();
    bench.provider.sign(sign.key_ref(), &[1; 32]).unwrap();
    let mut tpm = bench.onlooker();
    let keys: Vec<_> = loaded(&mut tpm)
        .into_iter()
        .map(|key| tpm.read_public(key).unwrap().0.object_attributes())
        .filter(|attributes| attributes.sign_encrypt())
        .collect();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert!(key.fixed_tpm() && key.fixed_parent() && key.no_da());
        assert!(key.sensitive_data_origin() && key.user_with_auth());
        assert!(!key.restricted() && !key.decrypt() && !key.encrypted_duplication());
    }
}

#[test]
fn imported_key_does_not_claim_to_be_made_by_the_tpm() {
    let bench = Bench::new();
    let key = Key::import(&bench.provider, Usage::Mac, &SecretBytes::copy_of(b"key")).unwrap();
    key.mac(&bench.provider).unwrap();
    let mut tpm = bench.onlooker();
    let keys: Vec<_> = loaded(&mut tpm)
        .into_iter()
        .map(|key| tpm.read_public(key).unwrap().0.object_attributes())
        .filter(|attributes| attributes.sign_encrypt())
        .collect();
    assert_eq!(keys.len(), 1);
    assert!(keys.iter().all(|key| key.fixed_tpm() && !key.sensitive_data_origin()));
}

#[test]
fn destroyed_key_is_no_longer_loaded() {
    let bench = Bench::new();
    let key = bench.key(Usage::Mac);
    key.mac(&bench.provider).unwrap();
    let before = loaded_count(&bench.swtpm);
    bench.provider.destroy(key.key_ref()).unwrap();
    assert_eq!(loaded_count(&bench.swtpm), before - 1);
}

#[test]
fn self_test_leaves_nothing_loaded() {
    let bench = Bench::new();
    let before = loaded_count(&bench.swtpm);
    bench.provider.self_test().unwrap();
    assert_eq!(loaded_count(&bench.swtpm), before);
}

#[test]
fn usage_edited_in_blob_and_call_alike_is_refused() {
    let bench = Bench::new();
    let mac = bench.key(Usage::Mac);
    let mut blob = mac.blob.clone();
    blob[5] = 1;
    let seal = KeyRef { usage: Usage::Seal, id: mac.id, blob: &blob };
    let labeled = provider_core::key::SEAL_LABEL;
    check(bench.provider.mac(seal, labeled), ErrorKind::Integrity, "altered");
}

#[test]
fn id_edited_in_blob_and_call_alike_is_refused() {
    let bench = Bench::new();
    let mac = bench.key(Usage::Mac);
    let mut blob = mac.blob.clone();
    blob[7] ^= 1;
    let mut id = mac.id;
    id.0[0] ^= 1;
    let edited = KeyRef { usage: Usage::Mac, id, blob: &blob };
    check(bench.provider.mac(edited, b"message"), ErrorKind::Integrity, "altered");
}

#[test]
fn each_flipped_byte_of_a_blob_is_refused_by_kind() {
    let bench = Bench::new();
    for key in [
        bench.key(Usage::Mac),
        Key::generate(&bench.provider, Usage::Mac, Some("sha256:7,11")).unwrap(),
    ] {
        for position in 0..key.blob.len() {
            let mut blob = key.blob.clone();
            blob[position] ^= 1;
            let error = bench.provider.mac(KeyRef { blob: &blob, ..key.key_ref() }, b"message");
            let kind = error.err().unwrap().kind;
            let expected =
                [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
            assert!(expected.contains(&kind), "byte {position}: {kind:?}");
        }
        key.mac(&bench.provider).unwrap();
    }
}

#[test]
fn private_part_of_another_key_is_integrity() {
    let bench = Bench::new();
    let (one, two) = (bench.key(Usage::Mac), bench.key(Usage::Mac));
    // The private part is the last, and both keys have parts of one length.
    let half = one.blob.len() - 100;
    let mixed = [&one.blob[..half], &two.blob[half..]].concat();
    let mixed = KeyRef { blob: &mixed, ..one.key_ref() };
    check(bench.provider.mac(mixed, b"message"), ErrorKind::Integrity, "TPM_RC_INTEGRITY");
}

#[test]
fn key_of_another_tpm_is_wrong_device() {
    let (bench, other) = (Bench::new(), Bench::new());
    let key = other.key(Usage::Mac);
    check(key.mac(&bench.provider), ErrorKind::WrongDevice, "made by another TPM");
}

//! The storage root key: which one is used, and what is left in the TPM.

use std::mem::ManuallyDrop;

use provider_core::{ErrorKind, Provider, Usage};
use swtpm_fixtures::Swtpm;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::PersistentTpmHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Public, RsaExponent, SymmetricDefinition, SymmetricDefinitionObject};
use tss_esapi::utils::create_restricted_decryption_rsa_public;

use crate::support::{Key, check, connect, handles, loaded_count, open};

fn persistent_count(swtpm: &Swtpm) -> usize {
    handles(&mut connect(swtpm), 0x8100_0000).len()
}

/// Puts an RSA storage key where the SRK belongs.
fn occupy(swtpm: &Swtpm) {
    let mut tpm = connect(swtpm);
    let public: Public = create_restricted_decryption_rsa_public(
        SymmetricDefinitionObject::AES_128_CFB,
        tss_esapi::interface_types::key_bits::RsaKeyBits::Rsa2048,
        RsaExponent::default(),
    )
    .unwrap();
    tpm.set_sessions((Some(AuthSession::Password), None, None));
    let key = tpm.create_primary(Hierarchy::Owner, public, None, None, None, None).unwrap();
    let place = PersistentTpmHandle::new(0x8100_0001).unwrap();
    tpm.evict_control(Provision::Owner, key.key_handle.into(), place.into()).unwrap();
    tpm.clear_sessions();
}

#[test]
fn nothing_persistent_is_made_unasked() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[], None).unwrap();
    Key::generate(&provider, Usage::Mac, None).unwrap();
    assert_eq!(persistent_count(&swtpm), 0);
}

#[test]
fn persisted_key_is_the_same_and_keys_outlive_the_change() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, identity) = open(&swtpm.tcti(), &[], None).unwrap();
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    let before = key.mac(&provider).unwrap();
    drop(provider);
    for _ in 0..2 {
        let settings = [("persist_srk", "true")];
        let (provider, again) = open(&swtpm.tcti(), &settings, Some(&identity)).unwrap();
        assert_eq!(again, identity);
        assert_eq!(key.mac(&provider).unwrap().expose(), before.expose());
        assert_eq!(provider.info().notes, "");
        assert_eq!(persistent_count(&swtpm), 1);
        // The parent takes no slot of its own.
        assert_eq!(loaded_count(&swtpm), 1);
    }
    let (provider, again) = open(&swtpm.tcti(), &[], None).unwrap();
    assert_eq!(again, identity);
    let keys: Vec<_> =
        (0..5).map(|_| Key::generate(&provider, Usage::Mac, None).unwrap()).collect();
    keys.iter().chain(&keys).for_each(|key| drop(key.mac(&provider).unwrap()));
}

#[test]
fn foreign_key_at_the_place_is_left_alone_and_said() {
    let swtpm = Swtpm::start().unwrap();
    occupy(&swtpm);
    let (provider, identity) = open(&swtpm.tcti(), &[("persist_srk", "true")], None).unwrap();
    assert!(provider.info().notes.contains("another key is at 0x81000001"));
    Key::generate(&provider, Usage::Mac, None).unwrap().mac(&provider).unwrap();
    assert_eq!(persistent_count(&swtpm), 1);
    open(&swtpm.tcti(), &[], Some(&identity)).unwrap();
}

#[test]
fn owner_password_is_an_authorization_error_with_advice() {
    let swtpm = Swtpm::start().unwrap();
    let mut tpm = connect(&swtpm);
    let password = tss_esapi::structures::Auth::try_from(&b"owner"[..]).unwrap();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        tpm.hierarchy_change_auth(tss_esapi::handles::AuthHandle::Owner, password)
    })
    .unwrap();
    drop(tpm);
    let opened = open(&swtpm.tcti(), &[], None);
    check(opened, ErrorKind::DeviceAuth, "persist a storage key at 0x81000001");
}

#[test]
fn sessions_and_objects_that_others_left_do_not_stop_us() {
    let swtpm = Swtpm::start().unwrap();
    for kind in [SessionType::Hmac, SessionType::Policy, SessionType::Hmac] {
        let mut tpm = connect(&swtpm);
        let sha256 = HashingAlgorithm::Sha256;
        tpm.start_auth_session(None, None, None, kind, SymmetricDefinition::AES_128_CFB, sha256)
            .unwrap();
        // A program that is killed flushes nothing.
        let _ = ManuallyDrop::new(tpm);
    }
    for _ in 0..2 {
        let (provider, _) = open(&swtpm.tcti(), &[], None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, Some("sha256:7")).unwrap();
        key.mac(&provider).unwrap();
        let _ = ManuallyDrop::new(provider);
    }
}

#[test]
fn closed_provider_leaves_nothing_loaded() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[], None).unwrap();
    Key::generate(&provider, Usage::Mac, None).unwrap().mac(&provider).unwrap();
    drop(provider);
    assert_eq!(loaded_count(&swtpm), 0);
}

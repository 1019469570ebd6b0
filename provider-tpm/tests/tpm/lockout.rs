//! A TPM in dictionary-attack lockout, brought there by somebody else's object.

use provider_core::{ErrorKind, Provider, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::NvIndexTpmHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, NvPublicBuilder};

use crate::support::{Bench, Key, check, connect, open};

const HMAC: u32 = 0x155;
const RC_LOCKOUT: u32 = 0x921;

/// Reads an index with a wrong password until the TPM refuses every further attempt.
fn lock(swtpm: &Swtpm) {
    let mut tpm = connect(swtpm);
    tpm.set_sessions((Some(AuthSession::Password), None, None));
    let attributes =
        NvIndexAttributesBuilder::new().with_auth_read(true).with_auth_write(true).build().unwrap();
    let public = NvPublicBuilder::new()
        .with_nv_index(NvIndexTpmHandle::new(0x0150_0001).unwrap())
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes)
        .with_data_area_size(8)
        .build()
        .unwrap();
    let right = Auth::try_from(&b"right"[..]).unwrap();
    let index = tpm.nv_define_space(Provision::Owner, Some(right), public).unwrap();
    tpm.tr_set_auth(index.into(), Auth::try_from(&b"wrong"[..]).unwrap()).unwrap();
    for _ in 0..64 {
        let error = tpm.nv_read(NvAuth::NvIndex(index), index, 8, 0).unwrap_err();
        if format!("{error}").contains("lockout") {
            return;
        }
    }
    panic!("the TPM does not lock");
}

#[test]
fn lockout_by_another_does_not_stop_our_keys() {
    let bench = Bench::new();
    let key = bench.key(Usage::Mac);
    let before = key.mac(&bench.provider).unwrap();
    lock(&bench.swtpm);
    assert_eq!(key.mac(&bench.provider).unwrap().expose(), before.expose());
    bench.key(Usage::Sign);
    Key::generate(&bench.provider, Usage::Mac, Some("sha256:7"))
        .unwrap()
        .mac(&bench.provider)
        .unwrap();
    let (again, _) = open(&bench.swtpm.tcti(), &[], Some(&bench.identity)).unwrap();
    again.self_test().unwrap();
    assert_eq!(key.mac(&again).unwrap().expose(), before.expose());
}

#[test]
fn lockout_is_reported_with_its_seconds() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    lock(&swtpm);
    proxy.answer_next(HMAC, RC_LOCKOUT, 1);
    // swtpm starts with 3 tries and 1000 seconds for each to come back.
    let words = "TPM_RC_LOCKOUT (0x921): 3 failed authorizations of a limit of 3, over after at \
                 most 1000 seconds";
    check(key.mac(&provider), ErrorKind::LockedOut, words);
    key.mac(&provider).unwrap();
}

//! A TPM in dictionary-attack lockout, brought there by somebody else's object.

use std::cell::RefCell;
use std::time::Duration;

use provider_core::{ErrorKind, Provider, Standing, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tss_esapi::Context;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, NvPublicBuilder};

use crate::support::{Bench, Key, check, connect, open};

const GET_CAPABILITY: u32 = 0x17A;
const HMAC: u32 = 0x155;
const RC_LOCKOUT: u32 = 0x921;

/// An index that is not ours and counts for lockout.
struct Foreign {
    tpm: RefCell<Context>,
    index: NvIndexHandle,
}

impl Foreign {
    fn define(swtpm: &Swtpm) -> Self {
        let mut tpm = connect(swtpm);
        tpm.set_sessions((Some(AuthSession::Password), None, None));
        let attributes = NvIndexAttributesBuilder::new().with_auth_read(true).with_auth_write(true);
        let public = NvPublicBuilder::new()
            .with_nv_index(NvIndexTpmHandle::new(0x0150_0001).unwrap())
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes.build().unwrap())
            .with_data_area_size(8)
            .build()
            .unwrap();
        let right = Auth::try_from(&b"right"[..]).unwrap();
        let index = tpm.nv_define_space(Provision::Owner, Some(right), public).unwrap();
        tpm.tr_set_auth(index.into(), Auth::try_from(&b"wrong"[..]).unwrap()).unwrap();
        Self { tpm: RefCell::new(tpm), index }
    }

    /// Reads it with a wrong password, and returns what the TPM said.
    fn guess_wrong(&self) -> String {
        let index = self.index;
        let read = self.tpm.borrow_mut().nv_read(NvAuth::NvIndex(index), index, 8, 0);
        read.unwrap_err().to_string()
    }
}

/// Reads an index with a wrong password until the TPM refuses every further attempt.
fn lock(swtpm: &Swtpm) {
    let foreign = Foreign::define(swtpm);
    let locked = (0..64).any(|_| foreign.guess_wrong().contains("lockout"));
    assert!(locked, "the TPM does not lock");
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
fn condition_shows_the_lockout_coming() {
    let bench = Bench::new();
    let condition = || bench.provider.condition().unwrap();
    let before = condition();
    assert_eq!((before.standing, before.auth_failures), (Standing::Calm, Some(0)));
    assert_eq!(before.recovery, Some(Duration::from_secs(1000)));
    assert_eq!(before.auth_failures_max, Some(3));
    let foreign = Foreign::define(&bench.swtpm);
    for (failures, standing) in
        [(1, Standing::TriesUsed), (2, Standing::LastTry), (3, Standing::Locked)]
    {
        foreign.guess_wrong();
        let seen = condition();
        assert_eq!((seen.standing, seen.auth_failures), (standing, Some(failures)));
        assert_eq!(seen.notes.contains("clear-lockout"), standing == Standing::Locked);
    }
}

#[test]
fn condition_takes_two_commands_and_no_authorization() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    proxy.reset();
    provider.condition().unwrap();
    assert_eq!(proxy.counts().into_iter().collect::<Vec<_>>(), [(GET_CAPABILITY, 2)]);
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

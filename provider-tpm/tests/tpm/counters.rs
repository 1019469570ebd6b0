//! Counters: what they cost, what they survive, and what is not taken for one.

use provider_core::{Capabilities, CounterRef, ErrorKind, KeyBlob, KeyId, Provider};
use provider_tpm::TpmProvider;
use swtpm_fixtures::{CommandCounter, Swtpm};
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::nv_index_type::NvIndexType;
use tss_esapi::handles::{AuthHandle, NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, NvPublic};

use crate::support::{Bench, check, connect, handles, open};

const FIRST: u32 = 0x0182_0000;
const NV_INCREMENT: u32 = 0x134;
const NV_READ: u32 = 0x14E;
const NV_DEFINE_SPACE: u32 = 0x12A;
const RC_NV_SPACE: u32 = 0x14B;
const RC_NV_RATE: u32 = 0x920;
const RC_REFERENCE_H0: u32 = 0x910;

struct Counter {
    id: KeyId,
    blob: Vec<u8>,
    first: u64,
}

impl Counter {
    fn create(provider: &TpmProvider, id: u8) -> Self {
        let id = KeyId([id; 16]);
        let (KeyBlob(blob), first) = provider.counter_create(id).unwrap();
        Self { id, blob, first }
    }

    fn as_ref(&self) -> CounterRef<'_> {
        CounterRef { id: self.id, blob: &self.blob }
    }

    fn increment(&self, provider: &TpmProvider) -> u64 {
        provider.counter_increment(self.as_ref()).unwrap()
    }

    fn read(&self, provider: &TpmProvider) -> u64 {
        provider.counter_read(self.as_ref()).unwrap()
    }
}

/// The NV indices of the owner.
fn indices(swtpm: &Swtpm) -> Vec<u32> {
    handles(&mut connect(swtpm), 0x0180_0000).into_iter().map(u32::from).collect()
}

fn undefine(swtpm: &Swtpm, index: u32) {
    let mut tpm = connect(swtpm);
    let handle = TpmHandle::from(NvIndexTpmHandle::new(index).unwrap());
    let handle = NvIndexHandle::from(tpm.tr_from_tpm_public(handle).unwrap());
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        tpm.nv_undefine_space(Provision::Owner, handle)
    })
    .unwrap();
}

/// Makes the index again as it was, by whoever has the owner's authorization, and raises it.
fn make_again(swtpm: &Swtpm, public: NvPublic, authorization: &[u8]) {
    let mut tpm = connect(swtpm);
    let auth = Auth::try_from(authorization).unwrap();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        let handle = tpm.nv_define_space(Provision::Owner, Some(auth.clone()), public)?;
        tpm.tr_set_auth(handle.into(), auth)?;
        tpm.nv_increment(NvAuth::NvIndex(handle), handle)
    })
    .unwrap();
}

/// The public area that an index had before it was written.
fn public_of(swtpm: &Swtpm, index: u32) -> NvPublic {
    let mut tpm = connect(swtpm);
    let handle = NvIndexTpmHandle::new(index).unwrap();
    let object = tpm.tr_from_tpm_public(handle.into()).unwrap();
    let (public, _) = tpm.nv_read_public(NvIndexHandle::from(object)).unwrap();
    NvPublic::builder()
        .with_nv_index(handle)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes())
        .with_index_auth_policy(public.authorization_policy().clone())
        .with_data_area_size(8)
        .build()
        .unwrap()
}

fn attributes() -> tss_esapi::attributes::NvIndexAttributes {
    NvIndexAttributesBuilder::new()
        .with_nv_index_type(NvIndexType::Counter)
        .with_auth_read(true)
        .with_auth_write(true)
        .with_no_da(true)
        .build()
        .unwrap()
}

#[test]
fn counter_is_raised_by_two_commands_and_read_by_one() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    let counter = Counter::create(&provider, 1);
    wire.reset();
    counter.increment(&provider);
    assert_eq!(wire.counts().into_iter().collect::<Vec<_>>(), [(NV_INCREMENT, 1), (NV_READ, 1)]);
    wire.reset();
    counter.read(&provider);
    assert_eq!(wire.counts().into_iter().collect::<Vec<_>>(), [(NV_READ, 1)]);
}

#[test]
fn counter_outlives_cuts_of_power() {
    let mut bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    let mut last = counter.first;
    for _ in 0..5 {
        last = counter.increment(&bench.provider).max(last + 1);
        bench.swtpm.start_again().unwrap();
        assert_eq!(counter.read(&bench.provider), last);
    }
}

#[test]
fn new_counter_begins_above_every_destroyed_one() {
    let bench = Bench::new();
    let old = Counter::create(&bench.provider, 1);
    for _ in 0..9 {
        old.increment(&bench.provider);
    }
    let last = old.read(&bench.provider);
    bench.provider.counter_destroy(old.as_ref()).unwrap();
    assert!(Counter::create(&bench.provider, 1).first > last);
}

#[test]
fn counter_is_of_the_kind_that_only_rises() {
    let bench = Bench::new();
    Counter::create(&bench.provider, 1);
    let mut tpm = bench.onlooker();
    let object = tpm.tr_from_tpm_public(NvIndexTpmHandle::new(FIRST).unwrap().into()).unwrap();
    let (public, _) = tpm.nv_read_public(NvIndexHandle::from(object)).unwrap();
    let seen = public.attributes();
    assert_eq!(seen.index_type().unwrap(), NvIndexType::Counter);
    assert!(seen.auth_read() && seen.auth_write() && seen.no_da());
    assert!(!seen.owner_read() && !seen.owner_write() && !seen.pp_write());
    assert!(!seen.policy_read() && !seen.policy_write() && !seen.orderly());
}

#[test]
fn counter_takes_its_blob_to_be_raised_and_read() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    let mut tpm = bench.onlooker();
    let object = tpm.tr_from_tpm_public(NvIndexTpmHandle::new(FIRST).unwrap().into()).unwrap();
    let handle = NvIndexHandle::from(object);
    for auth in [NvAuth::NvIndex(handle), NvAuth::Owner] {
        let password = Some(AuthSession::Password);
        assert!(tpm.execute_with_session(password, |tpm| tpm.nv_increment(auth, handle)).is_err());
        assert!(tpm.execute_with_session(password, |tpm| tpm.nv_read(auth, handle, 8, 0)).is_err());
    }
    assert_eq!(counter.read(&bench.provider), counter.first);
}

#[test]
fn counter_that_somebody_else_made_in_its_place_is_an_integrity_error() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    let public = public_of(&bench.swtpm, FIRST);
    undefine(&bench.swtpm, FIRST);
    make_again(&bench.swtpm, public, b"another authorization");
    for _ in 0..2 {
        let raised = bench.provider.counter_increment(counter.as_ref());
        check(raised, ErrorKind::Integrity, "another counter is at index 0x1820000");
        let read = bench.provider.counter_read(counter.as_ref());
        check(read, ErrorKind::Integrity, "another counter");
    }
}

#[test]
fn counter_made_again_with_its_own_authorization_does_not_fall() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    let last = counter.increment(&bench.provider);
    let authorization = &counter.blob[25..57];
    let public = public_of(&bench.swtpm, FIRST);
    undefine(&bench.swtpm, FIRST);
    make_again(&bench.swtpm, public, authorization);
    assert!(counter.read(&bench.provider) > last);
}

#[test]
fn index_of_another_kind_in_its_place_is_an_integrity_error() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    undefine(&bench.swtpm, FIRST);
    let public = NvPublic::builder()
        .with_nv_index(NvIndexTpmHandle::new(FIRST).unwrap())
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(
            NvIndexAttributesBuilder::new()
                .with_nv_index_type(NvIndexType::Ordinary)
                .with_auth_read(true)
                .with_auth_write(true)
                .build()
                .unwrap(),
        )
        .with_data_area_size(8)
        .build()
        .unwrap();
    let mut tpm = bench.onlooker();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        tpm.nv_define_space(Provision::Owner, None, public)
    })
    .unwrap();
    drop(tpm);
    let read = bench.provider.counter_read(counter.as_ref());
    check(read, ErrorKind::Integrity, "another counter");
    bench.provider.counter_destroy(counter.as_ref()).unwrap();
    assert_eq!(indices(&bench.swtpm), [FIRST], "what is not ours stays");
}

#[test]
fn removed_counter_is_not_found() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    undefine(&bench.swtpm, FIRST);
    let raised = bench.provider.counter_increment(counter.as_ref());
    check(raised, ErrorKind::KeyNotFound, "no index 0x1820000");
}

#[test]
fn full_range_is_exhausted_and_others_indices_are_left_alone() {
    let bench = Bench::new();
    let two = [("counters", "0x01820000-0x01820001")];
    let (provider, _) = open(&bench.swtpm.tcti(), &two, Some(&bench.identity)).unwrap();
    let counters = [Counter::create(&provider, 1), Counter::create(&provider, 2)];
    let third = provider.counter_create(KeyId([3; 16]));
    check(third, ErrorKind::Exhausted, "all 2 indices");
    provider.counter_destroy(CounterRef { id: KeyId([3; 16]), blob: &[] }).unwrap();
    assert_eq!(indices(&bench.swtpm), [FIRST, FIRST + 1]);
    provider.counter_destroy(counters[0].as_ref()).unwrap();
    assert_eq!(indices(&bench.swtpm), [FIRST + 1]);
    Counter::create(&provider, 3);
    assert_eq!(indices(&bench.swtpm), [FIRST, FIRST + 1]);
}

#[test]
fn counter_outside_of_a_changed_range_works_on_and_is_destroyed() {
    let bench = Bench::new();
    let counter = Counter::create(&bench.provider, 1);
    let moved = [("counters", "0x01830000-0x01830003")];
    let (provider, _) = open(&bench.swtpm.tcti(), &moved, Some(&bench.identity)).unwrap();
    assert!(counter.increment(&provider) > counter.first);
    Counter::create(&provider, 2);
    provider.counter_destroy(counter.as_ref()).unwrap();
    assert_eq!(indices(&bench.swtpm), [0x0183_0000]);
}

#[test]
fn counters_switched_off_are_unsupported() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[("counters", "")], None).unwrap();
    assert!(!provider.info().capabilities.contains(Capabilities::COUNTER));
    check(provider.counter_create(KeyId([1; 16])), ErrorKind::Unsupported, "off by the setting");
}

#[test]
fn owner_with_a_password_means_no_new_counters_and_a_note() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, identity) = open(&swtpm.tcti(), &[("persist_srk", "true")], None).unwrap();
    assert!(provider.info().capabilities.contains(Capabilities::COUNTER));
    let counter = Counter::create(&provider, 1);
    drop(provider);
    let password = Auth::try_from(&b"owner"[..]).unwrap();
    connect(&swtpm)
        .execute_with_session(Some(AuthSession::Password), |tpm| {
            tpm.hierarchy_change_auth(AuthHandle::Owner, password)
        })
        .unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[], Some(&identity)).unwrap();
    let info = provider.info();
    assert!(!info.capabilities.contains(Capabilities::COUNTER));
    assert!(info.notes.contains("owner hierarchy has a password"), "{}", info.notes);
    assert!(counter.increment(&provider) > counter.first, "raising does not take the owner");
}

#[test]
fn tpm_without_space_makes_no_counter() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    wire.answer_next(NV_DEFINE_SPACE, RC_NV_SPACE, 1);
    let made = provider.counter_create(KeyId([1; 16]));
    check(made, ErrorKind::Exhausted, "TPM_RC_NV_SPACE");
}

#[test]
fn counter_that_cannot_begin_is_taken_back() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    wire.answer_next(NV_INCREMENT, RC_NV_RATE, 1);
    check(provider.counter_create(KeyId([1; 16])), ErrorKind::Busy, "TPM_RC_NV_RATE");
    assert_eq!(indices(&swtpm), [0; 0]);
}

#[test]
fn counter_whose_tpm_was_lost_while_it_was_made_is_there_once() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    wire.answer_next(NV_READ, RC_REFERENCE_H0, 1);
    let counter = Counter::create(&provider, 1);
    assert_eq!(indices(&swtpm), [FIRST]);
    assert!(counter.increment(&provider) > counter.first);
}

#[test]
fn increment_whose_answer_was_lost_gives_no_value_twice() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    let counter = Counter::create(&provider, 1);
    let before = counter.increment(&provider);
    wire.alter_next(NV_READ, 1);
    let after = counter.increment(&provider);
    assert!(after > before);
    assert_eq!(counter.read(&provider), after);
}

#[test]
fn altered_value_on_the_wire_is_not_believed() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), &[], None).unwrap();
    let counter = Counter::create(&provider, 1);
    wire.alter_next(NV_READ, 2);
    check(provider.counter_read(counter.as_ref()), ErrorKind::Integrity, "altered on its way");
}

#[test]
fn counters_work_without_session_encryption() {
    let swtpm = Swtpm::start().unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[("session_encryption", "false")], None).unwrap();
    let counter = Counter::create(&provider, 1);
    assert!(counter.increment(&provider) > counter.first);
}

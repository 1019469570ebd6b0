//! Hot keys at persistent handles.

use std::collections::BTreeSet;

use provider_core::{ErrorKind, Identity, KeyRef, Provider, SecretBytes, Usage};
use provider_tpm::TpmProvider;
use swtpm_fixtures::{CommandCounter, Swtpm};
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::handles::{AuthHandle, KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, Digest, KeyedHashScheme, MaxBuffer, Public, PublicKeyedHashParameters,
};

use crate::support::{Key, check, connect, handles, open};

const FIRST: u32 = 0x8102_0000;
const HMAC: u32 = 0x155;
const LOAD: u32 = 0x157;
const EVICT_CONTROL: u32 = 0x120;
const RC_NV_SPACE: u32 = 0x14B;

/// Persists from the second use on, without waiting; tests of the wait say so.
const TWO_HANDLES: [(&str, &str); 3] =
    [("persist_keys", "0x81020000-0x81020001"), ("persist_after", "2"), ("persist_interval", "0")];

struct Bench {
    provider: TpmProvider,
    identity: Identity,
    wire: CommandCounter,
    swtpm: Swtpm,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        let swtpm = Swtpm::start().unwrap();
        let wire = CommandCounter::in_front_of(&swtpm).unwrap();
        let (provider, identity) = open(&wire.tcti(), settings, None).unwrap();
        Self { provider, identity, wire, swtpm }
    }

    fn reopen(self, settings: &[(&str, &str)]) -> Self {
        let Self { provider, identity, wire, swtpm } = self;
        drop(provider);
        let (provider, identity) = open(&wire.tcti(), settings, Some(&identity)).unwrap();
        Self { provider, identity, wire, swtpm }
    }

    fn key(&self) -> Key {
        Key::generate(&self.provider, Usage::Mac, None).unwrap()
    }

    /// A key that was used so often that it is hot, and its MAC.
    fn hot_key(&self) -> (Key, Vec<u8>) {
        let key = self.key();
        let mac = self.mac(&key);
        assert_eq!(self.mac(&key), mac);
        (key, mac)
    }

    fn mac(&self, key: &Key) -> Vec<u8> {
        key.mac(&self.provider).unwrap().expose().to_vec()
    }

    /// The commands of one more MAC.
    fn commands(&self, key: &Key) -> Vec<(u32, u64)> {
        self.wire.reset();
        self.mac(key);
        self.wire.counts().into_iter().collect()
    }

    /// The handles of the range that are taken.
    fn taken(&self) -> Vec<u32> {
        handles(&mut connect(&self.swtpm), FIRST).into_iter().map(u32::from).collect()
    }
}

/// Persists a storage key of another program.
fn occupy(swtpm: &Swtpm, number: u32) {
    let mut tpm = connect(swtpm);
    let public: Public = tss_esapi::utils::create_restricted_decryption_rsa_public(
        tss_esapi::structures::SymmetricDefinitionObject::AES_128_CFB,
        tss_esapi::interface_types::key_bits::RsaKeyBits::Rsa2048,
        tss_esapi::structures::RsaExponent::default(),
    )
    .unwrap();
    tpm.set_sessions((Some(AuthSession::Password), None, None));
    let made = tpm.create_primary(Hierarchy::Owner, public, None, None, None, None).unwrap();
    let place = PersistentTpmHandle::new(number).unwrap();
    tpm.evict_control(Provision::Owner, made.key_handle.into(), place.into()).unwrap();
    tpm.clear_sessions();
}

fn remove(swtpm: &Swtpm, number: u32) {
    let mut tpm = connect(swtpm);
    let object = persistent(&mut tpm, number);
    let place = PersistentTpmHandle::new(number).unwrap();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        tpm.evict_control(Provision::Owner, object, place.into())
    })
    .unwrap();
}

fn persistent(tpm: &mut tss_esapi::Context, number: u32) -> ObjectHandle {
    tpm.tr_from_tpm_public(TpmHandle::try_from(number).unwrap()).unwrap()
}

#[test]
fn key_used_often_is_persisted_and_its_mac_stays_one_command() {
    let bench = Bench::new(&TWO_HANDLES);
    let key = bench.key();
    let before = bench.mac(&key);
    assert_eq!(bench.taken(), [0; 0], "one use is not often");
    assert_eq!(bench.mac(&key), before);
    assert_eq!(bench.taken(), [FIRST]);
    assert_eq!(bench.mac(&key), before);
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
}

#[test]
fn persisted_key_takes_one_command_and_no_load_after_a_restart() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, before) = bench.hot_key();
    let bench = bench.reopen(&TWO_HANDLES);
    assert!(bench.provider.info().notes.contains("1 of 2 handles were taken"));
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
    assert_eq!(bench.mac(&key), before);
}

#[test]
fn persisted_key_works_after_a_reset_of_the_tpm() {
    let mut bench = Bench::new(&TWO_HANDLES);
    let (key, before) = bench.hot_key();
    bench.swtpm.start_again().unwrap();
    assert_eq!(bench.mac(&key), before);
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
}

#[test]
fn sign_key_is_persisted_too() {
    let bench = Bench::new(&TWO_HANDLES);
    let key = Key::generate(&bench.provider, Usage::Sign, None).unwrap();
    let point = bench.provider.public_key(key.key_ref()).unwrap();
    let sign = |bench: &Bench| bench.provider.sign(key.key_ref(), &[1; 32]).map(drop).unwrap();
    (0..2).for_each(|_| sign(&bench));
    assert_eq!(bench.taken(), [FIRST]);
    let bench = bench.reopen(&TWO_HANDLES);
    bench.wire.reset();
    sign(&bench);
    assert_eq!(bench.wire.counts().into_iter().collect::<Vec<_>>(), [(0x15D, 1)]);
    assert_eq!(bench.provider.public_key(key.key_ref()).unwrap(), point);
}

#[test]
fn imported_key_is_persisted_too() {
    let bench = Bench::new(&TWO_HANDLES);
    let key = Key::import(&bench.provider, Usage::Mac, &SecretBytes::copy_of(b"key")).unwrap();
    let before = bench.mac(&key);
    bench.mac(&key);
    let bench = bench.reopen(&TWO_HANDLES);
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
    assert_eq!(bench.mac(&key), before);
}

#[test]
fn bound_key_is_not_persisted() {
    let bench = Bench::new(&TWO_HANDLES);
    let key = Key::generate(&bench.provider, Usage::Mac, Some("sha256:7")).unwrap();
    (0..5).for_each(|_| drop(bench.mac(&key)));
    assert_eq!(bench.taken(), [0; 0]);
}

#[test]
fn nothing_is_persisted_without_the_setting() {
    let bench = Bench::new(&[]);
    let key = bench.key();
    (0..300).for_each(|_| drop(bench.mac(&key)));
    assert_eq!(bench.taken(), [0; 0]);
}

#[test]
fn self_test_persists_nothing() {
    let bench = Bench::new(&TWO_HANDLES);
    bench.provider.self_test().unwrap();
    bench.provider.self_test().unwrap();
    assert_eq!(bench.taken(), [0; 0]);
    assert_eq!(bench.wire.counts().get(&EVICT_CONTROL), None);
}

#[test]
fn no_change_comes_before_the_interval_is_over() {
    let settings = [("persist_keys", "0x81020000-0x81020001"), ("persist_after", "2")];
    let bench = Bench::new(&settings);
    let key = bench.key();
    (0..20).for_each(|_| drop(bench.mac(&key)));
    assert_eq!(bench.wire.counts().get(&EVICT_CONTROL), None);
}

#[test]
fn key_of_a_full_range_makes_room_when_it_was_not_used_longest() {
    let bench = Bench::new(&TWO_HANDLES);
    let ((one, _), (two, _)) = (bench.hot_key(), bench.hot_key());
    bench.mac(&one);
    let third = bench.key();
    // One change each: the second use evicts, the third persists.
    (0..3).for_each(|_| drop(bench.mac(&third)));
    assert_eq!(bench.taken(), [FIRST, FIRST + 1]);
    let bench = bench.reopen(&TWO_HANDLES);
    assert_eq!(bench.commands(&third), [(HMAC, 1)]);
    assert_eq!(bench.commands(&one), [(HMAC, 1)]);
    assert!(bench.commands(&two).contains(&(LOAD, 1)));
}

#[test]
fn key_used_within_the_interval_keeps_its_place() {
    let bench = Bench::new(&TWO_HANDLES);
    let ((one, _), (two, _)) = (bench.hot_key(), bench.hot_key());
    let slow = [TWO_HANDLES[0], TWO_HANDLES[1], ("persist_interval", "86400")];
    let bench = bench.reopen(&slow);
    [&one, &two].into_iter().for_each(|key| drop(bench.mac(key)));
    let third = bench.key();
    (0..10).for_each(|_| drop(bench.mac(&third)));
    assert_eq!(bench.wire.counts().get(&EVICT_CONTROL), Some(&2), "those of the two");
    assert_eq!(bench.commands(&one), [(HMAC, 1)]);
}

#[test]
fn objects_of_others_are_left_alone() {
    let swtpm = Swtpm::start().unwrap();
    occupy(&swtpm, FIRST);
    occupy(&swtpm, FIRST + 1);
    let (provider, _) = open(&swtpm.tcti(), &TWO_HANDLES, None).unwrap();
    let mut tpm = connect(&swtpm);
    let names = |tpm: &mut tss_esapi::Context| {
        [FIRST, FIRST + 1].map(|number| {
            let object = persistent(tpm, number);
            tpm.tr_get_name(object).unwrap().value().to_vec()
        })
    };
    let before = names(&mut tpm);
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    (0..10).for_each(|_| drop(key.mac(&provider).unwrap()));
    provider.destroy(key.key_ref()).unwrap();
    assert_eq!(names(&mut tpm), before);
}

#[test]
fn our_own_unused_key_of_an_earlier_opening_is_left_alone() {
    let bench = Bench::new(&TWO_HANDLES);
    let (old, _) = bench.hot_key();
    let bench = bench.reopen(&TWO_HANDLES);
    let keys = [bench.key(), bench.key()];
    for _ in 0..4 {
        keys.iter().for_each(|key| drop(bench.mac(key)));
    }
    let bench = bench.reopen(&TWO_HANDLES);
    assert_eq!(bench.commands(&old), [(HMAC, 1)]);
}

#[test]
fn destroyed_key_is_gone_from_its_handle() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, _) = bench.hot_key();
    bench.provider.destroy(key.key_ref()).unwrap();
    assert_eq!(bench.taken(), [0; 0]);
    bench.provider.destroy(key.key_ref()).unwrap();
}

#[test]
fn key_of_an_earlier_opening_is_destroyed_without_being_used() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, _) = bench.hot_key();
    let bench = bench.reopen(&TWO_HANDLES);
    bench.provider.destroy(key.key_ref()).unwrap();
    assert_eq!(bench.taken(), [0; 0]);
}

#[test]
fn destroying_while_the_tpm_is_gone_is_an_error_and_works_later() {
    let mut bench = Bench::new(&TWO_HANDLES);
    let (key, _) = bench.hot_key();
    bench.swtpm.stop().unwrap();
    check(bench.provider.destroy(key.key_ref()), ErrorKind::DeviceGone, "no connection");
    bench.swtpm.start_again().unwrap();
    bench.provider.destroy(key.key_ref()).unwrap();
    assert_eq!(bench.taken(), [0; 0]);
}

#[test]
fn key_persisted_by_another_program_meanwhile_is_destroyed_too() {
    let bench = Bench::new(&TWO_HANDLES);
    let key = bench.key();
    let (other, _) = open(&bench.swtpm.tcti(), &TWO_HANDLES, Some(&bench.identity)).unwrap();
    (0..2).for_each(|_| drop(key.mac(&other).unwrap()));
    assert_eq!(bench.taken(), [FIRST]);
    bench.provider.destroy(key.key_ref()).unwrap();
    assert_eq!(bench.taken(), [0; 0]);
}

#[test]
fn persisted_copy_is_no_use_without_the_blob() {
    let bench = Bench::new(&TWO_HANDLES);
    bench.hot_key();
    let mut tpm = connect(&bench.swtpm);
    let object = persistent(&mut tpm, FIRST);
    let input = MaxBuffer::try_from(&b"message"[..]).unwrap();
    let outcome = tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        tpm.hmac(object, input, HashingAlgorithm::Sha256)
    });
    assert!(outcome.unwrap_err().to_string().contains("authorization failure"));
    let attributes = tpm.read_public(KeyHandle::from(object)).unwrap().0.object_attributes();
    assert!(attributes.fixed_tpm() && attributes.fixed_parent() && attributes.user_with_auth());
}

#[test]
fn altered_blob_of_a_persisted_key_is_refused_and_harms_nothing() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, before) = bench.hot_key();
    let bench = bench.reopen(&TWO_HANDLES);
    let positions: BTreeSet<_> =
        (0..key.blob.len()).step_by(7).chain([key.blob.len() - 1]).collect();
    for position in positions {
        let mut blob = key.blob.clone();
        blob[position] ^= 1;
        let error = bench.provider.mac(KeyRef { blob: &blob, ..key.key_ref() }, b"message");
        let kind = error.err().unwrap().kind;
        let expected = [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
        assert!(expected.contains(&kind), "byte {position}: {kind:?}");
    }
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
    assert_eq!(bench.mac(&key), before);
}

#[test]
fn persisted_key_is_refused_under_another_usage() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, _) = bench.hot_key();
    let other = KeyRef { usage: Usage::Seal, ..key.key_ref() };
    let labeled = provider_core::key::SEAL_LABEL;
    check(bench.provider.mac(other, labeled), ErrorKind::InvalidParameter, "another usage");
    let bench = bench.reopen(&TWO_HANDLES);
    check(bench.provider.mac(other, labeled), ErrorKind::InvalidParameter, "another usage");
}

#[test]
fn object_put_in_place_of_a_persisted_key_computes_nothing_for_us() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, before) = bench.hot_key();
    remove(&bench.swtpm, FIRST);
    plant(&bench.swtpm, FIRST, &authorization(&key));
    // Refused by its Name, and then by the key itself.
    assert_eq!(bench.commands(&key), [(HMAC, 2), (LOAD, 1)]);
    assert_eq!(bench.mac(&key), before);
    assert_eq!(bench.taken(), [FIRST, FIRST + 1], "hot again, and persisted elsewhere");
    let bench = bench.reopen(&TWO_HANDLES);
    assert_eq!(bench.commands(&key), [(HMAC, 1)]);
    assert_eq!(bench.mac(&key), before);
}

/// What authorizes the persistent copy of a key; whoever has the blob can compute it.
fn authorization(key: &Key) -> Auth {
    let input = [b"sealhost/tpm/persist/1\0", &key.blob[..]].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    Auth::try_from(digest.as_ref()).unwrap()
}

/// Persists an HMAC key that somebody else made.
fn plant(swtpm: &Swtpm, number: u32, authorization: &Auth) {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(true)
        .build()
        .unwrap();
    let public = Public::builder()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::HMAC_SHA_256))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
        .unwrap();
    let mut tpm = connect(swtpm);
    tpm.set_sessions((Some(AuthSession::Password), None, None));
    let authorization = Some(authorization.clone());
    let made =
        tpm.create_primary(Hierarchy::Owner, public, authorization, None, None, None).unwrap();
    let place = PersistentTpmHandle::new(number).unwrap();
    tpm.evict_control(Provision::Owner, made.key_handle.into(), place.into()).unwrap();
    tpm.clear_sessions();
}

#[test]
fn key_evicted_by_another_program_works_on() {
    let bench = Bench::new(&TWO_HANDLES);
    let (key, before) = bench.hot_key();
    remove(&bench.swtpm, FIRST);
    assert_eq!(bench.mac(&key), before);
}

#[test]
fn tpm_without_space_is_used_without_persisting() {
    let bench = Bench::new(&TWO_HANDLES);
    bench.wire.answer_next(EVICT_CONTROL, RC_NV_SPACE, 3);
    let (key, before) = bench.hot_key();
    assert_eq!(bench.taken(), [0; 0]);
    for _ in 0..5 {
        assert_eq!(bench.mac(&key), before);
    }
    assert_eq!(bench.taken(), [FIRST], "space was freed");
}

#[test]
fn owner_with_a_password_is_asked_once() {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let persist_srk = [("persist_srk", "true")];
    let (provider, identity) = open(&wire.tcti(), &persist_srk, None).unwrap();
    drop(provider);
    let password = Auth::try_from(&b"owner"[..]).unwrap();
    connect(&swtpm)
        .execute_with_session(Some(AuthSession::Password), |tpm| {
            tpm.hierarchy_change_auth(AuthHandle::Owner, password)
        })
        .unwrap();
    let (provider, _) = open(&wire.tcti(), &TWO_HANDLES, Some(&identity)).unwrap();
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    wire.reset();
    (0..6).for_each(|_| drop(key.mac(&provider).unwrap()));
    assert_eq!(wire.counts().get(&EVICT_CONTROL), Some(&1));
}

#[test]
fn twenty_keys_work_beside_persisted_ones() {
    let bench = Bench::new(&TWO_HANDLES);
    let keys: Vec<_> = (0..20).map(|_| bench.key()).collect();
    let macs = || keys.iter().map(|key| bench.mac(key)).collect::<Vec<_>>();
    let first = macs();
    for _ in 0..3 {
        assert_eq!(macs(), first);
    }
    assert!(!bench.taken().is_empty());
}

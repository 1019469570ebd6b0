//! Keys made in a device cannot be had from it: the attributes of every object that the host makes,
//! for each kind of request, read by another program.
//!
//! That the empty password does not open a key bound to PCRs is shown where a second program can
//! load it, in the provider's tests (`empty_password_does_not_open_a_bound_key`); here the public
//! areas of what the host made show why: `userWithAuth` is clear.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::path::Path;
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeType};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Versions of generated keys that [`make_keys`] makes, and of imported ones.
const GENERATED: usize = 6;
const IMPORTED: usize = 4;
/// Where the child process finds the token store.
const STORE: &str = "SEALHOST_TEST_STORE";

/// Makes two versions of every sort of key, and uses the second.
fn make_keys(host: &Sealhost) {
    let uses = [
        ("seal", "seal", json!({"plaintext": b64("x")})),
        ("mac", "mac", json!({"message": b64("x")})),
        ("sign", "sign", json!({"digest": b64([1; 32])})),
    ];
    for (usage, verb, body) in uses {
        host.post(&format!("/v1/keys/{usage}"), json!({"usage": usage})).done();
        host.post(&format!("/v1/keys/{usage}/rotate"), json!({})).done();
        host.post(&format!("/v1/keys/{usage}/{verb}"), body).done();
    }
    for (name, length) in [("short", 5), ("long", 100)] {
        let key = b64(vec![7; length]);
        let target = format!("/v1/keys/{name}/import");
        host.post(&target, json!({"usage": "mac", "key": key})).done();
        let version = json!({"usage": "mac", "key": key, "new_version": true});
        host.post(&target, version).done();
        host.post(&format!("/v1/keys/{name}/mac"), json!({"message": b64("x")})).done();
    }
}

#[test]
fn objects_on_a_token_are_sensitive_and_not_extractable() {
    // The module reads its configuration from the environment, so another process looks.
    if let Some(store) = std::env::var_os(STORE) {
        return look_at_objects(&SoftHsm::attach(Path::new(&store)).unwrap());
    }
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).start();
    make_keys(&host);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "objects_on_a_token_are_sensitive_and_not_extractable", "--nocapture"])
        .env(STORE, hsm.directory())
        .env("SOFTHSM2_CONF", hsm.conf_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{output:?}");
}

fn look_at_objects(hsm: &SoftHsm) {
    let pkcs11 = Pkcs11::new(hsm.module_path()).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_ro_session(slot).unwrap();
    assert_eq!(session.find_objects(&[]).unwrap(), [], "objects are shown without a login");
    session.login(UserType::User, Some(&AuthPin::new("1234".into()))).unwrap();
    let objects = session.find_objects(&[]).unwrap();
    // The identity marker and the internal key are the provider's own.
    assert_eq!(objects.len(), GENERATED + IMPORTED + 2);
    assert_eq!(objects.len(), hsm.objects().unwrap());
    let mut local = 0;
    for object in objects {
        let has = |attribute: Attribute| {
            session.get_attributes(object, &[attribute.attribute_type()]).unwrap() == [attribute]
        };
        assert!(has(Attribute::Sensitive(true)) && has(Attribute::Extractable(false)));
        assert!(has(Attribute::Private(true)) && has(Attribute::Token(true)));
        assert!(has(Attribute::Derive(false)));
        if has(Attribute::Local(true)) {
            local += 1;
            assert!(has(Attribute::AlwaysSensitive(true)));
            assert!(has(Attribute::NeverExtractable(true)));
        }
        let value = session.get_attributes(object, &[AttributeType::Value]).unwrap();
        assert_eq!(value, [], "the value of a key can be read");
    }
    assert_eq!(local, GENERATED + 2);
}

/// Attributes of a TPM object (TPM 2.0 Part 2, 8.3).
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const USER_WITH_AUTH: u32 = 1 << 6;
const NO_DA: u32 = 1 << 10;
const SIGN: u32 = 1 << 18;

/// The attributes in the public areas of all the keys of a stopped host. A TPM loads a key only
/// with the public area that it was made with, and each of these was loaded.
fn attributes(host: &Sealhost) -> Vec<(String, u32)> {
    let registry = rusqlite::Connection::open(host.state_dir().join("registry.db")).unwrap();
    let query = "SELECT key, blob FROM versions UNION ALL \
                 SELECT '.internal', record_key_blob FROM instances";
    let mut statement = registry.prepare(query).unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .unwrap();
    rows.map(|row| {
        let (name, blob) = row.unwrap();
        (name, attributes_in(&blob))
    })
    .collect()
}

/// Magic, version, usage and algorithm (7 bytes), the id (16), then parent, binding, public and
/// private, each after its length; the public area begins with type and name algorithm.
fn attributes_in(blob: &[u8]) -> u32 {
    assert!(blob.starts_with(b"SHTK\x01"), "a blob of another layout");
    let mut rest = &blob[23..];
    for _ in ["parent", "binding"] {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[2 + length..];
    }
    let public = &rest[2..];
    u32::from_be_bytes(*public[4..].first_chunk().unwrap())
}

#[test]
fn keys_in_a_tpm_are_fixed_to_it() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    make_keys(&host);
    let bound = json!({"usage": "mac", "pcrs": {"sha256": [7]}});
    host.post("/v1/keys/bound", bound).done();
    host.post("/v1/keys/bound/mac", json!({"message": b64("x")})).done();
    assert!(host.stop().success());
    let keys = attributes(&host);
    assert_eq!(keys.len(), GENERATED + IMPORTED + 2);
    for (name, attributes) in keys {
        let mut expected = FIXED_TPM | FIXED_PARENT | NO_DA | SIGN;
        if !["short", "long"].contains(&name.as_str()) {
            expected |= SENSITIVE_DATA_ORIGIN;
        }
        if name != "bound" {
            expected |= USER_WITH_AUTH;
        }
        assert_eq!(attributes, expected, "{name}");
    }
}

//! How records are authenticated: each version's MAC under its own instance's record key, and one
//! head over everything, MACed by every open instance.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use provider_core::key::SEAL_LABEL;
use serde::Serialize;
use wire::name::{KeyName, ProviderName};

use super::InstanceKeys;
use super::model::{Instance, Model, Terms, Version};

/// Bytes of the random number that tells registries apart.
pub const REGISTRY_ID_BYTES: usize = 16;
/// The random number that tells registries apart.
pub type RegistryId = [u8; REGISTRY_ID_BYTES];

/// A key that authenticates the records of one instance. It is one device HMAC under the
/// instance's internal key, so without the device no record can be made or checked.
pub struct RecordKey(hmac::Key);

impl std::fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RecordKey")
    }
}

impl RecordKey {
    /// Takes the device's HMAC over [`record_key_input`].
    #[must_use]
    pub fn from_device_mac(mac: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, mac))
    }

    /// The MAC of a digest.
    pub(super) fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        mac
    }

    /// Whether it is the MAC of a digest.
    pub(super) fn verifies(&self, message: &[u8], mac: &[u8; 32]) -> bool {
        hmac::verify(&self.0, message, mac).is_ok()
    }
}

/// What the device computes an instance's record key from.
#[must_use]
pub fn record_key_input(registry: &RegistryId) -> Vec<u8> {
    [SEAL_LABEL, &b"registry record key"[..], registry].concat()
}

/// Everything that a version's MAC covers. Field order is the format.
#[derive(Serialize)]
struct Record<'a> {
    label: &'static str,
    registry: &'a RegistryId,
    name: &'a str,
    usage: &'static str,
    algorithm: &'static str,
    floor: &'static str,
    fallback_allowed: bool,
    state: Option<&'a str>,
    providers: Option<Vec<&'a str>>,
    number: u32,
    stage: &'static str,
    provider: &'a str,
    id: &'a [u8; 16],
    blob: &'a [u8],
    origin: &'static str,
    protection: &'static str,
    fallback: bool,
    created_at: &'a str,
    created_by: u32,
}

/// Everything that the head's MAC covers: the contents of all records, so that any instance that
/// is open notices an edit of another's, and their MACs.
#[derive(Serialize)]
struct Head<'a> {
    label: &'static str,
    registry: &'a RegistryId,
    generation: u64,
    instances: Vec<InstanceFields<'a>>,
    versions: Vec<(&'a str, u32, &'a [u8; 32], &'a [u8; 32])>,
}

/// The same with counters. Registries without any have the other one, as they had before there
/// were counters.
#[derive(Serialize)]
struct HeadWithCounters<'a> {
    label: &'static str,
    head: Head<'a>,
    counters: Vec<(&'a str, &'a [u8; 32], &'a [u8; 32])>,
    counter_floor: u64,
}

/// The same with the checkpoint of the audit that is remembered, over the digest of what the head
/// is without. Registries that remember none have one of the others.
#[derive(Serialize)]
struct HeadWithMark {
    label: &'static str,
    rest: [u8; 32],
    sequence: u64,
    hash: [u8; 32],
}

/// Name, identity, id and blob of the record key.
type InstanceFields<'a> = (&'a str, &'a [u8], &'a [u8; 16], &'a [u8]);

/// The digest of a version's record: of everything that is stored of it and its key.
pub(super) fn record_digest(
    registry: &RegistryId,
    name: &KeyName,
    terms: &Terms,
    version: &Version,
) -> Option<[u8; 32]> {
    Some(sha256(&record_bytes(registry, name, terms, version)?))
}

/// The MAC of a version's record.
pub(super) fn record_mac(key: &RecordKey, version: &Version) -> [u8; 32] {
    key.mac(&version.digest)
}

/// Whether a version's record is as its instance made it.
pub(super) fn record_verifies(key: &RecordKey, version: &Version) -> bool {
    key.verifies(&version.digest, &version.mac)
}

fn record_bytes(
    registry: &RegistryId,
    name: &KeyName,
    terms: &Terms,
    version: &Version,
) -> Option<Vec<u8>> {
    let providers = terms.providers.as_ref();
    let record = Record {
        label: "sealhost/registry/version/1",
        registry,
        name: name.as_str(),
        usage: terms.usage.as_str(),
        algorithm: terms.algorithm.as_str(),
        floor: terms.floor.as_str(),
        fallback_allowed: terms.fallback,
        state: terms.state.as_ref().map(|state| state.as_str()),
        providers: providers.map(|names| names.iter().map(ProviderName::as_str).collect()),
        number: version.number,
        stage: version.stage.as_str(),
        provider: version.provider.as_str(),
        id: &version.id.0,
        blob: &version.blob,
        origin: version.origin.as_str(),
        protection: version.protection.as_str(),
        fallback: version.fallback,
        created_at: &version.created_at,
        created_by: version.created_by,
    };
    postcard::to_stdvec(&record).ok()
}

/// The digest that the head's MACs are over.
pub(super) fn head_digest(registry: &RegistryId, model: &Model) -> Option<[u8; 32]> {
    let rest = digest_of_rows(registry, model)?;
    let Some(mark) = model.audit_mark else { return Some(rest) };
    let label = "sealhost/registry/head/3";
    let head = HeadWithMark { label, rest, sequence: mark.sequence, hash: mark.hash.0 };
    Some(sha256(&postcard::to_stdvec(&head).ok()?))
}

fn digest_of_rows<'a>(registry: &'a RegistryId, model: &'a Model) -> Option<[u8; 32]> {
    let instances = model.instances.values().map(|instance| {
        let Instance { name, identity, record_key } = instance;
        (name.as_str(), &identity.0[..], &record_key.id.0, &record_key.blob.0[..])
    });
    let versions = model.keys.values().flat_map(|key| {
        let name = key.name.as_str();
        let row = move |version: &'a Version| (name, version.number, &version.digest, &version.mac);
        key.versions.iter().map(row)
    });
    let head = Head {
        label: "sealhost/registry/head/1",
        registry,
        generation: model.generation,
        instances: instances.collect(),
        versions: versions.collect(),
    };
    if model.counters.is_empty() && model.counter_floor == 0 {
        return Some(sha256(&postcard::to_stdvec(&head).ok()?));
    }
    let counters = model.counters.values();
    let head = HeadWithCounters {
        label: "sealhost/registry/head/2",
        head,
        counters: counters.map(|it| (it.name.as_str(), &it.digest, &it.mac)).collect(),
        counter_floor: model.counter_floor,
    };
    Some(sha256(&postcard::to_stdvec(&head).ok()?))
}

/// The head's MACs by every instance that is open.
pub(super) fn head_macs(
    keys: &BTreeMap<ProviderName, InstanceKeys>,
    digest: &[u8; 32],
) -> BTreeMap<ProviderName, [u8; 32]> {
    keys.iter().map(|(name, key)| (name.clone(), key.record.mac(digest))).collect()
}

/// Whether one instance's MAC of the head verifies.
pub(super) fn head_verifies(key: &RecordKey, digest: &[u8; 32], mac: &[u8; 32]) -> bool {
    key.verifies(digest, mac)
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

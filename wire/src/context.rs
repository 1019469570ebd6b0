//! The encryption context: what a caller says about a secret, authenticated with it and not
//! stored. Its canonical bytes are specified in `docs/envelope.md` section 4.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor;
use crate::code::Fault;
use crate::limits::CONTEXT_MAX_BYTES;

/// A map of strings, bound to a sealed value: unsealing needs the same map.
///
/// # Limits
/// Canonical bytes: 8 KiB; one past it is `too_large`.
///
/// # Secrets
/// Not wiped, but never shown: `Debug` says only how many entries there are.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionContext {
    entries: BTreeMap<String, String>,
    canonical: Vec<u8>,
}

impl EncryptionContext {
    /// Makes a context of these entries.
    ///
    /// # Errors
    /// `too_large`: the canonical bytes are over the limit.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, Fault> {
        let canonical = encode(&entries);
        if canonical.len() > CONTEXT_MAX_BYTES {
            return Err(Fault::over("context", canonical.len(), CONTEXT_MAX_BYTES));
        }
        Ok(Self { entries, canonical })
    }

    /// The deterministic CBOR map of the entries; `a0` for none.
    ///
    /// # Spec
    /// RFC 8949 section 4.2.1.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The entries, by key.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Default for EncryptionContext {
    /// The context without entries, which is what a request without `context` means.
    fn default() -> Self {
        let entries = BTreeMap::new();
        Self { canonical: encode(&entries), entries }
    }
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionContext({} entries)", self.entries.len())
    }
}

impl Serialize for EncryptionContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EncryptionContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ContextVisitor)
    }
}

struct ContextVisitor;

impl<'de> Visitor<'de> for ContextVisitor {
    type Value = EncryptionContext;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EncryptionContext, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if entries.insert(key, value).is_some() {
                return Err(A::Error::custom("duplicate field in context"));
            }
        }
        EncryptionContext::new(entries).map_err(A::Error::custom)
    }
}

/// Sorted by encoded key: for text keys, the shorter first, then by bytes.
fn encode(entries: &BTreeMap<String, String>) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
    let mut out = Vec::new();
    cbor::map(&mut out, sorted.len());
    for (key, value) in sorted {
        cbor::text(&mut out, key);
        cbor::text(&mut out, value);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A context whose canonical bytes are `bytes` long: map head, key head and key, a value head
    /// of three bytes.
    fn of_length(bytes: usize) -> Result<EncryptionContext, Fault> {
        EncryptionContext::new(BTreeMap::from([("k".to_owned(), "v".repeat(bytes - 6))]))
    }

    fn refused(json: &str, reason: &str) {
        let error = serde_json::from_str::<EncryptionContext>(json).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
    }

    #[test]
    fn context_at_limit_is_accepted() {
        assert_eq!(of_length(CONTEXT_MAX_BYTES).unwrap().canonical().len(), CONTEXT_MAX_BYTES);
    }

    #[test]
    fn context_one_past_limit_is_too_large() {
        let fault = of_length(CONTEXT_MAX_BYTES + 1).unwrap_err();
        assert_eq!(fault.to_string(), "too_large: context of 8193 bytes exceeds limit of 8192");
    }

    #[test]
    fn context_without_entries_is_one_byte() {
        assert_eq!(EncryptionContext::default().canonical(), [0xa0]);
        assert_eq!(EncryptionContext::new(BTreeMap::new()), Ok(EncryptionContext::default()));
    }

    #[test]
    fn shorter_key_comes_first() {
        let context: EncryptionContext = serde_json::from_str(r#"{"aa":"1","b":"2"}"#).unwrap();
        assert_eq!(context.canonical(), b"\xa2\x61b\x612\x62aa\x611");
    }

    #[test]
    fn duplicate_key_is_refused() {
        refused(r#"{"a":"1","a":"1"}"#, "duplicate field");
        refused(r#"{"a":"1","\u0061":"2"}"#, "duplicate field");
    }

    #[test]
    fn value_that_is_not_a_string_is_refused() {
        refused(r#"{"a":1}"#, "invalid type");
        refused(r#"{"a":null}"#, "invalid type");
        refused(r#"["a"]"#, "invalid type");
    }

    #[test]
    fn debug_shows_no_entry() {
        let context: EncryptionContext = serde_json::from_str(r#"{"tenant":"blue"}"#).unwrap();
        assert_eq!(format!("{context:?}"), "EncryptionContext(1 entries)");
    }

    proptest! {
        #[test]
        fn context_round_trips_through_json(entries in proptest::collection::btree_map(".{0,20}", ".{0,40}", 0..30)) {
            let context = EncryptionContext::new(entries).unwrap();
            let json = serde_json::to_string(&context).unwrap();
            prop_assert_eq!(serde_json::from_str::<EncryptionContext>(&json).unwrap(), context);
        }

        #[test]
        fn canonical_bytes_are_read_by_ciborium_in_rising_key_order(entries in proptest::collection::btree_map(".{0,30}", ".{0,30}", 0..30)) {
            let context = EncryptionContext::new(entries.clone()).unwrap();
            let pairs = ciborium::from_reader::<ciborium::Value, _>(context.canonical()).unwrap();
            let pairs = pairs.into_map().unwrap();
            let keys: Vec<Vec<u8>> = pairs.iter().map(|(key, _)| {
                let mut encoded = Vec::new();
                ciborium::into_writer(key, &mut encoded).unwrap();
                encoded
            }).collect();
            prop_assert!(keys.is_sorted_by(|a, b| a < b));
            let read: BTreeMap<String, String> = pairs
                .into_iter()
                .map(|(key, value)| (key.into_text().unwrap(), value.into_text().unwrap()))
                .collect();
            prop_assert_eq!(read, entries);
        }
    }
}

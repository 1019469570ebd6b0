//! The stored form of a counter, and what tells its NV index from others.
//!
//! ```text
//! magic "SHTC" | version 1 | id 16 | index 4 | authorization 32 | parent name | name
//! ```
//! The index is big-endian; the last two are a big-endian u16 length and that many bytes, and lead
//! to the storage root key and the NV index. The authorization value is random: whoever only
//! reaches the TPM can neither raise the counter nor put one of the same value in its place.
//!
//! The policy of the index, which no session reaches, holds the id, so that a counter whose blob
//! was never stored is found.

use provider_core::{CounterRef, ErrorKind, KeyId, ProviderError, Result};

use crate::binding::sha256;
use crate::blob::{push, take_array, take_part};

const MAGIC: [u8; 4] = *b"SHTC";
const VERSION: u8 = 1;
/// Domain of the digest that binds an index to its id.
const POLICY_LABEL: &[u8] = b"sealhost/tpm/counter/1\0";

/// A decoded blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) id: KeyId,
    /// The handle of the NV index.
    pub(crate) index: u32,
    /// What authorizes reading and raising.
    pub(crate) authorization: [u8; 32],
    /// Name of the storage root key.
    pub(crate) parent: Vec<u8>,
    /// Name of the NV index once it was written.
    pub(crate) name: Vec<u8>,
}

impl Counter {
    /// The bytes of a blob.
    ///
    /// # Errors
    /// `Internal`: a part is longer than any TPM makes it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(self.id.0);
        bytes.extend(self.index.to_be_bytes());
        bytes.extend(self.authorization);
        push(&mut bytes, &self.parent)?;
        push(&mut bytes, &self.name)?;
        Ok(bytes)
    }

    /// Reads the blob of a counter that the caller takes for the one of this id.
    ///
    /// # Errors
    /// `Integrity`: these are not bytes that [`encode`](Self::encode) returned.
    /// `InvalidParameter`: the id is another.
    pub(crate) fn decode(counter: CounterRef<'_>) -> Result<Self> {
        let decoded = read(counter.blob).ok_or_else(|| {
            ProviderError::new(ErrorKind::Integrity, "the blob is not a counter of this provider")
        })?;
        if decoded.id == counter.id {
            return Ok(decoded);
        }
        Err(ProviderError::invalid("the counter was made with another id"))
    }
}

/// The policy digest of the NV index of a counter. No policy session reaches it: their digests
/// are hashes of inputs that begin with 32 bytes of another digest or of zeros.
pub(crate) fn policy(id: KeyId) -> [u8; 32] {
    sha256(&[POLICY_LABEL, &id.0].concat())
}

fn read(bytes: &[u8]) -> Option<Counter> {
    let mut rest = bytes;
    if take_array(&mut rest)? != MAGIC || take_array(&mut rest)? != [VERSION] {
        return None;
    }
    let counter = Counter {
        id: KeyId(take_array(&mut rest)?),
        index: u32::from_be_bytes(take_array(&mut rest)?),
        authorization: take_array(&mut rest)?,
        parent: take_part(&mut rest)?,
        name: take_part(&mut rest)?,
    };
    rest.is_empty().then_some(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeyId = KeyId([3; 16]);

    fn bytes() -> Vec<u8> {
        let (index, authorization) = (0x0182_0000, [7; 32]);
        let counter =
            Counter { id: ID, index, authorization, parent: vec![1; 34], name: vec![2; 34] };
        let bytes = counter.encode().unwrap();
        assert_eq!(Counter::decode(CounterRef { id: ID, blob: &bytes }), Ok(counter));
        bytes
    }

    fn check(id: KeyId, blob: &[u8], kind: ErrorKind) {
        assert_eq!(Counter::decode(CounterRef { id, blob }).unwrap_err().kind, kind);
    }

    #[test]
    fn counter_returns_and_nothing_shorter_or_longer_decodes() {
        let bytes = bytes();
        for length in 0..bytes.len() {
            check(ID, &bytes[..length], ErrorKind::Integrity);
        }
        check(ID, &[&bytes[..], &[0]].concat(), ErrorKind::Integrity);
    }

    #[test]
    fn another_id_is_invalid() {
        check(KeyId([4; 16]), &bytes(), ErrorKind::InvalidParameter);
    }

    #[test]
    fn policy_differs_by_id() {
        assert_ne!(policy(ID), policy(KeyId([4; 16])));
    }
}

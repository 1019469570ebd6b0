//! What a step works with: a session, and what is known in its login epoch.

use std::sync::Arc;

use cryptoki::context::Pkcs11;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use provider_core::KeyId;

use crate::cache::Cache;
use crate::token::Token;

/// Object handles kept at a time; past it all are dropped and found anew.
const HANDLES_MAX: usize = 16_384;
/// Unwrapped keys kept at a time; past it all are wiped and unwrapped anew.
const UNWRAPPED_MAX: usize = 1_024;

/// What was found out of keys.
pub(crate) struct Known {
    handles: Cache<ObjectHandle>,
    /// Those keys in memory that the device has no mechanism for.
    unwrapped: Cache<Arc<soft_aead::Key>>,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self { handles: Cache::new(HANDLES_MAX), unwrapped: Cache::new(UNWRAPPED_MAX) }
    }

    /// Drops what is of a login epoch that ended.
    pub(crate) fn end(&self, epoch: u64) {
        self.handles.end(epoch);
        self.unwrapped.end(epoch);
    }
}

/// What a step works with.
pub(crate) struct Desk<'a> {
    pub(crate) pkcs11: &'a Pkcs11,
    pub(crate) session: &'a Session,
    pub(crate) token: &'a Token,
    /// Whether this is the second attempt, so that the first may have left something.
    pub(crate) again: bool,
    pub(crate) known: &'a Known,
    /// The login epoch, in which handles keep their meaning.
    pub(crate) epoch: u64,
}

impl Desk<'_> {
    /// The handle of an object that was found and verified in this login epoch for this blob.
    pub(crate) fn known(&self, id: KeyId, blob: &[u8]) -> Option<ObjectHandle> {
        self.known.handles.known(self.epoch, id, blob)
    }

    /// Keeps the handle of a verified object.
    pub(crate) fn remember(&self, id: KeyId, blob: &[u8], handle: ObjectHandle) {
        self.known.handles.remember(self.epoch, id, blob, handle);
    }

    /// The key that was unwrapped in this login epoch from this blob.
    pub(crate) fn unwrapped(&self, id: KeyId, blob: &[u8]) -> Option<Arc<soft_aead::Key>> {
        self.known.unwrapped.known(self.epoch, id, blob)
    }

    /// Keeps an unwrapped key.
    pub(crate) fn keep_unwrapped(&self, id: KeyId, blob: &[u8], key: Arc<soft_aead::Key>) {
        self.known.unwrapped.remember(self.epoch, id, blob, key);
    }

    /// Drops what is kept of a key whose object is about to be destroyed.
    pub(crate) fn forget(&self, id: KeyId) {
        self.known.handles.forget(id);
        self.known.unwrapped.forget(id);
    }
}

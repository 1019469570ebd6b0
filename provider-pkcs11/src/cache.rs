//! What was found out of keys in one login epoch, bounded.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use provider_core::KeyId;

/// Values by key. One of an earlier epoch, or of another blob, is not given out.
pub(crate) struct Cache<T> {
    most: usize,
    entries: RwLock<Entries<T>>,
}

struct Entries<T> {
    epoch: u64,
    by_id: HashMap<KeyId, (Box<[u8]>, T)>,
}

impl<T: Clone> Cache<T> {
    /// Keeps `most` values; past it all are dropped.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: RwLock::new(Entries { epoch: 0, by_id: HashMap::new() }) }
    }

    pub(crate) fn known(&self, epoch: u64, id: KeyId, blob: &[u8]) -> Option<T> {
        let entries = self.read();
        let (of_blob, value) = entries.by_id.get(&id)?;
        (entries.epoch == epoch && of_blob.as_ref() == blob).then(|| value.clone())
    }

    pub(crate) fn remember(&self, epoch: u64, id: KeyId, blob: &[u8], value: T) {
        let mut entries = self.write();
        if entries.epoch < epoch || entries.by_id.len() >= self.most {
            entries.by_id.clear();
            entries.epoch = epoch;
        }
        if entries.epoch == epoch {
            entries.by_id.insert(id, (blob.into(), value));
        }
    }

    pub(crate) fn forget(&self, id: KeyId) {
        self.write().by_id.remove(&id);
    }

    /// Drops what is of an epoch that ended.
    pub(crate) fn end(&self, epoch: u64) {
        let mut entries = self.write();
        if entries.epoch <= epoch {
            entries.by_id.clear();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries<T>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries<T>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeyId = KeyId([1; 16]);

    fn check(act: impl FnOnce(&Cache<u8>), expected: Option<u8>) {
        let cache = Cache::new(2);
        cache.remember(3, ID, b"blob", 7);
        act(&cache);
        assert_eq!(cache.known(3, ID, b"blob"), expected);
    }

    #[test]
    fn value_is_known_in_its_epoch_for_its_blob_alone() {
        check(|_| (), Some(7));
        check(|cache| assert_eq!(cache.known(4, ID, b"blob"), None), Some(7));
        check(|cache| assert_eq!(cache.known(3, ID, b"blot"), None), Some(7));
        check(|cache| assert_eq!(cache.known(3, KeyId([2; 16]), b"blob"), None), Some(7));
    }

    #[test]
    fn forgotten_value_is_not_known() {
        check(|cache| cache.forget(ID), None);
        check(|cache| cache.forget(KeyId([2; 16])), Some(7));
    }

    #[test]
    fn values_end_with_their_epoch() {
        check(|cache| cache.end(3), None);
        check(|cache| cache.end(2), Some(7));
        check(|cache| cache.remember(4, KeyId([2; 16]), b"", 1), None);
    }

    #[test]
    fn value_of_an_earlier_epoch_is_not_taken() {
        let cache = Cache::new(2);
        cache.remember(3, ID, b"blob", 7);
        cache.remember(2, KeyId([2; 16]), b"", 1);
        assert_eq!(cache.known(2, KeyId([2; 16]), b""), None);
    }

    #[test]
    fn limit_is_kept_and_one_past_it_drops_the_others() {
        check(|cache| cache.remember(3, KeyId([2; 16]), b"", 1), Some(7));
        check(
            |cache| {
                cache.remember(3, KeyId([2; 16]), b"", 1);
                cache.remember(3, KeyId([3; 16]), b"", 1);
                assert_eq!(cache.known(3, KeyId([3; 16]), b""), Some(1));
            },
            None,
        );
    }
}

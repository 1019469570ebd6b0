//! The aead keys that are in this process's memory.
//!
//! Their bytes are wiped when they go: because others were used since, because the key is
//! destroyed, or with the rest of the device.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider_core::KeyId;
use soft_aead::Key;

use super::slots::BlobHash;

/// Keys kept at most; one more takes the place of the one least recently used.
const KEPT_MAX: usize = 64;

/// Keys by blob.
#[derive(Default)]
pub(super) struct Unwrapped {
    kept: BTreeMap<BlobHash, Kept>,
    clock: u64,
}

struct Kept {
    id: KeyId,
    key: Arc<Key>,
    used: u64,
}

impl Unwrapped {
    /// A key that is here, and the id that it was made with.
    pub(super) fn find(&mut self, hash: &BlobHash) -> Option<(KeyId, Arc<Key>)> {
        self.clock = self.clock.wrapping_add(1);
        let kept = self.kept.get_mut(hash)?;
        kept.used = self.clock;
        Some((kept.id, Arc::clone(&kept.key)))
    }

    /// Keeps a key.
    pub(super) fn keep(&mut self, hash: BlobHash, id: KeyId, key: Arc<Key>) {
        if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&hash) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(hash, _)| *hash);
            oldest.map(|hash| self.kept.remove(&hash));
        }
        self.clock = self.clock.wrapping_add(1);
        self.kept.insert(hash, Kept { id, key, used: self.clock });
    }

    /// Wipes a key, whatever its blob.
    pub(super) fn forget(&mut self, id: KeyId) {
        self.kept.retain(|_, kept| kept.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> BlobHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    /// Keeps so many keys, each under an id of its own, and then uses the first.
    fn filled(count: usize) -> Unwrapped {
        let mut unwrapped = Unwrapped::default();
        for number in 0..count {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            unwrapped.keep(hash(number), KeyId(id), Arc::new(Key::new(&[1; 32])));
        }
        unwrapped.find(&hash(0));
        unwrapped
    }

    fn check(unwrapped: &mut Unwrapped, present: &[usize], absent: &[usize]) {
        present.iter().for_each(|number| assert!(unwrapped.find(&hash(*number)).is_some()));
        absent.iter().for_each(|number| assert!(unwrapped.find(&hash(*number)).is_none()));
    }

    #[test]
    fn keys_up_to_the_limit_stay() {
        let all: Vec<_> = (0..KEPT_MAX).collect();
        check(&mut filled(KEPT_MAX), &all, &[]);
    }

    #[test]
    fn key_past_the_limit_takes_the_place_of_the_oldest() {
        let mut unwrapped = filled(KEPT_MAX);
        unwrapped.keep(hash(KEPT_MAX), KeyId([9; 16]), Arc::new(Key::new(&[2; 32])));
        assert_eq!(unwrapped.kept.len(), KEPT_MAX);
        check(&mut unwrapped, &[0, 2, KEPT_MAX], &[1]);
    }

    #[test]
    fn key_kept_again_takes_no_other_place() {
        let mut unwrapped = filled(KEPT_MAX);
        let (id, key) = unwrapped.find(&hash(5)).unwrap();
        unwrapped.keep(hash(5), id, key);
        assert_eq!(unwrapped.kept.len(), KEPT_MAX);
    }

    #[test]
    fn forgotten_key_is_gone_and_no_other() {
        let mut unwrapped = filled(3);
        let (id, _) = unwrapped.find(&hash(1)).unwrap();
        unwrapped.forget(id);
        check(&mut unwrapped, &[0, 2], &[1]);
    }
}

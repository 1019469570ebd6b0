//! Which initialization vectors a key had lately. Whoever gives one twice betrays both texts; a
//! host that lets callers give them remembers the last ones, so that a caller's fault is seen.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use provider_core::KeyId;

/// Vectors that are remembered of a key.
const REMEMBERED: usize = 4_096;
/// Keys whose vectors are remembered; of one more, those of all begin anew.
const KEYS: usize = 1_024;

/// The vectors of all keys since the start of the host.
#[derive(Debug, Default)]
pub(crate) struct Ivs(Mutex<HashMap<KeyId, OfKey>>);

/// Of each vector the first eight bytes of its SHA-256: two of 4,096 are alike once in 10^12.
#[derive(Debug, Default)]
struct OfKey {
    known: HashSet<u64>,
    order: VecDeque<u64>,
    repeats: u64,
}

impl Ivs {
    /// Notes a vector; `Some` when the key had it before: for the how-manieth time a vector came
    /// again.
    pub(crate) fn note(&self, key: KeyId, iv: &[u8]) -> Option<u64> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS && !keys.contains_key(&key) {
            keys.clear();
        }
        let of_key = keys.entry(key).or_default();
        let hash = hash(iv);
        if !of_key.known.insert(hash) {
            of_key.repeats = of_key.repeats.saturating_add(1);
            return Some(of_key.repeats);
        }
        of_key.order.push_back(hash);
        if of_key.order.len() > REMEMBERED
            && let Some(oldest) = of_key.order.pop_front()
        {
            of_key.known.remove(&oldest);
        }
        None
    }
}

fn hash(iv: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA256, iv);
    digest.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId([1; 16]);

    /// Gives a key so many vectors, then the first of them again.
    #[track_caller]
    fn check(vectors: usize, again: Option<u64>) {
        let ivs = Ivs::default();
        for number in 0..vectors {
            assert_eq!(ivs.note(KEY, &number.to_be_bytes()), None);
        }
        assert_eq!(ivs.note(KEY, &0_usize.to_be_bytes()), again);
    }

    #[test]
    fn vector_that_comes_again_is_noticed() {
        check(1, Some(1));
    }

    #[test]
    fn vector_is_remembered_for_as_many_as_the_limit_and_no_more() {
        check(REMEMBERED, Some(1));
        check(REMEMBERED + 1, None);
    }

    #[test]
    fn vector_of_another_key_is_another() {
        let ivs = Ivs::default();
        assert_eq!(ivs.note(KEY, b"iv"), None);
        assert_eq!(ivs.note(KeyId([2; 16]), b"iv"), None);
        assert_eq!((ivs.note(KEY, b"iv"), ivs.note(KEY, b"iv")), (Some(1), Some(2)));
    }

    #[test]
    fn memory_is_bounded_by_a_number_of_keys() {
        let ivs = Ivs::default();
        for number in 0..KEYS as u128 {
            ivs.note(KeyId(number.to_be_bytes()), b"iv");
        }
        assert_eq!(ivs.note(KeyId([0; 16]), b"iv"), Some(1));
        ivs.note(KeyId([0xff; 16]), b"iv");
        assert_eq!(ivs.0.lock().unwrap().len(), 1);
    }
}

//! Which initialization vectors a key had lately. Whoever gives one twice betrays both texts; a
//! host that lets callers give them remembers the last ones, so that a caller's fault is seen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use provider_core::KeyId;

/// Vectors that are remembered of a key; in memory, 8 bytes each.
const REMEMBERED: usize = 4_096;
/// Keys whose vectors are remembered; of one more, those of the key that was used longest ago are
/// forgotten.
const KEYS: usize = 1_024;

/// The vectors of all keys since the start of the host.
#[derive(Debug, Default)]
pub(crate) struct Ivs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    of_keys: HashMap<[u8; 16], OfKey>,
    /// Counts what was noted.
    clock: u64,
}

/// Of each vector the first eight bytes of its SHA-256: two of 4,096 are alike once in 10^12.
#[derive(Debug, Default)]
struct OfKey {
    /// At most so many as are remembered; the oldest is replaced first.
    hashes: Vec<u64>,
    oldest: usize,
    repeats: u64,
    used_at: u64,
}

impl Ivs {
    /// Notes a vector of a key, or of what is derived from it; `Some` when the key had it before:
    /// for the how-manieth time a vector came again.
    pub(crate) fn note(&self, key: KeyId, derived_by: Option<&[u8]>, iv: &[u8]) -> Option<u64> {
        let key = derived_by.map_or(key.0, |data| derived(key, data));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clock = known.clock.saturating_add(1);
        let now = known.clock;
        known.make_room_for(&key);
        let of_key = known.of_keys.entry(key).or_default();
        of_key.used_at = now;
        of_key.note(first_of(&[iv]))
    }
}

impl Known {
    fn make_room_for(&mut self, key: &[u8; 16]) {
        if self.of_keys.len() < KEYS || self.of_keys.contains_key(key) {
            return;
        }
        let oldest = self.of_keys.iter().min_by_key(|(_, of_key)| of_key.used_at);
        if let Some(oldest) = oldest.map(|(key, _)| *key) {
            self.of_keys.remove(&oldest);
        }
    }
}

impl OfKey {
    fn note(&mut self, hash: u64) -> Option<u64> {
        if self.hashes.contains(&hash) {
            self.repeats = self.repeats.saturating_add(1);
            return Some(self.repeats);
        }
        if self.hashes.len() < REMEMBERED {
            self.hashes.push(hash);
        } else if let Some(place) = self.hashes.get_mut(self.oldest) {
            *place = hash;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
        None
    }
}

/// What stands for a derived key: its data and what it is derived from.
fn derived(key: KeyId, data: &[u8]) -> [u8; 16] {
    let [high, low] = [&b"1"[..], b"2"].map(|half| first_of(&[half, &key.0, data]).to_be_bytes());
    let mut id = [0; 16];
    for (place, byte) in id.iter_mut().zip(high.into_iter().chain(low)) {
        *place = byte;
    }
    id
}

/// The first eight bytes of a SHA-256.
fn first_of(parts: &[&[u8]]) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
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
            assert_eq!(ivs.note(KEY, None, &number.to_be_bytes()), None);
        }
        assert_eq!(ivs.note(KEY, None, &0_usize.to_be_bytes()), again);
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
        assert_eq!(ivs.note(KEY, None, b"iv"), None);
        assert_eq!(ivs.note(KeyId([2; 16]), None, b"iv"), None);
        assert_eq!((ivs.note(KEY, None, b"iv"), ivs.note(KEY, None, b"iv")), (Some(1), Some(2)));
    }

    #[test]
    fn derived_key_is_known_by_what_it_is_derived_from() {
        let ivs = Ivs::default();
        let note = |key, data: &[u8]| ivs.note(key, Some(data), b"iv");
        assert_eq!(
            (ivs.note(KEY, None, b"iv"), note(KEY, b"a"), note(KEY, b"b")),
            (None, None, None)
        );
        assert_eq!(note(KeyId([2; 16]), b"a"), None);
        assert_eq!(note(KEY, b"a"), Some(1));
    }

    #[test]
    fn of_one_key_too_many_the_one_used_longest_ago_is_forgotten() {
        let ivs = Ivs::default();
        let note = |number: usize| ivs.note(KeyId((number as u128).to_be_bytes()), None, b"iv");
        for number in 0..KEYS {
            assert_eq!(note(number), None);
        }
        assert_eq!(note(0), Some(1));
        assert_eq!(note(KEYS), None);
        assert_eq!(ivs.0.lock().unwrap().of_keys.len(), KEYS);
        assert_eq!((note(0), note(2), note(1)), (Some(2), Some(1), None));
    }
}

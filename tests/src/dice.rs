//! Chance that can be replayed: the seed is printed.

use std::time::Duration;

/// Marsaglia's xorshift: all that is needed, and the same on every machine.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice with a seed of their own, which is printed.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "a test that fails shows it")]
    pub fn new() -> Self {
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed).unwrap();
        let seed = u64::from_le_bytes(seed) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// Dice that fall alike each time.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Other dice, by a seed from these.
    #[must_use]
    pub fn split(&mut self) -> Self {
        self.below(2);
        Self(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A time below so many milliseconds, to the microsecond.
    pub fn millis(&mut self, limit: usize) -> Duration {
        Duration::from_micros(u64::try_from(self.below(limit * 1000)).unwrap())
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

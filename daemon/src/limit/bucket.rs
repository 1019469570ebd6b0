//! How often: a token bucket, kept as one time.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many requests a second, and so many at once.
///
/// # Spec
/// The generic cell rate algorithm (ITU-T I.371, annex A), its virtual scheduling form.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Between two requests at the rate, nanoseconds.
    interval: u64,
    /// How far the bucket may be ahead of the time, nanoseconds.
    tolerance: u64,
    /// When the bucket is full again, nanoseconds of the clock.
    full_at: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = SECOND / u64::from(per_second.get());
        let tolerance = interval.saturating_mul(u64::from(burst.get() - 1));
        Self { interval, tolerance, full_at: AtomicU64::new(0) }
    }

    /// Takes one at `now`; there may be none.
    pub(super) fn take(&self, now: Duration) -> bool {
        let now = nanoseconds(now);
        let later = |full_at: u64| {
            let ahead = full_at.saturating_sub(now);
            (ahead <= self.tolerance).then(|| full_at.max(now).saturating_add(self.interval))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).is_ok()
    }

    /// Whether as many as ever can be taken at once.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.full_at.load(Ordering::Relaxed) <= nanoseconds(now)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at these times, milliseconds; the last one is got or not.
    #[track_caller]
    fn check(per_second: u32, burst: u32, times: &[u64], got: bool) {
        let number = |number| NonZeroU32::new(number).unwrap();
        let bucket = Bucket::new(number(per_second), number(burst));
        let taken = times.iter().map(|ms| bucket.take(Duration::from_millis(*ms)));
        assert_eq!(taken.last(), Some(got));
    }

    #[test]
    fn burst_is_got_at_once_and_one_more_is_not() {
        check(10, 3, &[0; 3], true);
        check(10, 3, &[0; 4], false);
    }

    #[test]
    fn rate_is_got_for_ever_and_one_too_soon_is_not() {
        let steady: Vec<u64> = (0..50).map(|n| n * 100).collect();
        check(10, 1, &steady, true);
        check(10, 1, &[0, 99], false);
        check(10, 1, &[0, 100], true);
    }

    #[test]
    fn refused_requests_cost_nothing() {
        check(10, 1, &[0, 1, 2, 3, 50, 99, 100], true);
    }

    #[test]
    fn long_pause_gives_the_burst_and_no_more() {
        check(10, 2, &[0, 0, 60_000, 60_000], true);
        check(10, 2, &[0, 0, 60_000, 60_000, 60_000], false);
    }
}

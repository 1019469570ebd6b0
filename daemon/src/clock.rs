//! The clock: the one reader of the system time, handed to whoever needs the time.
//!
//! Nothing else in a daemon asks the operating system what time it is, so that a test can hold
//! the time still and move it by hand. Timers and deadlines are not kept here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

/// Tells the time of day and the time passed.
///
/// Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual(Arc<Mutex<Manual>>),
}

#[derive(Debug)]
struct Manual {
    now: Timestamp,
    passed: Duration,
}

/// Moves the clock that [`Clock::manual`] made.
#[derive(Clone, Debug)]
pub struct ClockHand(Arc<Mutex<Manual>>);

impl Clock {
    /// Returns the clock of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { start: Instant::now() })
    }

    /// Returns a clock that stands at `now` until its hand moves it.
    #[must_use]
    pub fn manual(now: Timestamp) -> (Self, ClockHand) {
        let manual = Arc::new(Mutex::new(Manual { now, passed: Duration::ZERO }));
        (Self(Source::Manual(Arc::clone(&manual))), ClockHand(manual))
    }

    /// Returns the time of day, in UTC, to the microsecond.
    ///
    /// It may jump in both directions when the administrator sets the clock.
    ///
    /// # Limits
    /// A system clock before the year -9999 or after 9999 reads as the nearest of the two.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => system_now(),
            Source::Manual(manual) => manual.lock().unwrap_or_else(PoisonError::into_inner).now,
        }
    }

    /// Returns the time of day as text, for example `2026-11-21T21:43:24.000125Z`.
    ///
    /// Always 27 bytes, so that texts sort as times do.
    ///
    /// # Spec
    /// RFC 3339, section 5.6, with six digits of the second's fraction and `Z`.
    #[must_use]
    pub fn now_text(&self) -> String {
        rfc3339(self.now())
    }

    /// Returns how long ago this clock was made, on a clock that never goes back.
    #[must_use]
    pub fn passed(&self) -> Duration {
        match &self.0 {
            Source::System { start } => start.elapsed(),
            Source::Manual(manual) => manual.lock().unwrap_or_else(PoisonError::into_inner).passed,
        }
    }
}

impl ClockHand {
    /// Moves the clock forward; past the year 9999 the time of day stops there.
    pub fn advance(&self, by: Duration) {
        let mut manual = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        manual.passed = manual.passed.saturating_add(by);
        manual.now = manual.now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Sets the time of day, forward or back, as an administrator does; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

/// Writes `time` as RFC 3339 text in UTC with six digits of the second's fraction.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the system time")]
fn system_now() -> Timestamp {
    let now = SystemTime::now();
    Timestamp::try_from(now).unwrap_or_else(|_| match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => Timestamp::MAX,
        Err(_) => Timestamp::MIN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time: &str, text: &str) {
        let (clock, _hand) = Clock::manual(time.parse().unwrap());
        assert_eq!(clock.now_text(), text);
    }

    #[test]
    fn whole_second_is_written_with_six_digits() {
        check("2026-11-21T21:43:24Z", "2026-11-21T21:43:24.000000Z");
    }

    #[test]
    fn other_offset_is_written_in_utc() {
        check("2026-11-21T21:43:24.5+02:00", "2026-11-21T19:43:24.500000Z");
    }

    #[test]
    fn nanoseconds_are_cut_to_microseconds() {
        check("2026-11-21T21:43:24.123456789Z", "2026-11-21T21:43:24.123456Z");
    }

    #[test]
    fn manual_clock_moves_only_by_its_hand() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.passed(), Duration::ZERO);
        hand.advance(Duration::from_millis(1500));
        assert_eq!(clock.now_text(), "2026-01-01T00:00:01.500000Z");
        assert_eq!(clock.passed(), Duration::from_millis(1500));
    }

    #[test]
    fn manual_clock_that_is_set_back_still_counts_the_time_passed() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:10Z".parse().unwrap());
        hand.advance(Duration::from_secs(5));
        hand.set("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.now_text(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(clock.passed(), Duration::from_secs(5));
    }

    #[test]
    fn manual_clock_at_the_end_of_time_stops_there() {
        let (clock, hand) = Clock::manual(Timestamp::MAX);
        hand.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn system_clock_agrees_with_a_file_written_now() {
        let clock = Clock::system();
        let before = clock.now();
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = file.as_file().metadata().unwrap().modified().unwrap();
        let written = Timestamp::try_from(written).unwrap();
        let slack = Duration::from_secs(5);
        assert!(written.checked_add(slack).unwrap() >= before);
        assert!(clock.now().checked_add(slack).unwrap() >= written);
    }
}

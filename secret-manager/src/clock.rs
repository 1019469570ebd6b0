//! What time it is for secrets: the system's clock, but never before the latest date on record.
//!
//! A machine that starts without knowing the time, or whose clock was turned back, would bring
//! expired secrets back to life. The dates on record cannot be turned back: they are part of the
//! sealed state of the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use wire::secrets::Date;

/// Tells the time to stores and lookups. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct StoreClock {
    clock: Clock,
    latest: Arc<Mutex<Date>>,
}

/// The time now, and whether it is the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time that counts.
    pub date: Date,
    /// Whether the system's clock is behind the latest date on record, which stands in for it.
    pub behind: bool,
}

impl StoreClock {
    /// A clock that follows the system's, or the one of a test.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, latest: Arc::new(Mutex::new(Date::MIN)) }
    }

    /// The time by which lookups go.
    #[must_use]
    pub fn now(&self) -> Now {
        let (system, latest) = (self.system(), *self.latest());
        Now { date: system.max(latest), behind: system < latest }
    }

    /// The date of a change: now, and later than every stamp and date on record before.
    #[must_use]
    pub fn stamp(&self) -> Date {
        let system = self.system();
        let mut latest = self.latest();
        *latest = system.max(latest.next());
        *latest
    }

    /// Notes a date on record.
    pub fn observe(&self, date: Date) {
        let mut latest = self.latest();
        *latest = date.max(*latest);
    }

    /// The latest date on record.
    #[must_use]
    pub fn latest_on_record(&self) -> Date {
        *self.latest()
    }

    /// How long ago the system's clock was made, on one that never goes back.
    #[must_use]
    pub fn passed(&self) -> Duration {
        self.clock.passed()
    }

    fn system(&self) -> Date {
        const NANOS: i128 = 1_000_000_000;
        let now = self.clock.now().as_nanosecond();
        let seconds = i64::try_from(now.div_euclid(NANOS)).unwrap_or(i64::MAX);
        let nanos = u32::try_from(now.rem_euclid(NANOS)).unwrap_or_default();
        let beyond = if now < 0 { Date::MIN } else { Date::NEVER };
        Date::from_unix(seconds, nanos).unwrap_or(beyond)
    }

    fn latest(&self) -> MutexGuard<'_, Date> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> (StoreClock, daemon::clock::ClockHand) {
        let (clock, hand) = Clock::manual(text.parse().unwrap());
        (StoreClock::new(clock), hand)
    }

    fn check(system: &str, on_record: &str, date: &str, behind: bool) {
        let (clock, _hand) = at(system);
        clock.observe(Date::parse(on_record).unwrap());
        assert_eq!(clock.now(), Now { date: Date::parse(date).unwrap(), behind });
    }

    #[test]
    fn clock_after_the_record_counts() {
        check("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", false);
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", false);
    }

    #[test]
    fn clock_behind_the_record_is_replaced_by_it() {
        check("1970-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", true);
    }

    #[test]
    fn clock_before_the_year_one_reads_as_its_beginning() {
        check("-000044-03-15T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", false);
    }

    #[test]
    fn stamps_rise_while_the_clock_stands_and_when_it_is_turned_back() {
        let (clock, hand) = at("2026-01-01T00:00:00Z");
        let first = clock.stamp();
        let second = clock.stamp();
        assert_eq!(second, first.next());
        hand.advance(Duration::from_secs(1));
        assert_eq!(clock.stamp(), Date::parse("2026-01-01T00:00:01Z").unwrap());
        let late = Date::parse("2027-01-01T00:00:00Z").unwrap();
        clock.observe(late);
        assert!(clock.stamp() > late);
    }

    proptest! {
        #[test]
        fn date_is_the_one_that_jiff_writes(
            second in -62_135_596_800_i64..=253_402_207_200, nanos in 0_i32..1_000_000_000,
        ) {
            let time = Timestamp::new(second, nanos).unwrap();
            let (clock, _hand) = Clock::manual(time);
            let date = StoreClock::new(clock).now().date;
            prop_assert_eq!(date.to_string(), format!("{time:.9}"));
            prop_assert_eq!(Date::parse(&time.to_string()), Ok(date));
        }
    }
}

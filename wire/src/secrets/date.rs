//! Dates of secrets: a point of time in UTC, from year 1 to year 9999, to the nanosecond.
//!
//! No clock is read here. The calendar is written out, because the dates of edge-secrets reach
//! to the last moment of the year 9999, which calendar libraries keep back for their offsets.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::{Code, Fault};

/// Seconds from the beginning of the year 1 to that of 1970.
const UNIX_EPOCH: i64 = 62_135_596_800;
const DAY: i64 = 86_400;
/// Days from the beginning of the year 1 to the end of the year 9999.
const DAYS: i64 = 3_652_059;
const NANOS: u32 = 1_000_000_000;
/// Most digits of the second's fraction that are read; more would be lost.
const FRACTION_DIGITS: usize = 9;

/// A point of time in UTC.
///
/// Written as RFC 3339 with nine digits of the second's fraction and `Z`, always 30 bytes, so
/// that texts sort as times do. Read from RFC 3339 with any offset.
///
/// # Limits
/// From `0001-01-01T00:00:00Z` to the end of the year 9999.
///
/// # Spec
/// RFC 3339 section 5.6. Leap seconds are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// From the beginning of the year 1.
    seconds: i64,
    nanos: u32,
}

/// Why a text is not a date. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// It is not of the form of RFC 3339.
    #[error("a date is written as in RFC 3339, such as 2026-01-31T12:00:00Z")]
    Form,
    /// A month, day, hour, minute or second that there is not, or outside the years 1 to 9999.
    #[error("a date is a day of the years 1 to 9999 and a time of day")]
    Range,
}

impl Date {
    /// The first date: active since ever.
    pub const MIN: Self = Self { seconds: 0, nanos: 0 };

    /// The date of edge-secrets for what never expires: `9999-12-31T23:59:59.9999999Z`.
    pub const NEVER: Self = Self { seconds: DAYS * DAY - 1, nanos: 999_999_900 };

    /// A date from Unix time; `None` outside the years 1 to 9999.
    pub fn from_unix(seconds: i64, nanos: u32) -> Option<Self> {
        Self::new(seconds.checked_add(UNIX_EPOCH)?, nanos)
    }

    /// Seconds of Unix time, and nanoseconds after them.
    pub const fn unix(self) -> (i64, u32) {
        (self.seconds.saturating_sub(UNIX_EPOCH), self.nanos)
    }

    /// The date one nanosecond later; the last one stays.
    #[must_use]
    pub fn next(self) -> Self {
        let nanos = self.nanos.saturating_add(1);
        let later = if nanos == NANOS {
            Self::new(self.seconds.saturating_add(1), 0)
        } else {
            Self::new(self.seconds, nanos)
        };
        later.unwrap_or(self)
    }

    /// Reads RFC 3339 text.
    ///
    /// # Errors
    /// `Form`: another form, a tenth digit of the fraction. `Range`: no such day or time, or
    /// outside the years 1 to 9999 in UTC.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let mut rest = Text(text.as_bytes());
        let written = rest.written().ok_or(DateError::Form)?;
        let offset = rest.offset().filter(|_| rest.0.is_empty()).ok_or(DateError::Form)?;
        written.at_offset(offset).ok_or(DateError::Range)
    }

    /// Reads a date of edge-secrets, which may stand without an offset and is in UTC then.
    ///
    /// # Errors
    /// As [`Date::parse`].
    pub fn parse_legacy(text: &str) -> Result<Self, DateError> {
        let mut rest = Text(text.as_bytes());
        match rest.written().filter(|_| rest.0.is_empty()) {
            Some(written) => written.at_offset([0, 0]).ok_or(DateError::Range),
            None => Self::parse(text),
        }
    }

    fn new(seconds: i64, nanos: u32) -> Option<Self> {
        let days = seconds.div_euclid(DAY);
        ((0..DAYS).contains(&days) && nanos < NANOS).then_some(Self { seconds, nanos })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = day_of(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T")?;
        write!(f, "{hour:02}:{minute:02}:{:02}.{:09}Z", second % 60, self.nanos)
    }
}

impl From<DateError> for Fault {
    fn from(error: DateError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(Fault::from(error)))
    }
}

/// What a text says, before it is known to exist.
struct Written {
    year: i64,
    month: i64,
    day: i64,
    /// Hour, minute, second.
    time: [i64; 3],
    nanos: u32,
}

impl Written {
    /// `offset` in hours and minutes, both of the same sign.
    fn at_offset(&self, offset: [i64; 2]) -> Option<Date> {
        let [hour, minute, second] = self.time;
        let [offset_hours, offset_minutes] = offset;
        let exists = self.year >= 1
            && (1..=12).contains(&self.month)
            && (1..=days_of(self.year, self.month)).contains(&self.day)
            && [hour, offset_hours.abs()].iter().all(|hours| *hours < 24)
            && [minute, second, offset_minutes.abs()].iter().all(|sixtieths| *sixtieths < 60);
        if !exists {
            return None;
        }
        let days = days_before(self.year, self.month).checked_add(self.day)?.checked_sub(1)?;
        let hours = days.checked_mul(24)?.checked_add(hour)?.checked_sub(offset_hours)?;
        let minutes = hours.checked_mul(60)?.checked_add(minute)?.checked_sub(offset_minutes)?;
        Date::new(minutes.checked_mul(60)?.checked_add(second)?, self.nanos)
    }
}

/// A text that is read from its front.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn written(&mut self) -> Option<Written> {
        let year = self.number(4)?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        let day = self.number(2)?;
        self.one_of(b"Tt")?;
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        self.one_of(b":")?;
        let second = self.number(2)?;
        Some(Written { year, month, day, time: [hour, minute, second], nanos: self.fraction()? })
    }

    /// The digits after a point, if there is one, as nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let missing = u32::try_from(FRACTION_DIGITS.checked_sub(digits)?).ok()?;
        let fraction = u32::try_from(self.number(digits)?).ok()?;
        fraction.checked_mul(10_u32.checked_pow(missing)?)
    }

    fn offset(&mut self) -> Option<[i64; 2]> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1_i64,
            b'-' => -1,
            _ => return Some([0, 0]),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        Some([hours.checked_mul(sign)?, self.number(2)?.checked_mul(sign)?])
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let value = number.iter().try_fold(0_i64, |value, byte| {
            let digit = char::from(*byte).to_digit(10)?;
            value.checked_mul(10)?.checked_add(digit.into())
        })?;
        self.0 = rest;
        (digits > 0).then_some(value)
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }
}

const fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the beginning of the year 1 to that of a month, of the years 1 to 10000.
#[expect(clippy::arithmetic_side_effects, reason = "numbers of at most four digits")]
fn days_before(year: i64, month: i64) -> i64 {
    let years = year - 1;
    let leap_days = years / 4 - years / 100 + years / 400;
    years * 365 + leap_days + (1..month).map(|month| days_of(year, month)).sum::<i64>()
}

/// Year, month and day of a number of days from the beginning of the year 1.
#[expect(clippy::arithmetic_side_effects, reason = "numbers of at most seven digits")]
fn day_of(days: i64) -> (i64, i64, i64) {
    // No year has more days than 366, so this is the year or one before it.
    let mut year = days / 366 + 1;
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while days_before(year, month + 1) <= days && month < 12 {
        month += 1;
    }
    (year, month, days - days_before(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, written: &str) {
        assert_eq!(Date::parse(text).map(|date| date.to_string()), Ok(written.to_owned()));
    }

    fn refused(text: &str, error: DateError) {
        assert_eq!(Date::parse(text), Err(error), "{text}");
    }

    #[test]
    fn date_is_written_in_utc_with_nine_digits() {
        check("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000000Z");
        check("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500000000Z");
        check("2026-01-31T12:00:00.123456789+00:00", "2026-01-31T12:00:00.123456789Z");
    }

    #[test]
    fn m20_offset_over_the_boundary_of_a_day_is_taken_off() {
        check("2026-01-01T08:59:59.9+09:00", "2025-12-31T23:59:59.900000000Z");
        check("2026-01-01T09:00:00+09:00", "2026-01-01T00:00:00.000000000Z");
        check("2025-12-31T20:00:00-04:30", "2026-01-01T00:30:00.000000000Z");
    }

    #[test]
    fn first_and_last_dates_are_those_of_edge_secrets() {
        check("0001-01-01T00:00:00Z", &Date::MIN.to_string());
        check("9999-12-31T23:59:59.9999999Z", &Date::NEVER.to_string());
        assert_eq!(Date::MIN.to_string(), "0001-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn date_outside_the_years_is_out_of_range() {
        refused("0000-12-31T23:59:59Z", DateError::Range);
        refused("0001-01-01T00:59:59+01:00", DateError::Range);
        refused("9999-12-31T23:00:00-01:00", DateError::Range);
        check("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn day_or_time_that_there_is_not_is_out_of_range() {
        for text in [
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-04-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
        ] {
            refused(text, DateError::Range);
        }
        check("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000000Z");
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-1-01T00:00:00Z",
            "26-01-01T00:00:00Z",
            "+2026-01-01T00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+0900",
            "2026-01-01T00:00:00Z ",
            "2026-01-01T00:00:00ZZ",
        ] {
            refused(text, DateError::Form);
        }
    }

    #[test]
    fn legacy_date_without_an_offset_is_in_utc() {
        let date = Date::parse_legacy("9999-12-31T23:59:59.9999999");
        assert_eq!(date, Ok(Date::NEVER));
        assert_eq!(Date::parse_legacy("0001-01-01T00:00:00"), Ok(Date::MIN));
        assert_eq!(
            Date::parse_legacy("2021-06-01T09:00:00+09:00"),
            Date::parse("2021-06-01T00:00:00Z")
        );
        assert_eq!(Date::parse_legacy("2021-06-31T09:00:00"), Err(DateError::Range));
    }

    #[test]
    fn next_date_is_later_until_the_last() {
        let last = Date::parse("9999-12-31T23:59:59.999999999Z").unwrap();
        assert_eq!(last.next(), last);
        let before = Date::parse("2025-12-31T23:59:59.999999999Z").unwrap();
        assert_eq!(before.next(), Date::parse("2026-01-01T00:00:00Z").unwrap());
        assert!(Date::MIN < Date::MIN.next());
    }

    #[test]
    fn unix_epoch_is_1970() {
        let epoch = Date::from_unix(0, 0).unwrap();
        assert_eq!(epoch.to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Date::MIN.unix(), (-UNIX_EPOCH, 0));
        assert_eq!(Date::from_unix(0, NANOS), None);
        assert_eq!(Date::from_unix(i64::MAX, 0), None);
    }

    proptest! {
        #[test]
        fn every_day_round_trips_and_follows_the_one_before(days in 0..DAYS, nanos in 0..NANOS) {
            let date = Date::new(days.saturating_mul(DAY), nanos).unwrap();
            prop_assert_eq!(Date::parse(&date.to_string()), Ok(date));
            prop_assert_eq!(date.to_string().len(), 30);
            let tomorrow = days.saturating_add(1).saturating_mul(DAY);
            if let Some(tomorrow) = Date::new(tomorrow, nanos) {
                prop_assert!(tomorrow.to_string() > date.to_string());
            }
        }
    }
}

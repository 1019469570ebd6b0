//! The circuit breaker of an instance: whether calls go to its device, or fail at once until the
//! supervisor, and nobody else, has asked after it.
//!
//! It is closed while the instance is open and its device is not known to be bad. A device that
//! is gone opens it, so does one call that is not answered in time, and so do
//! [`FAILURES_MAX`] faults of the device in a row. Errors about a key, an argument or another
//! program's doing (integrity, state mismatch, lockout, busy, no room) never do. One self test
//! that passes, or a new opening, closes it.

use std::time::{Duration, Instant};

use provider_core::ErrorKind;
use wire::api::{BreakerCause, BreakerState, BreakerStatus};

use crate::plugin::CallError;

/// So many faults of a device in a row, with no success between them, open the breaker.
pub(super) const FAILURES_MAX: u32 = 5;

/// The three states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// Calls go through; the last so many were faults of the device.
    Closed { failures: u32 },
    /// Calls fail at once; the supervisor asks at that time, if it ever will.
    Open { trip: Trip, probe_at: Option<Instant> },
    /// Calls fail at once; the supervisor is asking.
    HalfOpen { trip: Trip },
}

/// What opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trip {
    pub(super) cause: BreakerCause,
    /// Since when that is so.
    pub(super) since: Instant,
}

/// What a call tells about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Works,
    /// It is bad, and no further call is needed to know it.
    Bad(BreakerCause),
    /// It failed where it should not have.
    Fault,
    /// It answered, and may not be what we opened or not take us for whom it did.
    Doubt,
    /// Nothing.
    Nothing,
}

impl Breaker {
    /// The state of an instance whose first try is under way.
    pub(super) const fn untried(now: Instant) -> Self {
        Self::HalfOpen { trip: Trip { cause: BreakerCause::Untried, since: now } }
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// What opened it, while it is not closed.
    pub(super) const fn trip(&self) -> Option<Trip> {
        match *self {
            Self::Closed { .. } => None,
            Self::Open { trip, .. } | Self::HalfOpen { trip } => Some(trip),
        }
    }

    /// Since when the device or its worker is gone.
    pub(super) fn gone_since(&self) -> Option<Instant> {
        self.trip().filter(|trip| trip.cause == BreakerCause::Gone).map(|trip| trip.since)
    }

    /// Takes in what a caller's call tells. A call that began before the breaker opened and ends
    /// after that changes nothing: closing is the supervisor's.
    ///
    /// Returns whether this opened it.
    pub(super) fn note(&mut self, sign: Sign, now: Instant) -> bool {
        let Self::Closed { failures } = self else { return false };
        let cause = match sign {
            Sign::Works => {
                *failures = 0;
                return false;
            }
            Sign::Fault => {
                *failures = failures.saturating_add(1);
                if *failures < FAILURES_MAX {
                    return false;
                }
                BreakerCause::Failing
            }
            Sign::Bad(cause) => cause,
            Sign::Doubt | Sign::Nothing => return false,
        };
        self.open(cause, now);
        true
    }

    /// Opens it. What was so before stays so since then.
    pub(super) fn open(&mut self, cause: BreakerCause, now: Instant) {
        let since = match self.trip() {
            Some(trip) if trip.cause == cause => trip.since,
            Some(_) | None => now,
        };
        *self = Self::Open { trip: Trip { cause, since }, probe_at: None };
    }

    /// Says when the supervisor asks next; nothing while it is closed.
    pub(super) const fn probe_at(&mut self, at: Instant) {
        if let Some(trip) = self.trip() {
            *self = Self::Open { trip, probe_at: Some(at) };
        }
    }

    /// The supervisor begins to ask; nothing while it is closed.
    pub(super) const fn probe(&mut self) {
        if let Some(trip) = self.trip() {
            *self = Self::HalfOpen { trip };
        }
    }

    /// Takes in how a self test ended that the supervisor ran on an open instance.
    ///
    /// Only one that passed closes a breaker. Of one that did not run nothing is learnt. One that
    /// was merely refused (lockout, busy, no room) opens no breaker, and leaves one open: the
    /// device is there and does not serve.
    pub(super) fn probed<T>(&mut self, outcome: &Result<T, CallError>, now: Instant) {
        let cause = match outcome {
            Ok(_) => return self.close(),
            Err(CallError::Busy) => return,
            // Of a self test this is a wrong answer, whatever it is of a key.
            Err(CallError::Provider(error)) if error.kind == ErrorKind::Integrity => {
                BreakerCause::Failing
            }
            Err(error) => match sign_of(error) {
                Sign::Bad(cause) => cause,
                Sign::Fault => BreakerCause::Failing,
                Sign::Works | Sign::Doubt | Sign::Nothing if self.is_closed() => return,
                Sign::Works | Sign::Doubt | Sign::Nothing => BreakerCause::Refusing,
            },
        };
        self.open(cause, now);
    }

    /// Lets calls through.
    pub(super) const fn close(&mut self) {
        *self = Self::Closed { failures: 0 };
    }

    /// How long until the supervisor asks, where that is known.
    pub(super) fn next_probe(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Open { probe_at, .. } => probe_at.map(|at| at.saturating_duration_since(now)),
            Self::HalfOpen { .. } => Some(Duration::ZERO),
            Self::Closed { .. } => None,
        }
    }

    /// What there is to show.
    pub(super) fn status(&self, now: Instant) -> BreakerStatus {
        let state = match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        };
        let waits = self.next_probe(now).filter(|_| state == BreakerState::Open);
        BreakerStatus {
            state,
            cause: self.trip().map(|trip| trip.cause),
            next_probe_ms: waits.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// What the failure of a call tells about the device.
pub(super) const fn sign_of(error: &CallError) -> Sign {
    match error {
        CallError::Provider(error) => sign_of_kind(error.kind),
        CallError::Timeout(_) => Sign::Bad(BreakerCause::Silent),
        // A worker that ended is seen by its supervisor, which knows why; `Plugin` is of opening.
        CallError::Busy | CallError::Gone(_) | CallError::Plugin(_) => Sign::Nothing,
    }
}

const fn sign_of_kind(kind: ErrorKind) -> Sign {
    match kind {
        ErrorKind::DeviceGone => Sign::Bad(BreakerCause::Gone),
        ErrorKind::Internal | ErrorKind::Panicked => Sign::Fault,
        ErrorKind::WrongDevice | ErrorKind::DeviceAuth => Sign::Doubt,
        // About the key, the argument, or what somebody else does with the device.
        ErrorKind::InvalidParameter
        | ErrorKind::Unsupported
        | ErrorKind::TooLarge
        | ErrorKind::KeyNotFound
        | ErrorKind::KeyExists
        | ErrorKind::StateMismatch
        | ErrorKind::Integrity
        | ErrorKind::Busy
        | ErrorKind::LockedOut
        | ErrorKind::Exhausted => Sign::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provider_core::ProviderError;

    fn failed(kind: ErrorKind) -> CallError {
        ProviderError::new(kind, "").into()
    }

    fn closed() -> Breaker {
        Breaker::Closed { failures: 0 }
    }

    /// The cause for which so many failures of this sort in a row have opened it, if they have.
    fn after(times: u32, error: &CallError) -> Option<BreakerCause> {
        let mut breaker = closed();
        let opened = (0..times).filter(|_| breaker.note(sign_of(error), Instant::now())).count();
        assert_eq!(opened, usize::from(!breaker.is_closed()), "it opens once");
        breaker.trip().map(|trip| trip.cause)
    }

    #[test]
    fn gone_device_opens_it_at_once() {
        assert_eq!(after(1, &failed(ErrorKind::DeviceGone)), Some(BreakerCause::Gone));
    }

    #[test]
    fn one_timeout_opens_it() {
        let timeout = CallError::Timeout(Duration::from_secs(5));
        assert_eq!(after(1, &timeout), Some(BreakerCause::Silent));
    }

    #[test]
    fn faults_open_it_at_the_limit_and_not_before() {
        let fault = failed(ErrorKind::Internal);
        assert_eq!(after(FAILURES_MAX - 1, &fault), None);
        assert_eq!(after(FAILURES_MAX, &fault), Some(BreakerCause::Failing));
    }

    #[test]
    fn success_between_faults_forgets_them() {
        let mut breaker = closed();
        for _ in 0..3 * FAILURES_MAX {
            for _ in 1..FAILURES_MAX {
                assert!(!breaker.note(Sign::Fault, Instant::now()));
            }
            breaker.note(Sign::Works, Instant::now());
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn errors_of_keys_callers_and_others_never_open_it() {
        for kind in (1..=15).filter_map(ErrorKind::from_number) {
            let opens = match kind {
                ErrorKind::DeviceGone | ErrorKind::Internal | ErrorKind::Panicked => true,
                ErrorKind::InvalidParameter
                | ErrorKind::Unsupported
                | ErrorKind::TooLarge
                | ErrorKind::KeyNotFound
                | ErrorKind::KeyExists
                | ErrorKind::StateMismatch
                | ErrorKind::Integrity
                | ErrorKind::Busy
                | ErrorKind::DeviceAuth
                | ErrorKind::LockedOut
                | ErrorKind::Exhausted
                | ErrorKind::WrongDevice => false,
            };
            assert_eq!(after(100, &failed(kind)).is_some(), opens, "{kind:?}");
        }
        assert_eq!(after(100, &CallError::Busy), None);
        assert_eq!(after(100, &CallError::Gone("it ended".into())), None);
    }

    #[test]
    fn late_answer_does_not_close_it() {
        let mut breaker = closed();
        breaker.open(BreakerCause::Silent, Instant::now());
        breaker.note(Sign::Works, Instant::now());
        assert!(!breaker.is_closed());
        breaker.probe();
        breaker.note(Sign::Works, Instant::now());
        assert_eq!(breaker.status(Instant::now()).state, BreakerState::HalfOpen);
    }

    #[test]
    fn only_a_self_test_that_passes_closes_it() {
        let now = Instant::now();
        for (kind, cause) in [
            (ErrorKind::DeviceGone, BreakerCause::Gone),
            (ErrorKind::Internal, BreakerCause::Failing),
            (ErrorKind::LockedOut, BreakerCause::Refusing),
            (ErrorKind::Integrity, BreakerCause::Failing),
            (ErrorKind::Exhausted, BreakerCause::Refusing),
        ] {
            let mut breaker = closed();
            breaker.open(BreakerCause::Gone, now);
            breaker.probe();
            breaker.probed::<()>(&Err(failed(kind)), now);
            assert_eq!(breaker.trip().map(|trip| trip.cause), Some(cause), "{kind:?}");
            breaker.probed(&Ok(()), now);
            assert!(breaker.is_closed());
        }
    }

    #[test]
    fn self_test_that_is_refused_opens_no_closed_one() {
        let mut breaker = closed();
        breaker.probed::<()>(&Err(failed(ErrorKind::LockedOut)), Instant::now());
        breaker.probed::<()>(&Err(CallError::Busy), Instant::now());
        assert!(breaker.is_closed());
    }

    #[test]
    fn self_test_with_a_wrong_answer_opens_a_closed_one() {
        let mut breaker = closed();
        breaker.probed::<()>(&Err(failed(ErrorKind::Integrity)), Instant::now());
        assert_eq!(breaker.trip().map(|trip| trip.cause), Some(BreakerCause::Failing));
    }

    #[test]
    fn self_test_without_a_turn_leaves_it_as_it_is() {
        let now = Instant::now();
        let mut breaker = closed();
        breaker.open(BreakerCause::Gone, now);
        breaker.probed::<()>(&Err(CallError::Busy), now);
        assert_eq!(breaker.gone_since(), Some(now));
    }

    #[test]
    fn time_since_which_it_is_gone_is_that_of_the_first_word() {
        let first = Instant::now();
        let mut breaker = closed();
        breaker.open(BreakerCause::Gone, first);
        breaker.open(BreakerCause::Gone, first + Duration::from_secs(1));
        assert_eq!(breaker.gone_since(), Some(first));
        breaker.open(BreakerCause::Refusing, first + Duration::from_secs(2));
        assert_eq!(breaker.gone_since(), None);
    }

    #[test]
    fn status_tells_the_time_until_the_probe_while_open() {
        let now = Instant::now();
        let mut breaker = closed();
        breaker.probe_at(now + Duration::from_millis(400));
        assert!(breaker.is_closed(), "a closed one waits for no probe");
        breaker.open(BreakerCause::Gone, now);
        assert_eq!(breaker.status(now).next_probe_ms, None);
        breaker.probe_at(now + Duration::from_millis(400));
        let status = breaker.status(now);
        assert_eq!((status.state, status.next_probe_ms), (BreakerState::Open, Some(400)));
        assert_eq!(status.cause, Some(BreakerCause::Gone));
        breaker.probe();
        let status = breaker.status(now);
        assert_eq!((status.state, status.next_probe_ms), (BreakerState::HalfOpen, None));
    }
}
